"""Temperature and humidity of a place, and the battery of the sensor that hangs there. No I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from simulator.house_time import DAY, HOUR, hour_of_day
from simulator.noise import Wander

if TYPE_CHECKING:
    from random import Random

    from simulator.weather import Conditions

BATTERY_LIFE = 700 * DAY
COMFORT_LIMIT = 24.0  # °C outside from which a house without shutters warms up


class Climate:
    """A heated room, or with `outdoors` the north wall; the weather outside of comfort reaches a room damped."""

    def __init__(self, rng: Random, *, heated_to: float = 20.5, damping: float = 0.6, outdoors: bool = False) -> None:
        self._heated_to = heated_to
        self._damping = damping
        self._outdoors = outdoors
        self._warmth = Wander(rng, 0.25, HOUR / 2)
        self._moisture = Wander(rng, 2.0, HOUR)
        self._start_humidity = rng.uniform(44, 54)
        self.battery = rng.uniform(62, 100)
        self.temperature = heated_to
        self.humidity = self._start_humidity

    def step(self, conditions: Conditions) -> None:
        """Advance by one time step; warm air is relatively drier, and evenings bring cooking and showers."""
        evening = math.cos((hour_of_day(conditions.now) - 19) * math.tau / 24)
        self.temperature = self._target(conditions, evening) + self._warmth.step(conditions.dt)
        humidity = self._start_humidity - 1.2 * (self.temperature - self._heated_to) + 3 * evening
        self.humidity = min(max(humidity + self._moisture.step(conditions.dt), 18), 97)
        self.battery = max(0.0, self.battery - 100 * conditions.dt / BATTERY_LIFE)

    def _target(self, conditions: Conditions, evening: float) -> float:
        if self._outdoors:
            return conditions.outside
        excess = max(0.0, conditions.outside - COMFORT_LIMIT)
        return self._heated_to + 0.7 * evening + self._damping * excess
