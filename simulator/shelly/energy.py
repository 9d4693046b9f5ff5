"""An energy counter of a device: it can be reset while the meter behind it goes on. No I/O."""

from __future__ import annotations

from collections import deque


class Counter:
    """The energy since the last reset, and that of the last three full minutes, newest first."""

    def __init__(self, reading: float, *, keep: bool = True) -> None:
        self._zero = 0.0 if keep else reading
        self._minute_began = reading
        self.by_minute: deque[float] = deque([0.0] * 3, maxlen=3)

    def total(self, reading: float) -> float:
        """Give the energy in Wh that the device shows at this reading of its meter."""
        return max(reading - self._zero, 0.0)

    def reset(self, reading: float) -> None:
        """Begin again at 0."""
        self._zero = reading

    def close_minute(self, reading: float) -> None:
        """Note a full minute."""
        self.by_minute.appendleft(reading - self._minute_began)
        self._minute_began = reading
