"""Between everybody who wants a relay switched and the drivers that do it. Read planner.py for what it decides."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any

import structlog

from edge_energy.clock import uptime_seconds
from edge_energy.errors import NotSwitched, Unavailable
from edge_energy.reading import Reading
from edge_energy.relays import lease_test, reporting
from edge_energy.relays.actor import Actor
from edge_energy.relays.command import EXPIRY, Command, Origin, Outcome, UnknownDevice, UnknownRelay, UnknownState
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

log = structlog.get_logger()

STOPPING = 4.0  # seconds in which loads are brought to their safe state at a stop
LOOK = 5.0  # seconds between two looks at who can be reached
SWITCHABLE = ("shelly-", "zigbee-")
LISTED = "`edge-energy devices` lists them"
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
        """Grows when a state that may be told to others is new."""
        self._states: dict[str, str] = {}
        self._settings = {relay.id: relay for relay in settings.relay}
        self._planner = planner
        self._actors = {
            relay: Actor(self._settings[relay], driver, planner.relays[relay]) for relay, driver in drivers.items()
        }
        self._audit = audit
        self._memory = memory
        self._live = live
        self._clock = clock
        self._execution = Execution(self._settings, planner, self._actors, audit, clock, self._nudge)
        self._changed = asyncio.Event()
        self._readings: asyncio.Queue[Reading] = asyncio.Queue()

    # -- for those who want something -------------------------------------------------------------------------

    def relays(self) -> list[str]:
        """Return the ids of all relays."""
        return list(self._settings)

    def resolve(self, name: str) -> str:
        """Return the relay of an id or a friendly name.

        Raises `UnknownRelay`, which says what to do; `UnknownDevice`, which is one, for what is not here at all.
        """
        if name in self._settings:
            return name
        named = {device for device, state in self._live.devices.items() if state.name == name}
        found = [relay for relay, settings in self._settings.items() if settings.device in named | {name}]
        if len(found) == 1:
            return found[0]
        if found:
            raise UnknownRelay(f"{name} has several relays: name one of {', '.join(sorted(found))}")
        device = next(iter(named), name)
        if device not in self._live.devices:
            here = self._live.devices.keys() | {settings.device for settings in self._settings.values()}
            error = UnknownRelay if device.partition("_")[0] in here else UnknownDevice  # an output, or all of it
            raise error(f"no device is called {name}: {LISTED}")
        if not device.startswith(SWITCHABLE):
            raise UnknownRelay(f"{name} cannot be switched: only Shelly devices and those of Zigbee2MQTT can")
        raise UnknownRelay(
            f"{name} may not be switched: there is no [[relay]] block for it. Add to the configuration:\n"
            f'[[relay]]\ndevice = "{device}"\nsafe_state = "off"  # or "on" or "leave": where it is to be '
            "when this appliance stops or fails"
        )

    def command(self, relay: str, on: bool | None, origin: Origin, **more: Any) -> Command:  # noqa: FBT001
        """Make a command of now; `on` None toggles. Raises `UnknownRelay` and `UnknownState`."""
        relay = self.resolve(relay)
        if on is None:
            presumed = self._planner.relays[relay].presumed
            if presumed is None:
                raise UnknownState(f"whether {relay} is on or off is not known now: say on or off")
            on = not presumed
        return Command(secrets.token_hex(8), relay, on, origin, uptime_seconds() + EXPIRY)._replace(**more)

    def submit(self, command: Command) -> asyncio.Task[Outcome]:
        """Carry a command out; the task returns how it ended. The same id again is the same command."""
        return self._execution.submit(command)

    async def switch(self, command: Command) -> Outcome:
        """Carry a command out; return how it ended. Whoever waits may be cancelled: the command goes on."""
        return await asyncio.shield(self.submit(command))

    def refuse(self, command: Command, reason: str) -> Outcome:
        """Record a command that is not even looked at."""
        return self._execution.refuse(command, reason)

    async def recorded(self, command: Command) -> bool:
        """Wait for the commit of the outcome of a foreign command; tell whether it is on disk."""
        return await self._audit.recorded(command)

    def record_again(self, command: Command, outcome: Outcome) -> None:
        """Record an outcome that a full disk has kept out of the journal."""
        self._audit.record_again(command, self._settings[command.relay].device, outcome)

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
            state.restart(uptime_seconds())
            state.ends = self._memory.end(relay, uptime_seconds()) if state.safe is None else None
            self._planner.switched_off[relay] = self._memory.off(relay) or -inf
            state.latched = state.latched or self._memory.cut_out(relay)
        with self._live.listening(self._planner.devices) as self._readings:
            self._execution.open()
            self.up.set()
            try:
                await together(
                    self._decide(), self._execution.fail(), *(actor.keep() for actor in self._actors.values())
                )
            finally:
                await self._make_safe()

    async def _decide(self) -> None:
        planner = self._planner
        self._look()
        while True:
            now, utc = uptime_seconds(), self._utc()
            for action in planner.actions(now, utc):
                more = {"reason": action.reason, "planned": True}
                self.submit(self.command(action.relay, action.on, action.origin, **more))
            self._tell(now)
            wait = min(LOOK, planner.due(now, utc) - uptime_seconds())
            with suppress(TimeoutError):
                async with asyncio.timeout(max(wait, 0.001)):
                    self._take(await self._readings.get())
            while not self._readings.empty():
                self._take(self._readings.get_nowait())
            self._look()

    def _take(self, reading: Reading) -> None:
        if reading is not _NUDGE:
            self._planner.reading(reading.device, reading.values, uptime_seconds())

    def _look(self) -> None:
        """Tell the planner who can be reached."""
        for device in self._planner.devices & self._live.devices.keys():
            self._planner.available(device, self._live.devices[device].available, uptime_seconds())

    def _tell(self, now: float) -> None:
        """Record what began or ended to be wrong, and wake whoever shows states."""
        utc = self._utc()
        for relay, settings in self._settings.items():
            self._audit.incidents(relay, settings.device, self._planner.findings(relay, now), now)
            self._memory.keep_cut_out(relay, self._planner.relays[relay].latched)
            self._memory.keep_end(relay, self._planner.relays[relay].end)
            if (wish := self._planner.relays[relay].wish) is not None:
                self._memory.keep_off(relay, wish, now, utc)
        states = {relay: self.state(relay) for relay in self._settings}
        if states != self._states:
            self._states = states
            self.changes += 1
            self._changed.set()
            self._changed = asyncio.Event()

    def _utc(self) -> float | None:
        return time.time() if self._clock.trusted else None

    def _nudge(self) -> None:
        self._readings.put_nowait(_NUDGE)

    async def _make_safe(self) -> None:
        """Bring all loads to their safe state, as far as that goes in a few seconds."""
        self.up.clear()
        await self._execution.stop()
        defects: list[BaseException] = []
        for safe in (False, True):  # what has to go off makes room for what has to go on
            unsafe = [
                self.command(relay, safe, Origin.SAFETY, reason="safe state at the stop", planned=True)
                for relay, state in self._planner.relays.items()
                if state.safe is safe and state.output is not safe and not (safe and self._barred(relay))
            ]
            work = (self._execution.make_safe(command, STOPPING) for command in unsafe)
            ended = await asyncio.gather(*work, return_exceptions=True)  # one defect must not end the others
            defects += [error for error in ended if error is not None]
        self._tell(uptime_seconds())
        if defects:
            raise defects[0]

    def _barred(self, relay: str) -> bool:
        why = self._planner.rules.barred(relay, uptime_seconds())
        if why:
            log.warning("not brought to its safe state", relay=relay, reason=why)
        return bool(why)

    # -- the device's timer -----------------------------------------------------------------------------------

    async def test_lease(self, name: str) -> dict[str, Any]:
        """Find out whether sending the device's timer again restarts it, without a click. Switches for some 15 s.

        Raises `UnknownRelay`, `Unavailable` and `NotSwitched`, with words for whoever wanted to know.
        """
        relay = self.resolve(name)
        state, actor = self._planner.relays[relay], self._actors[relay]
        unsafe = state.safe is not True
        if actor.timer is False:
            raise Unavailable(f"{relay} has no timer of its own that could be tested")
        if reason := self._planner.refusal(relay, unsafe, uptime_seconds()):
            raise NotSwitched(reason)
        command = self.command(relay, unsafe, Origin.CLI, reason="test of its timer: switched for some 15 s")
        before = state.wish or Wish(state.presumed is True, Origin.SAFETY, uptime_seconds())

        async def test() -> lease_test.Finding:
            with self._live.listening([self._settings[relay].device]) as readings:
                found = await lease_test.carry_out(actor, unsafe)
                clicks = lease_test.clicks(readings, self._settings[relay].output, unsafe)
            return lease_test.CLICKS if found.verified and clicks else found

        found = await self._execution.test(command, test, before)
        return {"relay": relay, **await self._memory.keep_lease(relay, found, self._clock.now()[0])}

    # -- for people -------------------------------------------------------------------------------------------

    def report(self) -> list[dict[str, Any]]:
        """Return what `status` shows of every relay."""
        return [self._report(relay) for relay in self._settings]

    def why(self, name: str) -> dict[str, Any]:
        """Return the last decisions about a relay, newest first. Raises `UnknownRelay`."""
        relay = self.resolve(name)
        decisions = [reporting.decision(decision) for decision in self._execution.decisions.of(relay)]
        return {
            **self._report(relay),
            "inputs": self._planner.inputs(relay, uptime_seconds()),
            "decisions": decisions,
        }

    def _report(self, relay: str) -> dict[str, Any]:
        decisions, device = self._execution.decisions.of(relay), self._live.devices.get(self._settings[relay].device)
        state, actor, lease = self._planner.relays[relay], self._actors[relay], self._memory.lease(relay)
        return {
            "relay": relay,
            "name": relay if device is None else device.name,
            "state": self.state(relay),
            "draws": self._draws(relay),
            "available": self._available(relay),
            **reporting.relay(state, actor, lease, uptime_seconds()),
            "findings": list(
                (self._audit.unsettled(relay) | self._planner.findings(relay, uptime_seconds())).values()
            ),
            "last": reporting.decision(decisions[0]) if decisions else None,
        }

    def _draws(self, relay: str) -> bool:
        """Tell whether current flows although it is said to be off, or did before a restart a moment ago."""
        return self._planner.relays[relay].watch.draws or STILL_DRAWS in self._audit.unsettled(relay)

    def _available(self, relay: str) -> bool | None:
        device = self._live.devices.get(self._settings[relay].device)
        return None if device is None else device.available
