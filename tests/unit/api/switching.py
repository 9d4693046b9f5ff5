"""A relay controller that switches nothing: it answers what a test wants, and keeps what it was asked."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

from edge_energy.relays.command import Command, Origin, Outcome, UnknownDevice, UnknownRelay, UnknownState, Verdict
from tests.unit.samples import RELAY_REPORT

if TYPE_CHECKING:
    from edge_energy.api.switches import Switches

BOILER, PUMP, PLUG = "shelly-ec62608ab9a4", "zigbee-0x70ac08fffe5d1a2b", "shelly-a1b2c3"
BLOCK = f'Plug may not be switched. Add:\n[[relay]]\ndevice = "{PLUG}"\nsafe_state = "off"'
REPORT = RELAY_REPORT | {"relay": BOILER, "device": BOILER}


class Controller:
    """Knows a boiler, and a pump whose state it does not know; a plug that nobody may switch."""

    def __init__(self) -> None:
        self.outcome = Outcome(Verdict.CONFIRMED)
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.error: Exception | None = None
        """What a test of the lease ends with."""
        self.carried_out: list[Command] = []
        self.tasks: list[asyncio.Task[Outcome]] = []
        self._ids = count()
        self._working: dict[str, asyncio.Task[Outcome]] = {}
        self._ended: dict[str, Outcome] = {}

    def resolve(self, name: str) -> str:
        """Know both by id and by name."""
        if name in (BOILER, PUMP):
            return name
        if name in ("Plug", PLUG):
            raise UnknownRelay(BLOCK)
        if name not in ("Boiler", "Pump"):
            raise UnknownDevice(f"no device is called {name}: `edge-energy devices` lists them")
        return {"Boiler": BOILER, "Pump": PUMP}[name]

    def command(self, relay: str, on: bool | None, origin: Origin, **more: Any) -> Command:  # noqa: FBT001 - contract
        """Toggle the boiler, not the pump."""
        relay = self.resolve(relay)
        if on is None and relay == PUMP:
            raise UnknownState("whether the pump is on or off is not known now: say on or off")
        made: dict[str, Any] = {
            "id": f"own-{next(self._ids)}",
            "relay": relay,
            "on": bool(on),
            "origin": origin,
            "expires": 30.0,
        }
        return Command(**made | more)

    def submit(self, command: Command) -> asyncio.Task[Outcome]:
        """Carry each id out once."""
        task = self._working.get(command.id)
        if task is None:
            task = self._working[command.id] = asyncio.create_task(self._carry_out(command))
            task.add_done_callback(lambda _: self._working.pop(command.id, None))
            self.tasks.append(task)
        return task

    async def _carry_out(self, command: Command) -> Outcome:
        if command.id in self._ended:
            return self._ended[command.id]
        self.carried_out.append(command)
        await self.may_end.wait()
        self._ended[command.id] = self.outcome
        return self.outcome

    def report(self) -> list[dict[str, Any]]:
        """Return one that is well."""
        return [REPORT]

    def why(self, relay: str) -> dict[str, Any]:
        """Return no decision."""
        return {**REPORT, "relay": relay, "inputs": {}, "decisions": []}

    async def test_lease(self, relay: str) -> dict[str, Any]:
        """Find it good, or fail."""
        if self.error is not None:
            raise self.error
        return {"relay": relay, "verified": True, "detail": "the timer is restarted", "time": None}


def _is_one(controller: Controller) -> Switches:
    """Have the type checker compare it with what the doors expect."""
    return controller
