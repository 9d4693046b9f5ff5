"""A heating relay heeds its thermometer: too hot, frost, or silent."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.config import Relay
from edge_energy.relays.heating import HYSTERESIS, Heating, Ruling


def heating(hottest: float | None = 60.0, frost: float | None = 5.0, timeout: float = 3600.0) -> Heating:
    return Heating(
        Relay(
            device="shelly-1",
            safe_state="off",
            temperature="probe",
            max_temperature=hottest,
            frost=frost,
            temperature_timeout=timeout,
        )
    )


@pytest.mark.parametrize(
    ("temperatures", "must"),
    [
        ([20.0], None),
        ([59.9], None),
        ([60.0], False),
        ([61.0, 59.9], False),
        ([61.0, 59.0], False),
        ([61.0, 58.9], None),
        ([58.9, 59.9], None),
        ([5.0], None),
        ([4.9], True),
        ([4.9, 5.9], True),
        ([4.9, 6.0], None),
        ([4.9, 70.0], False),
        ([70.0, -20.0], True),
    ],
)
def test_it_demands_at_the_limits_and_ends_a_degree_later(temperatures: list[float], must: bool | None) -> None:  # noqa: FBT001 - what is expected
    rule = heating()
    for now, temperature in enumerate(temperatures):
        rule.measured(temperature, float(now))
    assert rule.verdict(10.0).must is must
    assert not rule.verdict(10.0).stale


def test_the_reasons_name_the_thermometer_and_both_figures() -> None:
    rule = heating()
    assert rule.verdict(0.0) == Ruling(None, stale=True, reason="probe has not told any temperature yet")
    rule.measured(61.25, 0.0)
    assert rule.verdict(0.0).reason == "probe measures 61.2 °C; 60.0 °C is the most allowed"
    rule.measured(-1.0, 1.0)
    assert rule.verdict(1.0).reason == "probe measures -1.0 °C; below 5.0 °C it has to heat"
    rule.measured(20.0, 2.0)
    assert rule.verdict(2.0) == Ruling(reason="probe measures 20.0 °C")


def test_an_old_reading_is_no_basis() -> None:
    """Neither for frost nor for too hot; what was demanded before is forgotten."""
    rule = heating()
    assert rule.due(0.0) == inf
    rule.measured(60.5, 0.0)
    assert rule.due(0.0) == 3600.0
    assert rule.verdict(3599.0).must is False
    assert rule.verdict(3600.0) == Ruling(None, stale=True, reason="probe has not told its temperature for 60 min")
    assert rule.due(3600.0) == inf
    rule.measured(59.5, 4000.0)
    assert rule.verdict(4000.0).must is None


def test_without_a_thermometer_nothing_is_demanded() -> None:
    assert Heating(Relay(device="shelly-1", safe_state="off")).verdict(0.0) == Ruling()


@given(
    temperatures=st.lists(st.floats(-30, 90), min_size=1, max_size=60),
    hottest=st.one_of(st.none(), st.floats(10, 80)),
    frost=st.one_of(st.none(), st.floats(-10, 9)),
)
def test_whatever_is_measured_it_is_off_when_too_hot_and_on_in_frost(
    temperatures: list[float], hottest: float | None, frost: float | None
) -> None:
    """And a demand never ends nearer to its limit than the hysteresis."""
    rule, before = heating(hottest, frost), None
    for now, temperature in enumerate(temperatures):
        rule.measured(temperature, float(now))
        must = rule.verdict(float(now)).must
        if hottest is not None and temperature >= hottest:
            assert must is False
        elif frost is not None and temperature < frost:
            assert must is True
        elif must is not None:
            assert must is before
            near = hottest if must is False else frost
            assert near is not None
            assert abs(temperature - near) <= HYSTERESIS
        before = must
