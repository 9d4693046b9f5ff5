"""One metered circuit: a load behind a meter and, where the device has one, a relay. No I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from simulator.grid import NOMINAL_FREQUENCY, NOMINAL_VOLTAGE
from simulator.house_time import HOUR
from simulator.loads import Demand

if TYPE_CHECKING:
    from simulator.grid import Grid
    from simulator.loads import Load
    from simulator.weather import Conditions

FORCED_POWER_FACTOR = 0.95  # not 1: a heating element's power would follow the voltage


class Sample(NamedTuple):
    """What the meter shows: `power` = `voltage` · `current` · `power_factor`, and the counters its integral.

    Units are W, V, A, 1, Hz and Wh. Producing is a negative power and a negative power factor.
    """

    power: float
    voltage: float
    current: float
    power_factor: float
    frequency: float
    energy: float
    energy_returned: float


class Outlet:
    """Shows one sample after each step: its power held during the whole step, so that the counters are exact."""

    def __init__(self, load: Load, *, energy: float = 0.0, energy_returned: float = 0.0) -> None:
        self.load = load
        self.output = True
        self.edges = 0  # how often the relay was operated
        self.welded = False
        self.off_at = math.inf  # house time at which the relay opens by itself
        self._forced: Demand | None = None
        self.sample = Sample(0, NOMINAL_VOLTAGE, 0, 0, NOMINAL_FREQUENCY, energy, energy_returned)

    @property
    def active_current(self) -> float:
        """The part of the current that carries power, in A; negative while the load produces."""
        return self.sample.power / self.sample.voltage

    @property
    def live(self) -> bool:
        """Whether there is voltage behind the relay, whatever the relay says."""
        return self.output or self.welded

    @property
    def forced(self) -> float | None:
        """What it is forced to draw, in W; None where its load decides."""
        return self._forced.power if self._forced else None

    def force(self, power: float | None) -> None:
        """Let it draw this many watts (negative: produce) instead of what its load wants; None ends that."""
        self._forced = None if power is None else Demand(power, FORCED_POWER_FACTOR)

    def weld(self, *, on: bool) -> None:
        """Let the contact stick, so that it conducts even when it is opened; or free it."""
        self.welded = on
        self._cut()

    def switch(self, *, on: bool, until: float = math.inf) -> None:
        """Operate the relay, at once; closed with `until`, it opens by itself at that house time."""
        self.edges += on != self.output
        self.output = on
        self.off_at = until if on else math.inf
        self._cut()

    def step(self, conditions: Conditions, grid: Grid) -> None:
        """Advance by one time step."""
        if conditions.now - conditions.dt >= self.off_at:  # never early: off are the steps that begin after it
            self.switch(on=False)
        demand = self.load.step(conditions, live=self.live)
        if self._forced is not None:
            demand = self._forced
        power, factor = (demand.power, demand.power_factor) if self.live else (0.0, 0.0)
        if factor == 1:
            power *= (grid.voltage / NOMINAL_VOLTAGE) ** 2
        energy = power * conditions.dt / HOUR
        self.sample = Sample(
            power,
            grid.voltage,
            abs(power) / (grid.voltage * factor) if power else 0.0,
            math.copysign(factor, power) if power else 0.0,
            grid.frequency,
            self.sample.energy + max(energy, 0.0),
            self.sample.energy_returned + max(-energy, 0.0),
        )

    def _cut(self) -> None:
        """Let nothing flow where there is no voltage, without waiting for the next step."""
        if not self.live:
            self.sample = self.sample._replace(power=0.0, current=0.0, power_factor=0.0)
