"""The audit trail: what was to be switched, what became of it, what is wrong; and which commands came before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import structlog

from edge_energy.errors import JournalFull
from edge_energy.interfaces import COMMAND, INCIDENT, NewEntry
from edge_energy.relays import known
from edge_energy.relays.command import Origin, Outcome, Verdict
from edge_energy.relays.watch import WITHIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_energy.clock import Clock
    from edge_energy.interfaces import Durable, Recorder
    from edge_energy.relays.command import Command

log = structlog.get_logger()

COMMANDS = known.COMMANDS
"""See there."""
INCIDENTS = "incident/"
"""Of keys in the journal's state: incidents that are open."""
SOON = 0.25  # seconds until an outcome is on disk
_INTERRUPTED = Outcome(Verdict.FAILED, "interrupted: the daemon ended while it was carried out")


class Audit:
    """Records, never raises but where a caller has to know that nothing can be recorded."""

    def __init__(self, recorder: Recorder, clock: Clock, state: Mapping[str, Any]) -> None:
        """Begin with what the journal's state has under `COMMANDS` and `INCIDENTS`."""
        self._recorder = recorder
        self._clock = clock
        self.commands = known.KnownCommands(state)
        self._promises: dict[str, Durable | None] = {}
        """By the keys of outcomes that are kept: what promises them; None where a full disk kept one out."""
        self._open = {key.removeprefix(INCIDENTS): body for key, body in state.items() if key.startswith(INCIDENTS)}
        self._doubtful = set(self._open)
        """Incidents from before the start that were not found again yet."""
        self._began: float | None = None

    def intent(self, command: Command, device: str) -> Durable:
        """Record that a command is about to be carried out. Raises `JournalFull`."""
        body = {
            "event": "intent",
            "command": command.id,
            "relay": command.relay,
            "on": command.on,
            "origin": command.origin,
            "reason": command.reason,
        }
        if command.for_ is not None:
            body["for"] = command.for_
        return self._record(COMMAND, device, body, 0, self.commands.begin(command, device))

    def outcome(
        self,
        command: Command,
        device: str,
        outcome: Outcome,
        milliseconds: float | None = None,
        *,
        intended: bool = True,
    ) -> None:
        """Record what became of a command; `intended` says whether its intent was recorded before."""
        body: dict[str, Any] = {
            "event": "outcome",
            "command": command.id,
            "relay": command.relay,
            "on": command.on,
            "origin": command.origin,
            "outcome": outcome.verdict,
            "reason": outcome.reason,
        }
        if milliseconds is not None:
            body["milliseconds"] = milliseconds
        within = 0 if command.origin is Origin.CLOUD else SOON  # its letter waits for that
        self._end(device, body, within, self.commands.end(command, outcome, intended=intended))

    def record_again(self, command: Command, device: str, outcome: Outcome) -> None:
        """Record an outcome that a full disk has kept out of the journal."""
        key = f"{COMMANDS}{command.id}"
        durable = self._promises.get(key)
        if key in self._promises and (durable is None or durable.failed()):  # else somebody was faster
            left = [kept for kept in self.commands.interrupted if kept["command"] != command.id]
            self.commands.interrupted = left
            self.outcome(command, device, outcome, intended=outcome.reason != known.ANOTHER)

    async def recorded(self, command: Command) -> bool:
        """Wait for the commit of the outcome of a command with an id of its sender; tell whether it is on disk.

        What is not known any more, or from before the start, is.
        """
        key = f"{COMMANDS}{command.id}"
        return key not in self._promises or await on_disk(self._promises[key])

    def end_interrupted(self) -> None:
        """Report what an end of the process interrupted; it is never repeated."""
        interrupted = list(self.commands.interrupted)
        states = []
        for kept in interrupted:  # all of them are known before the first of them finds the disk full
            key = f"{COMMANDS}{kept['command']}"
            states.append(self.commands.remember(kept, _INTERRUPTED) if kept["foreign"] else {key: None})
            self._promise(states[-1], None)
        for kept, state in zip(interrupted, states, strict=True):
            body = {name: kept[name] for name in ("command", "relay", "on", "origin")}
            body |= {"event": "outcome", "outcome": _INTERRUPTED.verdict, "reason": _INTERRUPTED.reason}
            if not self._end(kept["device"], body, 0, state):
                return  # the next start finds them again
            self.commands.interrupted.remove(kept)

    def _end(self, device: str, body: Mapping[str, Any], within: float, state: Mapping[str, Any]) -> bool:
        """Record an outcome; tell whether that is possible."""
        durable: Durable | None = None
        try:
            durable = self._record(COMMAND, device, body, within, state)
        except JournalFull:
            log.warning("outcome not recorded, the journal is full", relay=body["relay"], command=body["command"])
        self._promise(state, durable)
        return durable is not None

    def _promise(self, state: Mapping[str, Any], durable: Durable | None) -> None:
        for key, kept in state.items():
            if kept is None:
                self._promises.pop(key, None)
            else:
                self._promises[key] = durable

    def incidents(self, relay: str, device: str, findings: Mapping[str, str], now: float) -> None:
        """Take all that is wrong with a relay at an uptime (s); open what is new, resolve what is over.

        What is from before a restart is over only if it is not found again in the time that finding it takes.
        """
        self._began = now if self._began is None else self._began
        names = {f"{relay}/{key}": text for key, text in findings.items()}
        self._doubtful = self._doubtful - names.keys() if now - self._began < WITHIN else set()
        mine = {name for name, body in self._open.items() if body["relay"] == relay} - self._doubtful
        for name in names.keys() - mine:
            body = {"event": "opened", "incident": name, "relay": relay, "text": names[name]}
            if self._tell(device, body, {"relay": relay, "device": device, "text": names[name]}):
                log.warning("incident", relay=relay, text=names[name])
        for name in mine - names.keys():
            body = {"event": "resolved", "incident": name, "relay": relay, "text": self._open[name]["text"]}
            if self._tell(device, body, None):
                log.info("incident is over", relay=relay, text=body["text"])

    def unsettled(self, relay: str) -> dict[str, str]:
        """Return the incidents, by their keys, from before a restart of which nobody knows whether they are over."""
        mine = {name: self._open[name] for name in self._doubtful}
        return {name.rpartition("/")[2]: body["text"] for name, body in mine.items() if body["relay"] == relay}

    def _tell(self, device: str, body: dict[str, Any], kept: dict[str, Any] | None) -> bool:
        name = body["incident"]
        try:
            self._record(INCIDENT, device, body, 0, {f"{INCIDENTS}{name}": kept})
        except JournalFull:
            return False  # it is told again when there is space
        if kept is None:
            del self._open[name]
        else:
            self._open[name] = kept
        return True

    def _record(
        self, kind: str, device: str, body: Mapping[str, Any], within: float, state: Mapping[str, Any]
    ) -> Durable:
        now, uptime = self._clock.now()
        return self._recorder.record(
            [NewEntry(kind, device, now, uptime, orjson.dumps(body).decode())], within, state
        )


async def on_disk(durable: Durable | None) -> bool:
    """Wait for a commit; tell whether what it was to have is there."""
    try:
        if durable is not None:
            await durable
    except JournalFull:
        return False
    return durable is not None
