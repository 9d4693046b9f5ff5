"""A meter obeys its laws whatever the load does and whenever it is switched."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from simulator.grid import Grid
from simulator.house_time import HOUR
from simulator.loads import Demand
from simulator.outlet import Outlet
from simulator.weather import Conditions


class Scripted:
    """A load that does what the test says."""

    demand = Demand(0, 0)

    def step(self, conditions: Conditions, *, live: bool) -> Demand:  # noqa: ARG002
        """Draw what the script says."""
        return self.demand


demands = st.builds(Demand, st.floats(-9000, 9000), st.floats(0.05, 1.0))
steps = st.lists(st.tuples(demands, st.booleans(), st.floats(0.1, 60)), max_size=40)


@given(steps, st.integers())
def test_a_meter_is_consistent_under_any_load_and_switching(
    script: list[tuple[Demand, bool, float]], seed: int
) -> None:
    """Energy is the integral of power, import and return apart; nothing flows through an open relay."""
    load, grid, now = Scripted(), Grid(seed), 0.0
    outlet = Outlet(load)
    imported = returned = 0.0
    for demand, on, dt in script:
        load.demand = demand
        outlet.switch(on=on)
        now += dt
        grid.step(now, dt, outlet.active_current)
        outlet.step(Conditions(now, dt, 15, 0), grid)
        sample = outlet.sample
        assert math.isclose(sample.power, sample.voltage * sample.current * sample.power_factor, abs_tol=1e-9)
        assert on or sample.power == sample.current == 0
        imported += max(sample.power, 0) * dt / HOUR
        returned += max(-sample.power, 0) * dt / HOUR
    assert math.isclose(outlet.sample.energy, imported, abs_tol=1e-9)
    assert math.isclose(outlet.sample.energy_returned, returned, abs_tol=1e-9)
