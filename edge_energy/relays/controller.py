"""Between everybody who wants a relay switched and the drivers that do it. Read planner.py for what it decides."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edge_energy.clock import uptime
from edge_energy.errors import NotSwitched, Unavailable
from edge_energy.reading import Reading
from edge_energy.relays import lease_test, reporting
from edge_energy.relays.actor import Actor, Superseded
from edge_energy.relays.command import EXPIRY, Command, Origin, Outcome, UnknownRelay, UnknownState
from edge_energy.relays.execution import Execution
from edge_energy.relays.state import Wish
from edge_energy.relays.watch import STILL_DRAWS
from edge_energy.together import together

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_energy.clock import Clock
    from edge_energy.config import Settings
    from edge_energy.interfaces import Relay
    from edge_energy.live import Live
    from edge_energy.relays.audit import Audit
    from edge_energy.relays.memory import Memory
    from edge_energy.relays.planner import Planner
    from edge_energy.relays.state import RelayState

STOPPING = 4.0  # seconds in which loads are brought to their safe state at a stop
LOOK = 5.0  # seconds between two looks at who can be reached
_NUDGE = Reading("", None, {})


class Controller:
    """The only one that uses drivers. A component: `run` decides until cancelled, and then makes everything safe."""

    name = "relays"

    def __init__(  # noqa: PLR0913 - what a decision touches
        self,
        settings: Settings,
        planner: Planner,
        drivers: Mapping[str, Relay],
        audit: Audit,
        memory: Memory,
        live: Live,
        clock: Clock,
    ) -> None:
        """`drivers` are by relay."""
        self.up = asyncio.Event()
        self.changes = 0
        """Grows when a state or a decision is new."""
        self._settings = {relay.id: relay for relay in settings.relay}
        self._planner = planner
        self._actors = {
            relay: Actor(self._settings[relay], driver, planner.relays[relay]) for relay, driver in drivers.items()
        }
        self._audit = audit
        self._memory = memory
        self._live = live
        self._clock = clock
        self._execution = Execution(self._settings, planner, self._actors, audit, memory, clock, self._nudge)
        self._changed = asyncio.Event()
        self._readings: asyncio.Queue[Reading] = asyncio.Queue()

    # -- for those who want something -------------------------------------------------------------------------

    def relays(self) -> list[str]:
        """Return the ids of all relays."""
        return list(self._settings)

    def resolve(self, name: str) -> str:
        """Return the relay of an id or a friendly name. Raises `UnknownRelay`, which says what to do."""
        if name in self._settings:
            return name
        named = {device for device, state in self._live.devices.items() if state.name == name}
        found = [relay for relay, settings in self._settings.items() if settings.device in named | {name}]
        if len(found) == 1:
            return found[0]
        if found:
            raise UnknownRelay(f"{name} has several relays: name one of {', '.join(sorted(found))}")
        device = next(iter(named), name)
        if device in self._live.devices:
            raise UnknownRelay(
                f"{name} may not be switched: there is no [[relay]] block for it. Add to the configuration:\n"
                f'[[relay]]\ndevice = "{device}"\nsafe_state = "off"  # or "on" or "leave": where it is to be '
                "when this appliance stops or fails"
            )
        raise UnknownRelay(f"no device is called {name}: `edge-energy devices` lists them")

    def command(self, relay: str, on: bool | None, origin: Origin, **more: Any) -> Command:  # noqa: FBT001
        """Make a command of now; `on` None toggles. Raises `UnknownRelay` and `UnknownState`."""
        relay = self.resolve(relay)
        if on is None:
            presumed = self._planner.relays[relay].presumed
            if presumed is None:
                raise UnknownState(f"whether {relay} is on or off is not known now: say on or off")
            on = not presumed
        return Command(secrets.token_hex(8), relay, on, origin, _now() + EXPIRY)._replace(**more)

    def submit(self, command: Command) -> asyncio.Task[Outcome]:
        """Carry a command out; the task returns how it ended. The same id again is the same command."""
        return self._execution.submit(command)

    async def switch(self, command: Command) -> Outcome:
        """Carry a command out; return how it ended. Whoever waits may be cancelled: the command goes on."""
        return await asyncio.shield(self.submit(command))

    def refuse(self, command: Command, reason: str) -> Outcome:
        """Record a command that is not even looked at."""
        return self._execution.refuse(command, reason)

    def state(self, relay: str) -> str:
        """Return what may be told to others: ON, OFF, or None where that is not known or not believed."""
        output = self._planner.relays[relay].output
        return reporting.state(output, draws=self._draws(relay), available=self._available(relay))

    async def wait_changed(self, seen: int) -> int:
        """Wait until `changes` is not what was seen, and return it."""
        while self.changes == seen:
            await self._changed.wait()
        return self.changes

    # -- deciding ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Decide until cancelled."""
        self._audit.end_interrupted()
        for relay, state in self._planner.relays.items():
            state.restart(_now())
            state.wish = state.wish or self._memory.unended(relay, _now())
            state.latched = state.latched or self._memory.cut_out(relay)
        with self._live.listening(self._planner.devices) as self._readings:
            self._execution.closed = ""
            self.up.set()
            try:
                await together(self._decide(), *(actor.keep() for actor in self._actors.values()))
            finally:
                await self._make_safe()

    async def _decide(self) -> None:
        planner = self._planner
        self._look()
        while True:
            now, utc = _now(), time.time() if self._clock.trusted else None
            for action in planner.actions(now, utc):
                self.submit(self.command(action.relay, action.on, action.origin, reason=action.reason))
            self._tell(now)
            wait = min(LOOK, planner.due(now, utc) - _now())
            with suppress(TimeoutError):
                async with asyncio.timeout(max(wait, 0.001)):
                    self._take(await self._readings.get())
            while not self._readings.empty():
                self._take(self._readings.get_nowait())
            self._look()

    def _take(self, reading: Reading) -> None:
        if reading is not _NUDGE:
            self._planner.reading(reading.device, reading.values, _now())

    def _look(self) -> None:
        """Tell the planner who can be reached."""
        for device in self._planner.devices & self._live.devices.keys():
            self._planner.available(device, self._live.devices[device].available, _now())

    def _tell(self, now: float) -> None:
        """Record what began or ended to be wrong, and wake whoever shows states."""
        for relay, settings in self._settings.items():
            self._audit.incidents(relay, settings.device, self._planner.findings(relay, now), now)
            self._memory.keep_cut_out(relay, self._planner.relays[relay].latched)
        self.changes += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def _nudge(self) -> None:
        self._readings.put_nowait(_NUDGE)

    async def _make_safe(self) -> None:
        """Bring all loads to their safe state, as far as that goes in a few seconds."""
        self.up.clear()
        await self._execution.stop()
        unsafe = [
            self.command(relay, state.safe, Origin.SAFETY, reason="safe state at the stop")
            for relay, state in self._planner.relays.items()
            if state.safe is not None and state.output is not state.safe
        ]
        await asyncio.gather(*(self._execution.make_safe(command, STOPPING) for command in unsafe))
        self._tell(_now())

    # -- the device's timer -----------------------------------------------------------------------------------

    async def test_lease(self, name: str) -> dict[str, Any]:
        """Find out whether sending the device's timer again restarts it, without a click. Switches for some 15 s.

        Raises `UnknownRelay`, `Unavailable` and `NotSwitched`, with words for whoever wanted to know.
        """
        relay = self.resolve(name)
        state, actor = self._planner.relays[relay], self._actors[relay]
        unsafe = state.safe is not True
        if not actor.timer:
            raise Unavailable(f"{relay} has no timer of its own that could be tested")
        if reason := self._planner.refusal(relay, unsafe, _now()):
            raise NotSwitched(reason)
        self._planner.begin(relay, unsafe)
        try:
            with self._live.listening([self._settings[relay].device]) as readings:
                found = await lease_test.carry_out(actor, unsafe)
                if found.verified and lease_test.clicks(readings, self._settings[relay].output, unsafe):
                    found = lease_test.CLICKS
        except Superseded:  # by whoever knows now what it is to be
            raise NotSwitched(f"the test ended early: something else was wanted of {relay}") from None
        except BaseException:
            self._end_test(relay, state, unsafe=unsafe)
            raise
        self._end_test(relay, state, unsafe=unsafe)
        return {"relay": relay, **await self._memory.keep_lease(relay, found, self._clock.now()[0])}

    def _end_test(self, relay: str, state: RelayState, *, unsafe: bool) -> None:
        """Go back; what the relay is now has to be made sure."""
        state.forget(_now())
        self._planner.wish(relay, Wish(not unsafe, Origin.CLI, _now(), reason="after the test of its timer"))
        self._nudge()

    # -- for people -------------------------------------------------------------------------------------------

    def report(self) -> list[dict[str, Any]]:
        """Return what `status` shows of every relay."""
        return [self._report(relay) for relay in self._settings]

    def why(self, name: str) -> dict[str, Any]:
        """Return the last decisions about a relay, newest first. Raises `UnknownRelay`."""
        relay = self.resolve(name)
        decisions = [reporting.decision(decision) for decision in self._execution.decisions[relay]]
        return {**self._report(relay), "inputs": self._planner.inputs(relay, _now()), "decisions": decisions}

    def _report(self, relay: str) -> dict[str, Any]:
        decisions, device = self._execution.decisions[relay], self._live.devices.get(self._settings[relay].device)
        state, actor, lease = self._planner.relays[relay], self._actors[relay], self._memory.lease(relay)
        return {
            "relay": relay,
            "name": relay if device is None else device.name,
            "state": self.state(relay),
            "draws": self._draws(relay),
            "available": self._available(relay),
            **reporting.relay(state, actor, lease, _now()),
            "findings": list((self._audit.unsettled(relay) | self._planner.findings(relay, _now())).values()),
            "last": reporting.decision(decisions[0]) if decisions else None,
        }

    def _draws(self, relay: str) -> bool:
        """Tell whether current flows although it is said to be off, or did before a restart a moment ago."""
        return self._planner.relays[relay].watch.draws or STILL_DRAWS in self._audit.unsettled(relay)

    def _available(self, relay: str) -> bool | None:
        device = self._live.devices.get(self._settings[relay].device)
        return None if device is None else device.available


def _now() -> float:
    return uptime() / 1e9
