"""How fast the backlog of an outage is delivered, so that many appliances do not fall upon one cloud. No I/O.

What all appliances of a region missed, they miss at the same time, and find the cloud again at the same time. Each
sends pieces of its backlog at fixed distances; its name decides when in between, so that the pieces of all together
are spread evenly.
"""

from __future__ import annotations

from hashlib import blake2b

EVERY = 5.0
"""Seconds between two pieces."""


class Pace:
    """The pieces of one appliance's backlog: `rate` entries a second (0: no limit), by its `name`."""

    def __init__(self, rate: float, name: str) -> None:
        self.rate = rate
        self._phase = int.from_bytes(blake2b(name.encode(), digest_size=4).digest()) / 2**32
        """Where between two distances its turn is, 0 to 1."""
        self._turn = 0.0

    def begin(self, now: float) -> None:
        """Begin at a time (s, of any clock that only goes forward): after what is new, which goes at once."""
        self._turn = now + (1 + self._phase) * max(EVERY, 1 / self.rate) if self.rate else now

    def turn(self, now: float) -> float:
        """Return when the next piece may go: it has been its turn where that is not after `now`."""
        return self._turn if self.rate else now

    def piece(self, largest: int) -> int:
        """Return how many entries a piece may have at most."""
        return min(largest, max(1, int(self.rate * EVERY))) if self.rate else largest

    def sent(self, count: int, now: float) -> None:
        """Note that a piece went: the next one comes when the rate allows as many again."""
        if self.rate:
            # From its turn and not from now, so that a slow far side does not slow it further; but what it could not
            # take for long is not made up for in a rush.
            self._turn = max(self._turn + count / self.rate, now)
