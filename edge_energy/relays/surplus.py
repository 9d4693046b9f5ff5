"""Whether the house exports enough to switch a load on, or no longer enough to leave it on. No I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_energy import config

SILENT = 300.0
"""Seconds without a reading after which the meter says nothing about now."""


class Surplus:
    """What one schedule with `surplus` wishes.

    On when for `delay` the house would export at least `surplus` without this load, off when for `delay` it would
    export less than `surplus` - `margin`. Where the delay is longer than meters lag, it does not matter that the
    load's own meter and the house's tell of a switching one after the other.
    """

    def __init__(self, settings: config.Schedule) -> None:
        self._surplus = settings.surplus or 0.0
        self._margin, self._delay = settings.margin, settings.delay
        self._wish: bool | None = None
        self._enough: bool | None = None
        self._since = -math.inf
        """When `_enough` last changed."""
        self._heard = -math.inf

    def measured(self, house: float, own: float, now: float) -> None:
        """Take a reading of the house's meter (W, negative while it exports), and what the load draws now (W)."""
        self._wish = self.wish(now)
        if self._wish is None and now >= self._heard + SILENT:
            self._enough = None
        enough = own - house >= self._surplus - (self._margin if self._wish else 0.0)
        if enough != self._enough:
            self._enough, self._since = enough, now
        self._heard = now

    def wish(self, now: float) -> bool | None:
        """Return whether the load is to be on; None while that is not known, or while the meter is silent."""
        if now >= self._heard + SILENT:
            return None
        return self._enough if now >= self._since + self._delay else self._wish

    def due(self, now: float) -> float:
        """Return when the wish changes if nothing more is heard, inf for never."""
        times = (self._since + self._delay, self._heard + SILENT)
        return min((time for time in times if time > now), default=math.inf)
