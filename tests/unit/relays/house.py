"""A house for tests of relays: settings in a few words, drivers that do what a test wants, a real journal."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from edge_energy.clock import Clock, uptime
from edge_energy.config import Settings
from edge_energy.errors import SwitchedElsewhere
from edge_energy.interfaces import READING
from edge_energy.journal.reader import Reader
from edge_energy.live import Live
from edge_energy.reading import Reading
from edge_energy.relays import audit, memory
from edge_energy.relays.controller import Controller
from edge_energy.relays.planner import Planner
from tests.unit.samples import running_journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge_energy.journal.journal import Journal
    from edge_energy.relays.command import Command, Outcome

HEATER = "shelly-aaaaaa000001"
PUMP = "shelly-aaaaaa000002"
MIDNIGHT = 1_790_035_200.0  # 2026-09-22 00:00 UTC


def settings(*relays: dict[str, Any], **more: Any) -> Settings:
    """Return settings with these [[relay]] tables; each is safe off unless it says otherwise."""
    return Settings.model_validate({"relay": [{"safe_state": "off", **relay} for relay in relays], **more})


class Driver:
    """A relay that is switched at once, or as the test wants; `calls` is what it was told."""

    def __init__(self, *, timer: bool = True, output: bool = False) -> None:
        self.timer = timer
        self.output = output
        self.calls: list[tuple[str, bool, float | None]] = []
        self.edges = 0
        self.error: Exception | None = None
        """What every call raises."""
        self.go_on = asyncio.Event()
        """Cleared: calls hang."""
        self.go_on.set()
        self.side_by_side = 0
        self.most_side_by_side = 0
        self._handle: asyncio.TimerHandle | None = None

    async def switch(self, on: bool, for_: float | None = None) -> None:  # noqa: FBT001 - as the contract
        """See `interfaces.Relay`."""
        await self._call("switch", on, for_)
        self._set(on)
        self._start(for_)

    async def renew(self, on: bool, for_: float) -> None:  # noqa: FBT001 - as the contract
        """See `interfaces.Relay`."""
        await self._call("renew", on, for_)
        if self.output is not on:
            raise SwitchedElsewhere("somebody switched it")
        self._start(for_)

    def press(self) -> None:
        """Switch it at the device."""
        self._start(None)
        self._set(not self.output)

    async def _call(self, what: str, on: bool, for_: float | None) -> None:  # noqa: FBT001
        self.calls.append((what, on, for_))
        self.side_by_side += 1
        self.most_side_by_side = max(self.most_side_by_side, self.side_by_side)
        try:
            await asyncio.sleep(0)
            await self.go_on.wait()
            if self.error is not None:
                raise self.error
        finally:
            self.side_by_side -= 1

    def _set(self, on: bool) -> None:  # noqa: FBT001
        self.edges += on is not self.output
        self.output = on

    def _start(self, for_: float | None) -> None:
        if self._handle is not None:
            self._handle.cancel()
        loop = asyncio.get_running_loop()
        self._handle = None if for_ is None else loop.call_later(for_, lambda: self._set(not self.output))


class House:
    """A running controller with everything around it."""

    def __init__(self, controller: Controller, drivers: dict[str, Driver], live: Live, journal: Journal) -> None:
        self.controller = controller
        self.drivers = drivers
        self.live = live
        self.journal = journal

    def tell(self, device: str, **values: float | bool) -> None:
        """Let a device report."""
        self.live.update(Reading(device, None, dict(values)))

    async def switch(self, relay: str, on: bool | None, origin: Any, **more: Any) -> Outcome:  # noqa: FBT001
        """Switch as somebody does, and wait for the outcome."""
        return await self.controller.switch(self.command(relay, on, origin, **more))

    def command(self, relay: str, on: bool | None, origin: Any, **more: Any) -> Command:  # noqa: FBT001
        """Make a command."""
        return self.controller.command(relay, on, origin, **more)

    async def until(self, condition: Any, timeout: float = 5) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(timeout):
            while not condition():  # noqa: ASYNC110 - of any kind, also of what knows no event
                await asyncio.sleep(0.005)

    async def entries(self) -> list[tuple[str, dict[str, Any]]]:
        """Return (kind, body) of all that is on disk and is no reading."""
        await self.journal.record([], within=0)
        return [(entry.kind, entry.body) for entry in await self.journal.tail(1000) if entry.kind != READING]


@asynccontextmanager
async def house(
    directory: Path, found: Settings, drivers: dict[str, Driver] | None = None, *, trusted: bool = True
) -> AsyncIterator[House]:
    """Run the controller of a house; the journal in `directory` outlives it."""
    drivers = drivers or {relay.id: Driver() for relay in found.relay}
    clock, live = Clock(lambda: trusted), Live()
    async with running_journal(directory, clock=clock) as journal:
        kept: dict[str, Any] = {}
        for prefix in (audit.COMMANDS, audit.INCIDENTS, *memory.KEPT):
            kept |= await journal.query(Reader.state, prefix)
        planner = Planner(found, ZoneInfo("Europe/Paris"), uptime() / 1e9)
        trail, kept_else = audit.Audit(journal, clock, kept), memory.Memory(journal, kept)
        controller = Controller(found, planner, drivers, trail, kept_else, live, clock)
        running = asyncio.create_task(controller.run())
        try:
            await controller.up.wait()
            yield House(controller, drivers, live, journal)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError, TypeError):  # a TypeError is what a test of a defect makes
                await running
