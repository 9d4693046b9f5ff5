"""What a temperature demands of a heating relay: too hot, frost, or no reading to go by. No I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from edge_energy import config

HYSTERESIS = 1.0
"""°C by which it must be cooler again than `max_temperature`, or warmer than `frost`, before the demand ends."""


class Ruling(NamedTuple):
    """What the temperature demands.

    `must` is True for frost, False for too hot, None for neither. `stale`: no reading is young enough to be a basis,
    so that the relay belongs in its safe state.
    """

    must: bool | None = None
    stale: bool = False
    reason: str = ""


class Heating:
    """The temperature rules of one relay; without a thermometer they demand nothing."""

    def __init__(self, settings: config.Relay) -> None:
        self._settings = settings
        self._temperature: float | None = None
        self._heard = -math.inf
        self._must: bool | None = None

    def measured(self, temperature: float, now: float) -> None:
        """Take a reading (°C)."""
        if self._stale(now):
            self._must = None
        hottest, frost = self._settings.max_temperature, self._settings.frost
        if hottest is not None and temperature >= hottest - (HYSTERESIS if self._must is False else 0.0):
            self._must = False
        elif frost is not None and temperature < frost + (HYSTERESIS if self._must else 0.0):
            self._must = True
        else:
            self._must = None
        self._temperature, self._heard = temperature, now

    def verdict(self, now: float) -> Ruling:
        """Return what is demanded now, and why."""
        settings = self._settings
        if settings.temperature is None:
            return Ruling()
        if self._temperature is None:
            return Ruling(stale=True, reason=f"{settings.temperature} has not told any temperature yet")
        if self._stale(now):
            silence = f"{(now - self._heard) / 60:,.0f} min"
            return Ruling(stale=True, reason=f"{settings.temperature} has not told its temperature for {silence}")
        reading = f"{settings.temperature} measures {self._temperature:.1f} °C"
        if self._must is False:
            return Ruling(must=False, reason=f"{reading}; {settings.max_temperature:.1f} °C is the most allowed")
        if self._must:
            return Ruling(must=True, reason=f"{reading}; below {settings.frost:.1f} °C it has to heat")
        return Ruling(reason=reading)

    def due(self, now: float) -> float:
        """Return when the reading becomes stale, inf for never."""
        stale = self._heard + self._settings.temperature_timeout
        return stale if stale > now else math.inf

    def _stale(self, now: float) -> bool:
        return now >= self._heard + self._settings.temperature_timeout
