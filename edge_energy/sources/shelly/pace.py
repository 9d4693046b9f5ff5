"""How often a device is asked: as configured, more slowly when it says that this is too much. No I/O."""

from __future__ import annotations

FIRST_PAUSE = 5.0  # seconds
LONGEST_PAUSE = 300.0


class Pace:
    """Doubles its pause with each 429 and halves it with each answer."""

    def __init__(self, interval: float) -> None:
        """Begin with the interval (s) that is configured."""
        self._interval = interval
        self._pause = 0.0

    @property
    def interval(self) -> float:
        """Seconds between two questions."""
        return max(self._interval, self._pause)

    def answered(self) -> None:
        """Take note of an answer."""
        self._pause = self._pause / 2 if self._pause > FIRST_PAUSE else 0.0

    def throttled(self, retry_after: float | None) -> float:
        """Take note of a 429; return the seconds to wait, at least what the device itself wishes."""
        self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, self._pause * 2))
        return max(self._pause, retry_after or 0.0)
