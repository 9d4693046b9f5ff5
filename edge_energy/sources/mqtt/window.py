"""How many unacknowledged messages a broker sends before it waits for us. No I/O."""

from __future__ import annotations

LEAST = 10  # messages; no broker has a smaller window, while a house may well send two, twice
_BURST_WITHIN = 0.1  # seconds after an acknowledgement in which a waiting broker sends on


class Window:
    """Knows, or finds out, the window, so that a commit is asked for before the broker stops.

    A broker may hold fewer messages in flight than we allow: when the number of unacknowledged messages is the
    same before two acknowledgements and a burst follows, that number is the window. So it is when nothing came
    any more and a burst follows the acknowledgement. It is only ever a guess, so seeing more corrects it, except
    in such a burst: mosquitto 2.0.11 then sends all that it has, and afterwards keeps to its window again.
    """

    def __init__(self, size: int) -> None:
        """Begin with what the protocol promises: our Receive Maximum, or 20 for MQTT 3.1.1."""
        self.size = size
        self._before = 0
        self._since = 0
        self._acknowledged_at = float("-inf")
        self._burst = False
        self._stalled = 0

    def arrived(self, count: int, unacknowledged: int, now: float) -> None:
        """Take note of `count` messages; `unacknowledged` includes them."""
        self._since += count
        soon = now - self._acknowledged_at <= _BURST_WITHIN
        if self._before and self._since * 2 >= self._before and soon:
            self._burst = True
        if self._stalled and soon:
            if self._burst:
                self.size = self._stalled
            return
        self._stalled = 0
        self.size = max(self.size, unacknowledged)

    def stalled(self, unacknowledged: int) -> None:
        """Take note that nothing has come for a while, perhaps because the broker waits for us."""
        self._stalled = unacknowledged

    def acknowledged(self, unacknowledged: int, now: float) -> None:
        """Take note of an acknowledgement; `unacknowledged` is the number just before it."""
        if self._burst and unacknowledged == self._before and unacknowledged >= LEAST:
            self.size = unacknowledged
        self._before = unacknowledged
        self._since = 0
        self._acknowledged_at = now
        self._burst = False

    def near(self, unacknowledged: int) -> bool:
        """Tell whether the broker is about to wait for us."""
        return unacknowledged * 4 >= self.size * 3
