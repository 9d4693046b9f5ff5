"""The audit trail: what was to be switched, what became of it, what is wrong; and which commands came before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import structlog

from edge_energy.errors import JournalFull
from edge_energy.interfaces import COMMAND, INCIDENT, NewEntry
from edge_energy.relays.command import Outcome, Verdict
from edge_energy.relays.watch import WITHIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_energy.clock import Clock
    from edge_energy.interfaces import Durable, Recorder
    from edge_energy.relays.command import Command

log = structlog.get_logger()

COMMANDS = "command/"
"""Of keys in the journal's state: a command at work, or the outcome of one that its sender may send again."""
INCIDENTS = "incident/"
"""Of keys in the journal's state: incidents that are open."""
MOST_REMEMBERED = 1_000  # outcomes of commands with ids of their senders
SOON = 0.25  # seconds until an outcome is on disk
ANOTHER = "another command had this id"
_NOTHING_DONE = (Verdict.REFUSED, Verdict.EXPIRED)  # such a command may be sent again under its id


class Audit:
    """Records, never raises but where a caller has to know that nothing can be recorded."""

    def __init__(self, recorder: Recorder, clock: Clock, state: Mapping[str, Any]) -> None:
        """Begin with what the journal's state has under `COMMANDS` and `INCIDENTS`."""
        self._recorder = recorder
        self._clock = clock
        self._ended: dict[str, dict[str, Any]] = {}
        """By the id that its sender gave a command: what is kept of it."""
        self.interrupted: list[dict[str, Any]] = []
        """Commands that an end of the process interrupted."""
        self._open = {key.removeprefix(INCIDENTS): body for key, body in state.items() if key.startswith(INCIDENTS)}
        self._doubtful = set(self._open)
        """Incidents from before the start that were not found again yet."""
        self._began: float | None = None
        for key, body in state.items():
            if not key.startswith(COMMANDS):
                continue
            if "outcome" in body:
                self._ended[body["command"]] = body
            else:
                self.interrupted.append(body)

    def known(self, command: Command) -> Outcome | None:
        """Return how a command that its sender named has ended, if it was seen before."""
        if not command.foreign or command.id not in self._ended:
            return None
        kept = self._ended[command.id]
        if (kept["relay"], kept["on"], kept["for"]) != (command.relay, command.on, command.for_):
            return Outcome(Verdict.REFUSED, ANOTHER)
        return Outcome(Verdict(kept["outcome"]), kept["reason"])

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
        kept = {"command": command.id, "relay": command.relay, "device": device, "on": command.on}
        kept |= {"for": command.for_, "origin": command.origin, "foreign": command.foreign}
        return self._record(COMMAND, device, body, 0, {f"{COMMANDS}{command.id}": kept})

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
        # What was never begun leaves alone what is kept of another command with its id.
        state: dict[str, Any] = {f"{COMMANDS}{command.id}": None} if intended else {}
        if command.foreign and outcome.verdict not in _NOTHING_DONE:
            kept = {"command": command.id, "relay": command.relay, "on": command.on, "for": command.for_}
            state = self._remember(kept, outcome)
        try:
            self._record(COMMAND, device, body, SOON, state)
        except JournalFull:
            log.warning("outcome not recorded, the journal is full", relay=command.relay, command=command.id)

    def end_interrupted(self) -> None:
        """Report what an end of the process interrupted; it is never repeated."""
        while self.interrupted:
            kept = self.interrupted[-1]
            outcome = Outcome(Verdict.FAILED, "interrupted: the daemon ended while it was carried out")
            body = {name: kept[name] for name in ("command", "relay", "on", "origin")}
            body |= {"event": "outcome", "outcome": outcome.verdict, "reason": outcome.reason}
            state: dict[str, Any] = {f"{COMMANDS}{kept['command']}": None}
            if kept["foreign"]:
                state = self._remember(kept, outcome)
            try:
                self._record(COMMAND, kept["device"], body, 0, state)
            except JournalFull:
                return  # the next start finds them again
            self.interrupted.pop()

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

    def _remember(self, kept: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
        """Return the state that keeps an outcome, and forgets the oldest."""
        command = kept["command"]
        self._ended[command] = kept = kept | {"outcome": outcome.verdict, "reason": outcome.reason}
        state: dict[str, Any] = {f"{COMMANDS}{command}": kept}
        if len(self._ended) > MOST_REMEMBERED:
            oldest = next(iter(self._ended))
            del self._ended[oldest]
            state[f"{COMMANDS}{oldest}"] = None
        return state

    def _record(
        self, kind: str, device: str, body: Mapping[str, Any], within: float, state: Mapping[str, Any]
    ) -> Durable:
        now, uptime = self._clock.now()
        return self._recorder.record(
            [NewEntry(kind, device, now, uptime, orjson.dumps(body).decode())], within, state
        )
