"""Carries out one command after the other for each relay: intent, driver, outcome."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from edge_energy.clock import uptime
from edge_energy.errors import JournalFull, NotSwitched, Unavailable
from edge_energy.relays.actor import Superseded
from edge_energy.relays.audit import ANOTHER
from edge_energy.relays.command import EXPIRY, Command, Origin, Outcome, Verdict
from edge_energy.relays.state import Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_energy.clock import Clock
    from edge_energy.config import Relay
    from edge_energy.interfaces import Durable
    from edge_energy.relays.actor import Actor
    from edge_energy.relays.audit import Audit
    from edge_energy.relays.memory import Memory
    from edge_energy.relays.planner import Planner

log = structlog.get_logger()

REMEMBERED = 20  # decisions of each relay, for `why`
_FULL = Outcome(Verdict.REFUSED, "the disk is full: nothing is switched on that cannot be recorded")
_LATE = Outcome(Verdict.EXPIRED, "it came too late")
_UNDATED = Outcome(Verdict.REFUSED, "the date is not known yet, so nobody can say whether this comes too late")
_NEWER = Outcome(Verdict.SUPERSEDED, "something newer is wanted")
_STOPPED = Outcome(Verdict.FAILED, "interrupted: the daemon stops")


class Decision(NamedTuple):
    """What was decided about a relay, and what was known then. `time` is UTC ns."""

    time: int | None
    command: Command
    outcome: Outcome
    milliseconds: float | None
    inputs: dict[str, Any]


class Execution:
    """Knows which command is the newest of each relay: that one alone tells the planner how it ended."""

    def __init__(  # noqa: PLR0913 - what a command touches
        self,
        settings: Mapping[str, Relay],
        planner: Planner,
        actors: Mapping[str, Actor],
        audit: Audit,
        memory: Memory,
        clock: Clock,
        news: Callable[[], None],
    ) -> None:
        """`news` is called when a command has ended."""
        self.closed = "the relay controller has not begun yet"
        """Why nothing is switched now; nothing while it is."""
        self.decisions: dict[str, deque[Decision]] = {relay: deque(maxlen=REMEMBERED) for relay in settings}
        self._settings = settings
        self._planner = planner
        self._actors = actors
        self._audit = audit
        self._memory = memory
        self._clock = clock
        self._news = news
        self._newest: dict[str, Command] = {}
        self._issued: dict[str, float] = {}
        """By relay: UTC seconds of the newest command that was taken."""
        self._working: dict[str, tuple[Command, asyncio.Task[Outcome]]] = {}

    def submit(self, command: Command) -> asyncio.Task[Outcome]:
        """Carry a command out; the task returns how it ended. The same id again is the same command."""
        if command.id in self._working:
            known, task = self._working[command.id]
            if (known.relay, known.on) == (command.relay, command.on):
                return task
            return asyncio.create_task(self._refused(command, ANOTHER))
        task = asyncio.create_task(self._carry_out(command))
        self._working[command.id] = command, task
        task.add_done_callback(lambda _: self._working.pop(command.id, None))
        return task

    def refuse(self, command: Command, reason: str) -> Outcome:
        """Record a command that is not even looked at."""
        return self._ended(command, Outcome(Verdict.REFUSED, reason))

    async def _refused(self, command: Command, reason: str) -> Outcome:
        return self.refuse(command, reason)

    async def stop(self) -> None:
        """End all commands at work, and take no more; whoever waits for one is told."""
        self.closed = "the relay controller has stopped"
        working = [task for _, task in self._working.values()]
        for task in working:
            task.cancel()
        if working:
            await asyncio.wait(working)

    async def make_safe(self, command: Command, patience: float) -> None:
        """Switch to the safe state at the end of everything: no rule is asked, and the journal comes last."""
        began, outcome = time.monotonic(), Outcome(Verdict.FAILED, f"no confirmation within {patience:g} s")
        try:
            async with asyncio.timeout(patience):
                outcome = await self._switch(command, None)
        except TimeoutError:
            pass
        finally:
            self._intend(command)
            self._settle(command, outcome, None)
            self._ended(command, outcome, began)

    async def _carry_out(self, command: Command) -> Outcome:
        began = time.monotonic()
        if (known := self._audit.known(command)) is not None:
            return known
        if (refusal := self._refusal(command)) is not None:
            return self._ended(command, refusal, began)
        relay, planner = command.relay, self._planner
        before, inputs = planner.relays[relay].wish, planner.inputs(relay, _now())
        end = None if command.for_ is None else _now() + command.for_
        self._newest[relay] = command
        if command.origin.manual:
            planner.wish(relay, Wish(command.on, command.origin, _now(), end, command.reason))
        planner.begin(relay, command.on)
        try:
            outcome = await self._record_and_switch(command, end)
        except asyncio.CancelledError:  # only `stop` does that, and whoever waits is to know how it ended
            outcome = _STOPPED
        if self._newest.get(relay) is command:
            del self._newest[relay]
            self._settle(command, outcome, before)
        return self._ended(command, outcome, began, inputs)

    def _refusal(self, command: Command) -> Outcome | None:
        """Return how a command ends that is not carried out at all."""
        if self.closed:
            return Outcome(Verdict.REFUSED, self.closed)
        if _now() >= command.expires:
            return _LATE
        if (late := self._late(command)) is not None:
            return late
        if not command.origin.manual:  # the planner has just decided it
            return None
        reason = self._planner.refusal(command.relay, command.on, _now())
        if reason:
            return Outcome(Verdict.REFUSED, reason)
        if self._clock.trusted:
            self._issued[command.relay] = command.issued_at or time.time()
        return None

    def _late(self, command: Command) -> Outcome | None:
        """Return what is wrong with the times of a command that was born elsewhere."""
        if command.issued_at is None and command.expires_at is None:
            return None
        if not self._clock.trusted:
            return _UNDATED
        issued = time.time() if command.issued_at is None else command.issued_at
        if time.time() >= (issued + EXPIRY if command.expires_at is None else command.expires_at):
            return _LATE
        if issued < self._issued.get(command.relay, issued):
            return Outcome(Verdict.SUPERSEDED, "something newer was wanted before it came")
        return None

    async def _record_and_switch(self, command: Command, end: float | None) -> Outcome:
        """Record and switch: ON in this order, OFF and the safe state without waiting for the disk."""
        durable = self._intend(command)
        if command.on and self._planner.relays[command.relay].safe is not True:
            if durable is None:
                return _FULL
            try:
                await durable
            except JournalFull:
                return _FULL
            if self._newest.get(command.relay) is not command:
                return _NEWER
            if _now() >= command.expires:
                return Outcome(Verdict.EXPIRED, "the disk was too slow to record it in time")
        return await self._switch(command, end)

    async def _switch(self, command: Command, end: float | None) -> Outcome:
        try:
            await self._actors[command.relay].switch(command.on, end)
        except Superseded:
            return _NEWER
        except (Unavailable, NotSwitched) as error:
            return Outcome(Verdict.FAILED, str(error))
        return Outcome(Verdict.CONFIRMED)

    def _intend(self, command: Command) -> Durable | None:
        """Record an intent; None where that is not possible."""
        try:
            return self._audit.intent(command, self._settings[command.relay].device)
        except JournalFull:
            return None

    def _settle(self, command: Command, outcome: Outcome, before: Wish | None) -> None:
        """Tell the planner what became of the newest command of a relay."""
        relay, now = command.relay, _now()
        state = self._planner.relays[relay]
        if outcome.confirmed:
            self._planner.confirmed(relay, command.on, now)
            self._memory.keep_end(relay, state.wish)
            return
        state.failed(now)
        unsafe = state.safe is not True
        if command.origin.manual and command.on is unsafe:
            # What failed must not happen later: what was wished before counts again, or it goes back.
            state.wish = before or Wish(not unsafe, Origin.SAFETY, now, reason="switching it failed")

    def _ended(
        self, command: Command, outcome: Outcome, began: float | None = None, inputs: dict[str, Any] | None = None
    ) -> Outcome:
        """Record an outcome, for the journal and for `why`."""
        relay = command.relay
        milliseconds = None if began is None else round((time.monotonic() - began) * 1000, 1)
        self._audit.outcome(command, self._settings[relay].device, outcome, milliseconds)
        known = self._planner.inputs(relay, _now()) if inputs is None else inputs
        self.decisions[relay].appendleft(Decision(self._clock.now()[0], command, outcome, milliseconds, known))
        log.info(
            "relay",
            relay=relay,
            on=command.on,
            origin=str(command.origin),
            outcome=str(outcome.verdict),
            reason=outcome.reason or command.reason,
        )
        self._news()
        return outcome


def _now() -> float:
    return uptime() / 1e9
