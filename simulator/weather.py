"""Outside temperature, clouds and sunshine. No I/O."""

from __future__ import annotations

import math
from typing import NamedTuple

from simulator.house_time import HOUR, hour_of_day, season
from simulator.noise import Wander, generator

LATITUDE = math.radians(47)
SOLAR_NOON = 13.0  # of civil time in the middle of France, between winter's 12:50 and summer's 13:50
HEATWAVE_MEAN = 37.0


class Conditions(NamedTuple):
    """What a load may depend on, during one time step that ends at `now`."""

    now: float
    dt: float
    outside: float
    sunshine: float


class Weather:
    """A temperate climate with seasons; a heatwave replaces the season by a mean of 37 °C, day and night."""

    def __init__(self, seed: int, *, heatwave: bool = False) -> None:
        rng = generator(seed, "weather")
        self._heatwave = heatwave
        self._front = Wander(rng, 0.5 if heatwave else 2.5, 36 * HOUR)
        self._breeze = Wander(rng, 0.2, HOUR / 2)
        self._overcast = Wander(rng, 1.2, 5 * HOUR)
        self._passing_clouds = Wander(rng, 0.8, HOUR / 12)

    def step(self, now: float, dt: float) -> Conditions:
        """Advance by dt seconds to `now`."""
        drift = self._front.step(dt) + self._breeze.step(dt)
        cloudiness = 1 / (1 + math.exp(-2 * (self._overcast.step(dt) + self._passing_clouds.step(dt))))
        outside = self._seasonal_mean(now) + 5 * math.cos((hour_of_day(now) - 15.5) * math.tau / 24) + drift
        return Conditions(now, dt, outside, clear_sky(now) * (1 - 0.8 * cloudiness**2))

    def _seasonal_mean(self, now: float) -> float:
        return HEATWAVE_MEAN if self._heatwave else 12 - 8.5 * math.cos((season(now) - 0.055) * math.tau)


def clear_sky(now: float) -> float:
    """Give the sunshine on a horizontal plane under a clear sky, 0 at night to 1 at the zenith."""
    declination = -math.radians(23.44) * math.cos((season(now) + 10 / 365) * math.tau)
    hour_angle = (hour_of_day(now) - SOLAR_NOON) * math.tau / 24
    sine = math.sin(LATITUDE) * math.sin(declination)
    sine += math.cos(LATITUDE) * math.cos(declination) * math.cos(hour_angle)
    return math.pow(max(0.0, sine), 1.15)  # air mass: a low sun gives less than its height alone says
