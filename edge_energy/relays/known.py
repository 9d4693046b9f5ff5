"""Which commands came before, and how they ended: whoever sends one again is told that.

What changes is handed out as state for the journal, to be written with the entry that it belongs to.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from edge_energy.relays.command import EXPIRY, LONGEST_GOOD, Command, Origin, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMANDS = "command/"
"""Of keys in the journal's state: a command at work, or the outcome of one that its sender may send again."""
NEWEST = f"{COMMANDS}newest/"
"""Of keys in the journal's state, with the relay behind it (there is no "/" in the id of a command)."""
MOST_REMEMBERED = 1_000  # outcomes of commands with ids of their senders
ANOTHER = "another command had this id"
_NOTHING_DONE = (Verdict.REFUSED, Verdict.EXPIRED)


class KnownCommands:
    """What is forgotten while it may still come again makes all that is as old superseded: no id switches twice."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        """Begin with what the journal's state has under `COMMANDS`."""
        self.interrupted: list[dict[str, Any]] = []
        """Commands that an end of the process interrupted."""
        self._ended: dict[str, dict[str, Any]] = {}
        """By the id that its sender gave a command: what is kept of it."""
        self._newest: dict[str, float] = {
            key.removeprefix(NEWEST): at for key, at in state.items() if key.startswith(NEWEST)
        }
        """By relay: UTC seconds at which the newest command was issued that was taken."""
        for key, body in state.items():
            if key.startswith(NEWEST) or not key.startswith(COMMANDS):
                continue
            if "outcome" in body:
                self._ended[body["command"]] = body
            else:
                self.interrupted.append(body)

    def outcome(self, command: Command) -> Outcome | None:
        """Return how a command that its sender named has ended, if it was seen before.

        A person may send again under its id what was refused. A broker does that without being asked, and whoever
        read the outcome relies on it.
        """
        kept = self._ended.get(command.id) if command.foreign else None
        if kept is None or (kept["outcome"] in _NOTHING_DONE and command.origin is not Origin.CLOUD):
            return None
        if (kept["relay"], kept["on"], kept["for"]) != (command.relay, command.on, command.for_):
            return Outcome(Verdict.REFUSED, ANOTHER)
        return Outcome(Verdict(kept["outcome"]), kept["reason"])

    def take(self, relay: str, issued: float) -> None:
        """Note when (UTC, s) a command was issued that is the newest of its relay now."""
        self._newest[relay] = issued

    def overtaken(self, relay: str, issued: float, now: float) -> bool:
        """Tell whether something newer was taken; what is newer than `now` is from when our clock was wrong."""
        return issued < self._newest.get(relay, issued) <= now

    def begin(self, command: Command, device: str) -> dict[str, Any]:
        """Return the state of a command at work."""
        return {f"{COMMANDS}{command.id}": {**_kept(command), "device": device}, **self._mark(command)}

    def end(self, command: Command, outcome: Outcome, *, intended: bool) -> dict[str, Any]:
        """Return the state of a command that has ended; `intended` says whether it had begun."""
        done = outcome.verdict not in _NOTHING_DONE
        if command.foreign and (done or (command.origin is Origin.CLOUD and outcome.reason != ANOTHER)):
            return self.remember(_kept(command), outcome) | self._mark(command)  # its intent may have found no space
        # What was never begun leaves alone what is kept of another command with its id.
        return {f"{COMMANDS}{command.id}": None} if intended else {}

    def _mark(self, command: Command) -> dict[str, Any]:
        newest = None if command.planned else self._newest.get(command.relay)
        return {} if newest is None else {f"{NEWEST}{command.relay}": newest}

    def remember(self, kept: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
        """Return the state that keeps an outcome, and forgets what has ended longest ago."""
        state: dict[str, Any] = {}
        self._ended.pop(kept["command"], None)
        while len(self._ended) >= MOST_REMEMBERED:
            state |= self._forget(min(self._ended, key=lambda each: float(self._ended[each].get("until", 0))))
        self._ended[kept["command"]] = kept = {**kept, "outcome": outcome.verdict, "reason": outcome.reason}
        return {**state, f"{COMMANDS}{kept['command']}": kept}

    def _forget(self, command: str) -> dict[str, Any]:
        kept, now = self._ended.pop(command), time.time()
        state: dict[str, Any] = {f"{COMMANDS}{command}": None}
        if kept.get("issued") is not None and kept["until"] > now:
            relay, after = kept["relay"], math.nextafter(min(kept["issued"], now), math.inf)
            state[f"{NEWEST}{relay}"] = self._newest[relay] = max(after, self._newest.get(relay, after))
        return state


def _kept(command: Command) -> dict[str, Any]:
    """Return what is kept of a command; `until` (UTC, s) it may come again and be good."""
    now = time.time()
    until = max(now, command.issued_at or now) + EXPIRY if command.expires_at is None else command.expires_at
    return {
        "command": command.id,
        "relay": command.relay,
        "on": command.on,
        "for": command.for_,
        "origin": command.origin,
        "foreign": command.foreign,
        "issued": command.issued_at,
        "until": min(max(until, now + EXPIRY), now + LONGEST_GOOD),
    }
