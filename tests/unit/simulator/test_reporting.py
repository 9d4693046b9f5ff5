"""Devices report as real ones do: on change, not too often, not too rarely, and not all at once."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from simulator.house import FRIDGE, WASHING_MACHINE
from simulator.noise import generator
from simulator.outlet import Outlet, Sample
from simulator.zigbee_device import ZigbeeDevice
from simulator.zigbee_products import SP_240

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.loads import Load
    from simulator.zigbee_model import Reporting


def reports_of(bench: Any, name: str, seconds: int) -> dict[str, list[tuple[float, float]]]:
    """Give (time, value) of every report of every property."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    device = bench.device(name)
    for _ in range(seconds):
        bench.house.step(1)
        for fresh in device.due(bench.house.now):
            for key, value in fresh.items():
                found[key].append((bench.house.now, value))
    return found


def test_a_polled_plug_answers_every_minute(bench: Callable[..., Any]) -> None:
    """Change or not: from the second reading on, exactly sixty seconds apart."""
    times = [time for time, _ in reports_of(bench(), WASHING_MACHINE, 900)["power"]][1:]
    assert {b - a for a, b in pairwise(times)} == {60}


def test_a_reporting_plug_keeps_to_its_table(bench: Callable[..., Any]) -> None:
    """Between two reports of the power lies a change or the longest interval, and never less than the shortest."""
    found = reports_of(bench(), FRIDGE, 4 * 3600)["power"][1:]
    for (earlier, old), (later, new) in pairwise(found):
        assert 10 <= later - earlier <= 300
        assert abs(new - old) >= 5 or later - earlier == 300
    assert any(later - earlier == 300 for (earlier, _), (later, _) in pairwise(found))


def test_plugs_started_together_do_not_stay_in_step(bench: Callable[..., Any]) -> None:
    """All introduce themselves at once; the polls that follow are spread over the minute."""
    a_bench = bench(extra=90)
    assert len(a_bench.run(1)) == len(a_bench.bridge.devices)
    busiest = max(len(a_bench.run(1)) for _ in range(60))
    assert busiest < len(a_bench.bridge.devices) / 2


@given(
    st.lists(st.tuples(st.floats(0, 3680), st.integers(1, 400)), min_size=1, max_size=60),
    st.integers(0, 1000),
)
def test_no_change_is_ever_missed(script: list[tuple[float, int]], seed: int) -> None:
    """Once the shortest interval is over, the last report is within the reportable change of the truth."""
    outlet = Outlet(_no_load())
    device = ZigbeeDevice("x", SP_240, outlet, generator(seed, "x"))
    reporting, now = _reporting("power"), 0.0
    told, told_at = math.nan, -math.inf
    for power, wait in script:
        outlet.sample = Sample(power, 230, power / 230, 1, 50, 0, 0)
        now += wait
        for fresh in device.due(now):
            if "power" in fresh:
                told, told_at = fresh["power"], now
        settled = now - told_at >= reporting.shortest
        assert not settled or abs(told - device.values()["power"]) < reporting.change
        assert now - told_at <= reporting.longest


def _reporting(name: str) -> Reporting:
    return next(a.reporting for a in SP_240.attributes if a.name == name)


def _no_load() -> Load:
    class Nothing:
        def step(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

    return Nothing()
