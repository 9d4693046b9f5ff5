"""The model is repeatable and obeys physics."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from simulator.grid import NOMINAL_VOLTAGE, TOLERANCE
from simulator.house import CABINET, CHARGING_POST, EXTRA, FRIDGE, SOLAR_PANELS, WATER_HEATER, WORKSHOP, House
from simulator.house_time import DAY, HOUR, from_datetime, hour_of_day
from simulator.scenario import Scenario

if TYPE_CHECKING:
    from simulator.outlet import Sample

JUNE = from_datetime(datetime(2026, 6, 21))  # noqa: DTZ001 - house time has no zone
JANUARY = from_datetime(datetime(2026, 1, 15))  # noqa: DTZ001


def samples(house: House) -> dict[str, Sample]:
    return {name: outlet.sample for name, outlet in house.outlets.items()}


def after(seed: int, hours: float, dt: float = 10.0, extra: int = 0) -> House:
    house = House(seed, JUNE, extra=extra)
    for _ in range(int(hours * HOUR / dt)):
        house.step(dt)
    return house


def test_a_seed_repeats_a_run_exactly() -> None:
    """The same seed gives the same house to the last digit, another seed another one."""
    first, second, other = after(7, 3), after(7, 3), after(8, 3)
    assert samples(first) == samples(second)
    assert [c.humidity for c in first.climates.values()] == [c.humidity for c in second.climates.values()]
    assert samples(first)[FRIDGE] != samples(other)[FRIDGE]


def test_further_devices_leave_the_others_as_they_are() -> None:
    """A bigger house has the same fridge: its cycles do not depend on how many plugs were asked for."""
    small, big = after(7, 2), after(7, 2, extra=5)
    assert EXTRA.format(5) in big.outlets
    assert big.outlets[FRIDGE].sample.power == small.outlets[FRIDGE].sample.power


@pytest.mark.parametrize("start", [JUNE, JANUARY])
@pytest.mark.parametrize("dt", [1.0, 10.0, 60.0])
def test_every_sample_is_consistent(start: float, dt: float) -> None:
    """P = U · I · pf, counters are the integral of the power and never decrease, the grid stays within EN 50160."""
    house = House(3, start, extra=4)
    first, integral = samples(house), dict.fromkeys(house.outlets, 0.0)
    before = first
    for _ in range(int(min(DAY, 20_000 * dt) / dt)):
        house.step(dt)
        now = samples(house)
        for name, s in now.items():
            assert math.isclose(s.power, s.voltage * s.current * s.power_factor, rel_tol=1e-9, abs_tol=1e-9)
            assert s.energy >= before[name].energy
            assert s.energy_returned >= before[name].energy_returned
            assert s.current >= 0
            integral[name] += s.power * dt / HOUR
        assert abs(s.voltage - NOMINAL_VOLTAGE) <= TOLERANCE
        assert abs(s.frequency - 50) < 0.2
        before = now
    for name, s in before.items():
        net = s.energy - first[name].energy - (s.energy_returned - first[name].energy_returned)
        assert math.isclose(net, integral[name], rel_tol=1e-6, abs_tol=1e-3), name


def test_a_day_looks_like_a_day() -> None:
    """Sun by day only, hot water in the night tariff only, a car in the evening, a fridge that cycles."""
    house = House(5, JUNE)
    powers: dict[str, list[tuple[float, float]]] = {name: [] for name in house.outlets}
    for _ in range(int(3 * DAY / 10)):
        house.step(10)
        for name, outlet in house.outlets.items():
            powers[name].append((hour_of_day(house.now), outlet.sample.power))
    assert min(p for h, p in powers[SOLAR_PANELS] if 11 < h < 15) < -1000
    assert all(p > 0 for h, p in powers[SOLAR_PANELS] if h < 4 or h > 23)
    assert all(p < 10 for h, p in powers[WATER_HEATER] if 6.6 < h < 22.4)
    assert max(p for h, p in powers[WATER_HEATER] if h < 6) > 2200
    charging = [(h, p) for h, p in powers[CHARGING_POST] if p > 1000]
    assert charging
    assert all(h > 17 or h < 8 for h, _ in charging)
    assert max(p for _, p in charging) == pytest.approx(3700)  # 16 A, what its relay may carry
    on = sum(p > 40 for _, p in powers[FRIDGE]) / len(powers[FRIDGE])
    assert 0.2 < on < 0.8


def test_switching_off_takes_the_power_away_at_once_and_stops_the_counter() -> None:
    """An open relay means 0 W and 0 A, now and in every later step."""
    house = after(1, 1)
    outlet = house.outlets[FRIDGE]
    outlet.switch(on=False)
    energy = outlet.sample.energy
    for _ in range(500):
        assert (outlet.sample.power, outlet.sample.current, outlet.sample.power_factor) == (0, 0, 0)
        assert outlet.sample.energy == energy
        house.step(10)
    outlet.switch(on=True)
    house.step(10)
    assert outlet.sample.power > 0


@pytest.mark.parametrize("dt", [1.0, 7.0])
def test_a_timed_on_ends_by_itself_and_never_early(dt: float) -> None:
    """The relay opens in the first step that begins after its time."""
    house = House(1, JUNE)
    outlet = house.outlets[FRIDGE]
    end = house.now + 30
    outlet.switch(on=True, until=end)
    while outlet.output:
        house.step(dt)
    assert end <= house.now - dt < end + dt


def test_off_and_on_forget_a_pending_timer() -> None:
    """A later command replaces an earlier timed one."""
    house = House(1, JUNE)
    outlet = house.outlets[FRIDGE]
    outlet.switch(on=True, until=house.now + 5)
    outlet.switch(on=False)
    outlet.switch(on=True)
    for _ in range(20):
        house.step(1)
    assert outlet.output


def test_an_overload_exceeds_sixteen_amperes() -> None:
    """The scenario puts one plug, and it alone, beyond its rating; switched off it is safe."""
    house = House(1, JUNE, Scenario.OVERLOAD)
    for _ in range(60):
        house.step(1)
    over = [name for name, outlet in house.outlets.items() if outlet.sample.current > 16]
    assert over == [WORKSHOP]


def test_a_heatwave_is_hot_at_any_hour_of_any_season() -> None:
    """Whoever starts the scenario sees a temperature above 30 °C, even on a winter's night."""
    house = House(1, JANUARY, Scenario.HEATWAVE)
    for _ in range(int(DAY / 60)):
        house.step(60)
        assert house.climates[CABINET].temperature > 30


def test_batteries_only_get_emptier() -> None:
    """A battery falls, slowly."""
    house = House(1, JUNE)
    begin = [climate.battery for climate in house.climates.values()]
    for _ in range(100):
        house.step(DAY / 100)
    falls = [b - climate.battery for b, climate in zip(begin, house.climates.values(), strict=True)]
    assert all(0 < fall < 1 for fall in falls)
