"""What time it is: for the simulator, and for a device that forgets it at each boot. No I/O."""

from __future__ import annotations

import math
from typing import NamedTuple

MINUTE = 60


class Moment(NamedTuple):
    """One instant: `monotonic` seconds that never jump, Unix time in `utc`, and the house's own time in `house`."""

    monotonic: float
    utc: float
    house: float


class Clock:
    """A device's clock: knows its uptime at once, the date only when a time server has answered."""

    def __init__(self, ntp_delay: float) -> None:
        self._ntp_delay = ntp_delay
        self._booted = 0.0
        self._synchronised_at = math.inf
        self._now = Moment(0.0, 0.0, 0.0)
        self._minute = 0.0
        self.minute_began = 0

    def boot(self, now: Moment) -> None:
        """Begin at uptime 0, without a date."""
        self._now, self._booted = now, now.monotonic
        self._synchronised_at = now.monotonic + self._ntp_delay if self._ntp_delay >= 0 else math.inf
        self._minute, self.minute_began = now.house // MINUTE, int(now.utc - now.utc % MINUTE)

    def advance(self, now: Moment) -> bool:
        """Let time pass; tell whether a minute of the house is full, whose end `minute_began` then is."""
        self._now = now
        if now.house // MINUTE == self._minute:
            return False
        self._minute, self.minute_began = now.house // MINUTE, int(now.utc)
        return True

    def set(self, *, known: bool) -> None:
        """Give or take the date."""
        self._synchronised_at = self._now.monotonic if known else math.inf

    @property
    def uptime(self) -> float:
        """Seconds since the boot."""
        return self._now.monotonic - self._booted

    @property
    def is_set(self) -> bool:
        """Whether the date is known."""
        return self._now.monotonic >= self._synchronised_at

    @property
    def timestamp(self) -> float:
        """What frames carry as `ts`: Unix time, or the uptime while the date is not known."""
        return round(self._now.utc if self.is_set else self.uptime, 2)

    @property
    def unixtime(self) -> int | None:
        """Unix time, None while it is not known."""
        return int(self._now.utc) if self.is_set else None

    @property
    def synchronised(self) -> int | None:
        """Unix time of the last answer of the time server."""
        if not self.is_set:
            return None
        return int(self._now.utc - (self._now.monotonic - self._synchronised_at))
