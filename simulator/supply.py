"""The house's supply where it enters: three phases, metered for import and export apart. No I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from simulator.grid import NOMINAL_FREQUENCY, NOMINAL_VOLTAGE
from simulator.house_time import HOUR
from simulator.outlet import FORCED_POWER_FACTOR, Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.grid import Grid
    from simulator.outlet import Outlet

OFFSETS = (0.0, 0.8, -1.1)  # V: neighbours load the three phases differently


class Supply:
    """Shows one sample for each phase after each step: what its circuits draw, minus what they produce."""

    def __init__(self, phases: Sequence[Sequence[Outlet]]) -> None:
        self._phases = phases
        self._forced: float | None = None
        self.samples = [Sample(0, NOMINAL_VOLTAGE, 0, 0, NOMINAL_FREQUENCY, 0, 0) for _ in phases]

    def force(self, power: float | None) -> None:
        """Let the first phase carry this many watts instead of its circuits' sum; None ends that."""
        self._forced = power

    def step(self, dt: float, grid: Grid) -> None:
        """Advance by one time step, after the circuits did."""
        for number, circuits in enumerate(self._phases):
            power = sum(circuit.sample.power for circuit in circuits)
            reactive = sum(_reactive(circuit.sample) for circuit in circuits)
            if number == 0 and self._forced is not None:
                power = self._forced
                reactive = abs(power) * math.tan(math.acos(FORCED_POWER_FACTOR))
            before, voltage = self.samples[number], grid.voltage + OFFSETS[number]
            apparent = math.hypot(power, reactive)
            energy = power * dt / HOUR
            self.samples[number] = Sample(
                power,
                voltage,
                apparent / voltage,
                power / apparent if apparent else 0.0,
                grid.frequency,
                before.energy + max(energy, 0.0),
                before.energy_returned + max(-energy, 0.0),
            )


def _reactive(sample: Sample) -> float:
    """Give the reactive power, in var; everything in the house is inductive."""
    return math.sqrt(max((sample.voltage * sample.current) ** 2 - sample.power**2, 0.0))
