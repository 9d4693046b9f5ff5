"""Quantities, units, and which values can be measurements at all."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.reading import FAHRENHEIT_ZERO, QUANTITIES, UNIT_FACTORS, is_switch, plausible


@given(st.text() | st.sampled_from(sorted(QUANTITIES)), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_nan_and_infinities_are_no_measurements(name: str, value: float) -> None:
    """NaN and infinities never enter the journal, under whatever name."""
    assert not plausible(name, value)


@pytest.mark.parametrize("suffix", ["", "_a", "_b", "_c", "_n"])
@pytest.mark.parametrize("name", QUANTITIES)
def test_a_quantity_and_its_phases_have_a_range(name: str, suffix: str) -> None:
    """A value is kept up to the ends of its quantity's range and not beyond, for a phase as for the whole."""
    low, high = QUANTITIES[name][1:]
    assert plausible(name + suffix, low)
    assert plausible(name + suffix, high)
    assert not plausible(name + suffix, math.nextafter(low, -math.inf))
    assert not plausible(name + suffix, math.nextafter(high, math.inf))


@given(st.text().map(lambda text: f"x{text}x"), st.floats(allow_nan=False, allow_infinity=False))
def test_other_names_take_any_finite_number(name: str, value: float) -> None:
    """What a device measures and we have no range for is kept as it is."""
    assert plausible(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("power", 429_496_420),
        ("power_a", 4_294_967_295 / 10),
        ("voltage", 2_211),
        ("temperature", -127),
        ("energy", -1),
        ("humidity", 655.35),
        ("power_factor", 100),
        ("energy_increment", -5),
        ("energy_increment", 1e300),
        ("energy_returned_increment", 1e300),
    ],
)
def test_what_firmware_is_known_to_send(name: str, value: float) -> None:
    """Unsigned wraps, wrong scales, missing sensors and increments that would ruin a counter are recognised."""
    assert not plausible(name, value)


@pytest.mark.parametrize(
    ("name", "switch"),
    [("output", True), ("output_l1", True), ("outputs", False), ("power", False), ("", False), ("an_output", False)],
)
def test_only_outputs_are_booleans(name: str, switch: bool) -> None:  # noqa: FBT001
    """A field never changes its type: exactly the relays' states are booleans."""
    assert is_switch(name) is switch


@pytest.mark.parametrize(
    ("unit", "theirs", "ours"),
    [
        ("kW", 1.5, 1_500),
        ("mW", 1_500, 1.5),
        ("kV", 0.23, 230),
        ("mV", 230_000, 230),
        ("mA", 270, 0.27),
        ("kWh", 12.35, 12_350),
        ("MWh", 1.2, 1_200_000),
        ("mWh", 5_000, 5),
        ("Wmin", 60, 1),
    ],
)
def test_units_become_ours(unit: str, theirs: float, ours: float) -> None:
    """The factors lead to W, V, A and Wh."""
    assert theirs * UNIT_FACTORS[unit] == pytest.approx(ours, rel=1e-12)


@pytest.mark.parametrize(("fahrenheit", "celsius"), [(32, 0), (212, 100), (-40, -40)])
def test_fahrenheit(fahrenheit: float, celsius: float) -> None:
    """Degrees Fahrenheit have a factor and an offset."""
    assert fahrenheit * UNIT_FACTORS["°F"] + FAHRENHEIT_ZERO == pytest.approx(celsius, abs=1e-9)
