"""What was decided about each relay lately, and what was known then: for `why`. No I/O."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_energy.relays.command import Command, Outcome

REMEMBERED = 20  # of each relay


class Decision(NamedTuple):
    """What was decided about a relay, and what was known then. `time` is UTC ns."""

    time: int | None
    command: Command
    outcome: Outcome
    milliseconds: float | None
    inputs: dict[str, Any]
    times: int = 1
    """How often in a row it was made."""

    def repeated_by(self, other: Decision) -> bool:
        """Tell whether another one is the same again."""
        mine, others = self.command, other.command
        same = (mine.on, mine.origin, mine.reason) == (others.on, others.origin, others.reason)
        return same and self.outcome == other.outcome and not mine.origin.manual


class Decisions:
    """Those of all relays, newest first."""

    def __init__(self, relays: Iterable[str]) -> None:
        self._made: dict[str, deque[Decision]] = {relay: deque(maxlen=REMEMBERED) for relay in relays}

    def of(self, relay: str) -> Sequence[Decision]:
        """Return those about one relay."""
        return self._made[relay]

    def add(self, made: Decision) -> None:
        """Keep a decision; one that only repeats the last takes its place."""
        decisions = self._made[made.command.relay]
        if decisions and decisions[0].repeated_by(made):
            made = made._replace(times=decisions.popleft().times + 1)
        decisions.appendleft(made)
