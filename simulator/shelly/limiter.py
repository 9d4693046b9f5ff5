"""How often a device lets itself be asked. No I/O."""

from __future__ import annotations

BURST = 2.0  # seconds' worth of requests that may come at once


class Limiter:
    """Lets so many requests a second through; 0 is no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._allowance = rate * BURST
        self._last = 0.0

    def admits(self, now: float) -> bool:
        """Count a request at this monotonic time and tell whether it is let through."""
        if not self._rate:
            return True
        self._allowance = min(self._allowance + (now - self._last) * self._rate, self._rate * BURST)
        self._last = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True
