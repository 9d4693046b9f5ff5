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
steps = st.lists(st.tuples(demands, st.booleans(), st.booleans(), st.floats(0.1, 60)), max_size=40)


@given(steps, st.integers())
def test_a_meter_is_consistent_under_any_load_and_switching(
    script: list[tuple[Demand, bool, bool, float]], seed: int
) -> None:
    """Energy is the integral of power, import and return apart; nothing flows where there is no voltage."""
    load, grid, now = Scripted(), Grid(seed), 0.0
    outlet = Outlet(load)
    imported = returned = 0.0
    edges, before = 0, True
    for demand, on, welded, dt in script:
        load.demand = demand
        outlet.weld(on=welded)
        outlet.switch(on=on)
        edges, before = edges + (on != before), on
        assert (outlet.output, outlet.edges) == (on, edges)
        assert on or welded or outlet.sample.power == outlet.sample.current == 0  # at once
        now += dt
        grid.step(now, dt, outlet.active_current)
        outlet.step(Conditions(now, dt, 15, 0), grid)
        sample = outlet.sample
        assert math.isclose(sample.power, sample.voltage * sample.current * sample.power_factor, abs_tol=1e-9)
        assert on or welded or sample.power == sample.current == 0
        imported += max(sample.power, 0) * dt / HOUR
        returned += max(-sample.power, 0) * dt / HOUR
    assert math.isclose(outlet.sample.energy, imported, abs_tol=1e-9)
    assert math.isclose(outlet.sample.energy_returned, returned, abs_tol=1e-9)


def test_a_welded_contact_conducts_whatever_the_relay_says() -> None:
    """Opened, it says so, and still carries the current; freed, nothing flows."""
    load = Scripted()
    load.demand = Demand(1500, 0.9)
    outlet, grid = Outlet(load), Grid(1)
    for now in (1.0, 2.0):
        outlet.step(Conditions(now, 1, 15, 0), grid)
        outlet.weld(on=True)
        outlet.switch(on=False)
        assert (outlet.output, outlet.live, outlet.sample.power) == (False, True, 1500)
    outlet.weld(on=False)
    assert (outlet.live, outlet.sample.power, outlet.edges) == (False, 0, 1)
