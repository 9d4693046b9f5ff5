"""Switches one relay, one thing after the other, and keeps the lease of its device-side timer."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

from edge_energy.clock import uptime_seconds
from edge_energy.errors import EdgeEnergyError, NotSwitched, SwitchedElsewhere, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from edge_energy.config import Relay as Settings
    from edge_energy.interfaces import Relay
    from edge_energy.relays.state import RelayState

log = structlog.get_logger()

PARTS = 3  # a lease is renewed when a third of it is over: two renewals may fail
LONGEST_TIMER = 6500.0  # seconds; a Zigbee device counts tenths in 16 bits
NO_TIMER = 5.0  # seconds between two looks for a timer where there was none
AGAIN = 1.0  # seconds after a renewal that failed
LONGEST = 12.0  # seconds that a driver may take


class Superseded(EdgeEnergyError):  # noqa: N818 - what somebody wanted
    """Something newer is wanted of the relay."""


class Actor:
    """One relay and its driver, which is never used twice at a time: what is newer ends what is older."""

    def __init__(self, settings: Settings, driver: Relay, state: RelayState) -> None:
        self._settings = settings
        self._driver = driver
        self._state = state
        self._work: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._held: bool | None = None
        """The state that is leased."""
        self._end: float | None = None
        """Uptime (s) at which it is to be switched back anyway."""
        self._told: bool | None = None
        """What it was last switched to without a lease."""
        self._turn = self._tested = 0

    @property
    def timer(self) -> bool | None:
        """Whether the device switches back by itself; None while that is not known."""
        return self._driver.timer

    @property
    def lease(self) -> float:
        """How long (s) a state that is not the safe one is leased; 0 for not at all."""
        leased = self._driver.timer is not False and self._state.safe is not None
        return self._settings.lease if leased else 0.0

    async def switch(self, on: bool, end: float | None = None) -> None:  # noqa: FBT001 - the one thing it is told
        """Return when the device has confirmed; `end` (uptime, s) is when it is to be switched back.

        Raises `Unavailable`, `NotSwitched`, and `Superseded` where this is called again meanwhile.
        """
        held, self._held, self._told, self._end = self._held, None, None, end
        self._turn = turn = self._turn + 1
        began = uptime_seconds()
        duration = self._duration(on, began)
        try:
            await self._do(partial(self._driver.switch, on, duration))
        except (Unavailable, NotSwitched):
            if held is on:  # it was on before, and is to stay so
                self._held = held
                self._changed.set()
            raise
        if turn != self._turn:  # in this very moment something newer began
            return
        self._state.leased_until = None if duration is None else began + duration
        if duration is None:
            self._told = on
        elif end is None or began + duration < end:
            self._held = on
        self._changed.set()

    async def keep(self) -> None:
        """Renew the lease as long as there is one, until cancelled."""
        while True:
            self._changed.clear()
            try:
                async with asyncio.timeout(self._wait()):
                    await self._changed.wait()
            except TimeoutError:
                if self._held is None and self.lease:  # there is a timer now, as there was none before
                    self._held, self._told = self._told, None
                await self._renew()

    def _wait(self) -> float | None:
        """Return after how many seconds a lease is to be renewed, or to be taken as soon as that is possible."""
        if self._held is not None:
            return self._period / PARTS
        unsafe = self._told is not None and self._state.safe is not None and self._told is not self._state.safe
        return NO_TIMER if unsafe and self._settings.lease else None

    async def probe(self, on: bool, for_: float, *, again: bool) -> None:  # noqa: FBT001 - as `switch`
        """Use the device's timer without a lease: what a test of it does, until something else is wanted."""
        if again and self._turn != self._tested:
            raise Superseded("something newer is wanted")
        if not again:
            self._held, self._told, self._end, self._state.leased_until = None, None, None, None
            self._turn = self._tested = self._turn + 1
        await self._do(partial(self._driver.renew if again else self._driver.switch, on, for_))

    async def _renew(self) -> None:
        """Start the device's timer again; goes on trying for as long as the device would not have switched back."""
        while (held := self._held) is not None:
            began = uptime_seconds()
            duration = self._duration(held, began)
            try:
                if duration is not None:
                    await self._do(partial(self._driver.renew, held, duration))
            except NotSwitched as error:
                log.info("the lease is over", relay=self._settings.id, reason=str(error))
                self._held = None
                if isinstance(error, SwitchedElsewhere):
                    self._state.found(not held)
            except Superseded:
                return
            except Unavailable as error:
                if began >= (self._state.leased_until or began):
                    log.warning("a lease ran out: the device has switched to its safe state", relay=self._settings.id)
                    self._held, self._state.output = None, None
                else:
                    log.debug("a lease could not be renewed yet", relay=self._settings.id, reason=str(error))
                    await asyncio.sleep(min(AGAIN, self._period / 10))
            else:
                if duration is not None and self._held is not None:
                    self._state.leased_until = began + duration
                return

    def _duration(self, on: bool, now: float) -> float | None:  # noqa: FBT001 - as `switch`
        """Return after how many seconds the device is to switch back by itself."""
        left = None if self._end is None else max(self._end - now, 0.1)
        if self._driver.timer is False or on is self._state.safe:
            return None  # the safe state needs no device to end it; we do
        if left is None:
            return self.lease or None
        return min(left, self._period)

    @property
    def _period(self) -> float:
        """Return for how long (s) the device is told to wait."""
        return self.lease or LONGEST_TIMER

    async def _do(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Let the driver do one thing; whatever it is doing ends before."""
        while (other := self._work) is not None:
            other.cancel()
            await asyncio.wait([other])
            self._work = None if self._work is other else self._work
        task = self._work = asyncio.create_task(_within(work))
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            raise
        finally:
            if self._work is task:
                self._work = None
        if task.cancelled():
            raise Superseded("something newer is wanted")
        task.result()


async def _within(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        async with asyncio.timeout(LONGEST):
            await work()
    except TimeoutError:
        raise Unavailable(f"no confirmation within {LONGEST:.0f} s") from None
