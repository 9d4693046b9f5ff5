"""The public grid as one house sees it: voltage and frequency. No I/O."""

from __future__ import annotations

import math

from simulator.house_time import HOUR, hour_of_day
from simulator.noise import Wander, generator

NOMINAL_VOLTAGE = 230.0
NOMINAL_FREQUENCY = 50.0
TOLERANCE = 0.10 * NOMINAL_VOLTAGE  # EN 50160
LINE_RESISTANCE = 0.12  # ohm, from the transformer to the outlets: 30 A lower the voltage by 3.6 V


class Grid:
    """Wanders about 232 V, lower in the evening and under the house's own load, and about 50 Hz."""

    def __init__(self, seed: int) -> None:
        rng = generator(seed, "grid")
        self._slow = Wander(rng, 1.5, HOUR)
        self._quick = Wander(rng, 0.25, 20)
        self._frequency = Wander(rng, 0.018, 90)
        self.voltage = NOMINAL_VOLTAGE
        self.frequency = NOMINAL_FREQUENCY

    def step(self, now: float, dt: float, active_current: float) -> None:
        """Advance by dt seconds; `active_current` is the house's, negative while it exports."""
        neighbours = 1.5 * math.cos((hour_of_day(now) - 19) * math.tau / 24)
        open_circuit = NOMINAL_VOLTAGE + 2 + self._slow.step(dt) + self._quick.step(dt) - neighbours
        voltage = open_circuit - LINE_RESISTANCE * active_current
        self.voltage = min(max(voltage, NOMINAL_VOLTAGE - TOLERANCE), NOMINAL_VOLTAGE + TOLERANCE)
        self.frequency = NOMINAL_FREQUENCY + self._frequency.step(dt)
