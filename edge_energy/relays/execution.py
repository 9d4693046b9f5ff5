"""Carries out one command after the other for each relay: intent, driver, outcome."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from edge_energy.clock import uptime_seconds
from edge_energy.errors import JournalFull, NotSwitched, Unavailable
from edge_energy.relays.actor import Superseded
from edge_energy.relays.audit import on_disk
from edge_energy.relays.command import EXPIRY, LONGEST_GOOD, Command, Origin, Outcome, Verdict
from edge_energy.relays.decisions import Decision, Decisions
from edge_energy.relays.known import ANOTHER
from edge_energy.relays.state import Wish

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from edge_energy.clock import Clock
    from edge_energy.config import Relay
    from edge_energy.interfaces import Durable
    from edge_energy.relays.actor import Actor
    from edge_energy.relays.audit import Audit
    from edge_energy.relays.planner import Planner

log = structlog.get_logger()
T = TypeVar("T")

CLOCKS_APART = 5.0  # seconds by which a sender's clock may be ahead of ours
_FULL = Outcome(Verdict.REFUSED, "the disk is full: nothing is switched on that cannot be recorded")
_LATE = Outcome(Verdict.EXPIRED, "it came too late")
_TOO_SLOW = Outcome(Verdict.EXPIRED, "the disk was too slow to record it in time")
_TOO_LONG = Outcome(Verdict.REFUSED, "expires: expected at most an hour after it was issued")
_UNDATED = Outcome(Verdict.REFUSED, "the date is not known yet, so nobody can say whether this comes too late")
_NEWER = Outcome(Verdict.SUPERSEDED, "something newer is wanted")
_OVERTAKEN = Outcome(Verdict.SUPERSEDED, "something newer was wanted before it came")
_DEFECT = Outcome(Verdict.FAILED, "a defect of this program: the log has it")
_STOPPED = Outcome(Verdict.FAILED, "interrupted: the daemon stops")


class Execution:
    """Knows which command is the newest of each relay: that one alone tells the planner how it ended."""

    def __init__(  # noqa: PLR0913 - what a command touches
        self,
        settings: Mapping[str, Relay],
        planner: Planner,
        actors: Mapping[str, Actor],
        audit: Audit,
        clock: Clock,
        news: Callable[[], None],
    ) -> None:
        """`news` is called when a command has ended."""
        self.closed = "the relay controller has not begun yet"
        """Why nothing is switched now; nothing while it is."""
        self.decisions = Decisions(settings)
        self._settings = settings
        self._planner = planner
        self._actors = actors
        self._audit = audit
        self._clock = clock
        self._news = news
        self._newest: dict[str, Command] = {}
        self._before: dict[str, Wish | None] = {}
        """By relay: what counts if the newest command fails."""
        self._working: dict[str, tuple[Command, asyncio.Task[Outcome]]] = {}
        self._defect: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def submit(self, command: Command) -> asyncio.Task[Outcome]:
        """Carry a command out; the task returns how it ended. The same id again is the same command."""
        if command.id in self._working:
            known, task = self._working[command.id]
            return task if known.same(command) else asyncio.create_task(self._refused(command, ANOTHER))
        task = asyncio.create_task(self._carry_out(command))
        self._working[command.id] = command, task
        task.add_done_callback(partial(self._done, command))
        return task

    def _done(self, command: Command, task: asyncio.Task[Outcome]) -> None:
        del self._working[command.id]
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._defect.done():
            self._defect.set_exception(error)

    def refuse(self, command: Command, reason: str) -> Outcome:
        """Record a command that is not even looked at; one that was carried out before keeps its outcome."""
        return self._audit.commands.outcome(command) or self._ended(
            command, Outcome(Verdict.REFUSED, reason), intended=False
        )

    async def _refused(self, command: Command, reason: str) -> Outcome:
        return self.refuse(command, reason)

    def open(self) -> None:
        """Begin to take commands."""
        self.closed, self._defect = "", asyncio.get_running_loop().create_future()

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
        began, outcome = time.monotonic(), _DEFECT
        try:
            async with asyncio.timeout(patience):
                outcome = await self._switch(command, None)
        except TimeoutError:
            outcome = Outcome(Verdict.FAILED, f"no confirmation within {patience:g} s")
        finally:
            self._intend(command)
            self._settle(command, outcome, None, None)
            self._ended(command, outcome, began)

    async def test(self, command: Command, work: Callable[[], Awaitable[T]], after: Wish) -> T:
        """Do what is not just switching, with its intent and its outcome; then wish for `after`.

        Raises `NotSwitched` and `Unavailable`.
        """
        began, relay, outcome = time.monotonic(), command.relay, _STOPPED
        state = self._planner.relays[relay]
        self._newest[relay] = command
        self._planner.begin(relay, command.on)
        state.output = None  # it is this and that
        try:
            if not await on_disk(self._intend(command)):
                raise NotSwitched(_FULL.reason)  # noqa: TRY301 - as if the device had refused
            found = await work()
            outcome = Outcome(Verdict.CONFIRMED)
        except (Superseded, NotSwitched) as error:
            outcome = Outcome(Verdict.FAILED, str(error))
            raise NotSwitched(str(error)) from None
        except Unavailable as error:
            outcome = Outcome(Verdict.FAILED, str(error))
            raise
        finally:
            if self._newest.get(relay) is command:  # else it is somebody else's now
                del self._newest[relay]
                state.forget(uptime_seconds())
                self._planner.wish(relay, after)
            self._ended(command, outcome, began)
        return found

    async def fail(self) -> None:
        """Raise what a defect raised in a command, so that the controller ends in the safe state."""
        await asyncio.shield(self._defect)

    async def _carry_out(self, command: Command) -> Outcome:
        began = time.monotonic()
        if (known := self._audit.commands.outcome(command)) is not None:
            return known
        if (refusal := self._refusal(command)) is not None:
            return self._ended(command, refusal, began, intended=False)
        relay, planner = command.relay, self._planner
        state, inputs = planner.relays[relay], planner.inputs(relay, uptime_seconds())
        wish, before, end = state.wish, self._wish_before(command), None
        if not command.planned:
            end = None if command.for_ is None else uptime_seconds() + command.for_
            wish = Wish(command.on, command.origin, uptime_seconds(), end, command.reason)
            planner.wish(relay, wish)
        elif wish is not None and wish.on is command.on:
            end = wish.until
        self._newest[relay], self._before[relay] = command, before
        planner.begin(relay, command.on)
        outcome = _DEFECT
        try:
            outcome = await self._record_and_switch(command, end)
        except asyncio.CancelledError:  # only `stop` does that, and whoever waits is to know how it ended
            outcome = _STOPPED
        finally:
            if self._newest.get(relay) is command:
                del self._newest[relay]
                self._settle(command, outcome, wish, before)
            self._ended(command, outcome, began, inputs)
        return outcome

    def _wish_before(self, command: Command) -> Wish | None:
        """Return what counts if a command fails: what was wished before it, and before those that it ends."""
        older, wish = self._newest.get(command.relay), self._planner.relays[command.relay].wish
        return wish if older is None or older.planned else self._before.get(command.relay, wish)

    def _refusal(self, command: Command) -> Outcome | None:
        """Return how a command ends that is not carried out at all."""
        if self.closed:
            return Outcome(Verdict.REFUSED, self.closed)
        if uptime_seconds() >= command.expires:
            return _LATE
        if (late := self._late(command)) is not None:
            return late
        if command.planned:  # the planner has just decided it, if nobody wanted something else since
            return None if self._planner.relays[command.relay].switching is command.on else _NEWER
        reason = self._planner.refusal(command.relay, command.on, uptime_seconds())
        if reason:
            return Outcome(Verdict.REFUSED, reason)
        if self._clock.trusted:
            self._audit.commands.take(command.relay, min(command.issued_at or time.time(), time.time()))
        return None

    def _late(self, command: Command) -> Outcome | None:
        """Return what is wrong with the times of a command that was born elsewhere."""
        if command.issued_at is None and command.expires_at is None:
            return None
        if not self._clock.trusted:
            return _UNDATED
        issued = time.time() if command.issued_at is None else command.issued_at
        if issued > time.time() + CLOCKS_APART:
            return Outcome(Verdict.REFUSED, "it was issued in the future: set the clock of whoever sent it")
        if command.foreign and (command.expires_at or 0.0) > issued + LONGEST_GOOD:
            return _TOO_LONG
        if _over(command):
            return _LATE
        overtaken = self._audit.commands.overtaken(command.relay, issued, time.time() + CLOCKS_APART)
        return _OVERTAKEN if overtaken else None

    async def _record_and_switch(self, command: Command, end: float | None) -> Outcome:
        """Record and switch: ON in this order, OFF and the safe state without waiting for the disk.

        The cloud delivers again what a crash interrupted, and then it has to be known: there OFF waits too, but for
        no space.
        """
        durable = self._intend(command)
        risky = command.on and self._planner.relays[command.relay].safe is not True
        if risky or command.origin is Origin.CLOUD:
            if not await on_disk(durable) and risky:
                return _FULL
            if self._newest.get(command.relay) is not command:
                return _NEWER
            if _over(command) or (risky and uptime_seconds() >= command.expires):
                return _TOO_SLOW
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

    def _settle(self, command: Command, outcome: Outcome, wish: Wish | None, before: Wish | None) -> None:
        """Tell the planner what became of the newest command of a relay, and of what it wished."""
        relay, now = command.relay, uptime_seconds()
        state = self._planner.relays[relay]
        if outcome.confirmed:
            self._planner.confirmed(relay, command.on, now)
            return
        untried = outcome.verdict in (Verdict.REFUSED, Verdict.EXPIRED)
        if untried:
            state.left_alone()
        else:
            state.failed(now, outcome.reason)
        unsafe = state.safe is not True
        if command.planned or state.wish is not wish:
            return
        if untried and (before is not None or state.safe is None or command.on is not unsafe):
            state.wish = before
        elif command.on is unsafe:  # it must not happen later: what was wished before counts again, or it goes back
            state.wish = before or Wish(not unsafe, Origin.SAFETY, now, reason="switching it failed")

    def _ended(
        self,
        command: Command,
        outcome: Outcome,
        began: float | None = None,
        inputs: dict[str, Any] | None = None,
        *,
        intended: bool = True,
    ) -> Outcome:
        """Record an outcome, for the journal and for `why`."""
        relay = command.relay
        milliseconds = None if began is None else round((time.monotonic() - began) * 1000, 1)
        self._audit.outcome(command, self._settings[relay].device, outcome, milliseconds, intended=intended)
        known = self._planner.inputs(relay, uptime_seconds()) if inputs is None else inputs
        self.decisions.add(Decision(self._clock.now()[0], command, outcome, milliseconds, known))
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


def _over(command: Command) -> bool:
    """Tell whether the time is over for which a command is good that was born elsewhere."""
    if command.expires_at is not None:
        return time.time() >= command.expires_at
    return command.issued_at is not None and time.time() >= command.issued_at + EXPIRY
