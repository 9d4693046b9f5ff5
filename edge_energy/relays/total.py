"""What a house or a group of relays draws at least and at most, as meters lag. No I/O.

What was switched moments ago is in the meter's reading, or is not. At least: a load that was just switched off is
gone. At most: a load that was just switched on draws all that it can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_energy import config

SETTLE = 3.0
"""Seconds after a switching from which on a reading is taken to show it."""


class _Switching(NamedTuple):
    watts: float
    """More than before; negative: less."""
    at: float


class Total:
    """The total of one `[[budget]]`: what its meter says, or else the sum of what its relays draw.

    `draws` is, by relay, what each that is on draws (W): measured, or else rated; 0 for those that are off.
    """

    def __init__(self, settings: config.Budget, start: float) -> None:
        self._settings = settings
        self._reading: float | None = None
        self._heard = start
        self._recent: dict[str, _Switching] = {}
        """What the reading may not show yet, by relay."""

    def measured(self, total: float, now: float) -> None:
        """Take a live reading (W) of the meter."""
        self._reading, self._heard = total, now
        self._recent = {relay: last for relay, last in self._recent.items() if now < last.at + SETTLE}

    def switched(self, relay: str, watts: float, now: float) -> None:
        """Note that a relay goes on, by how much it may draw; or off, by how much less (negative) is drawn."""
        self._recent[relay] = _Switching(watts, now)

    def silent(self, now: float) -> str:
        """Return why the meter cannot be relied upon; nothing where it can, or where there is none."""
        meter = self._settings.meter
        if meter is None:
            return ""
        if now >= self.silent_from:
            return f"the meter {meter} has been silent for {now - self._heard:,.0f} s"
        return "" if self._reading is not None else f"the meter {meter} has not told anything yet"

    @property
    def silent_from(self) -> float:
        """When the meter counts as lost if it says nothing more."""
        return self._heard + self._settings.meter_timeout

    def least(self, draws: Mapping[str, float], now: float) -> float:
        """Return what is drawn at least (W)."""
        if self._reading is not None:
            return self._reading + sum(min(last.watts, 0.0) for last in self._recent.values())
        gone = {relay for relay, last in self._recent.items() if last.watts <= 0 and now < last.at + SETTLE}
        return sum(watts for relay, watts in draws.items() if relay not in gone)

    def most(self, draws: Mapping[str, float], now: float, without: str = "") -> float:
        """Return what is drawn at most (W), apart from what one relay may add that the meter does not show yet."""
        recent = {relay: last for relay, last in self._recent.items() if relay != without or last.watts < 0}
        if self._reading is not None:
            # A reading that came after a switching off may show it already.
            return self._reading + sum(
                last.watts for last in recent.values() if last.watts > 0 or last.at >= self._heard
            )
        # What its own meter says of a relay may be from before it went on, for as long as a meter may be silent.
        until = now - self._settings.meter_timeout
        added = {relay: last.watts for relay, last in recent.items() if last.watts > 0 and last.at > until}
        return sum(max(watts, added.get(relay, 0.0)) for relay, watts in draws.items() if relay != without)
