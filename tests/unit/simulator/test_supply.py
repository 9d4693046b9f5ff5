"""The supply is the sum of its circuits, phase by phase."""

from __future__ import annotations

import math
from datetime import datetime

import pytest

from simulator.house import House
from simulator.house_time import from_datetime

NOON = from_datetime(datetime(2026, 6, 21, 12))  # noqa: DTZ001 - house time has no zone


def test_phases_add_up_and_the_sun_turns_one_of_them() -> None:
    """No circuit is lost or counted twice; import and export are counted apart; P = U · I · pf."""
    house = House(1, NOON, extra=4)
    exported = 0.0
    for _ in range(600):
        house.step(10)
        samples = house.supply.samples
        assert sum(s.power for s in samples) == pytest.approx(sum(o.sample.power for o in house.outlets.values()))
        for sample in samples:
            assert math.isclose(sample.power, sample.voltage * sample.current * sample.power_factor, abs_tol=1e-9)
        exported += max(-samples[2].power, 0) * 10 / 3600
    assert samples[2].power < 0 < samples[0].power
    assert samples[2].energy_returned == pytest.approx(exported, rel=0.01)
    assert samples[0].energy_returned == 0


def test_the_first_phase_can_be_forced() -> None:
    """And is given back to its circuits."""
    house = House(1, NOON)
    house.supply.force(-1234.0)
    house.step(1)
    assert house.supply.samples[0].power == -1234
    assert house.supply.samples[0].energy_returned > 0
    house.supply.force(None)
    house.step(1)
    assert house.supply.samples[0].power > 0


def test_an_outlet_can_be_forced() -> None:
    """Its relay still counts: an open one lets nothing through."""
    house = House(1, NOON)
    outlet = house.outlets["bureau"]
    outlet.force(1500.0)
    house.step(1)
    assert outlet.sample.power == 1500
    outlet.switch(on=False)
    house.step(1)
    assert outlet.sample.power == 0
    outlet.switch(on=True)
    outlet.force(None)
    house.step(1)
    assert 0 < outlet.sample.power < 150
