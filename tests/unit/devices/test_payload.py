"""What every JSON payload has in common: size, shape, numbers, times."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_energy.devices import payload
from edge_energy.errors import UnreadablePayload
from edge_energy.reading import QUANTITIES, UNIT_FACTORS, Values
from tests.fuzz_corpus.hostile import PAYLOADS, any_payloads, assert_sound
from tests.unit.samples import NOON, SECOND

NAMES = st.sampled_from([*QUANTITIES, "output", "output_l1", "power_a"]) | st.text()
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
INSTANTS = st.integers(1_577_836_800 * SECOND, 4_102_444_800 * SECOND)  # 2020 to 2100


def decoded(raw: bytes) -> Values:
    """Return the values of a payload by way of every function."""
    values: Values = {}
    for name, leaf in payload.flatten(payload.parse(raw)):
        payload.put(values, name, leaf)
        payload.timestamp(leaf)
    return payload.check(values, implausible=False)


@settings(deadline=None)
@given(any_payloads)
def test_any_bytes_give_sound_values_or_are_unreadable(raw: bytes) -> None:
    """Nothing that a payload contains raises anything but UnreadablePayload, or enters the journal unsound."""
    with suppress(UnreadablePayload):
        assert_sound(decoded(raw))


@pytest.mark.parametrize("name", PAYLOADS)
def test_hostile_payloads(name: str) -> None:
    """Each hostile payload is decoded or refused, never an accident."""
    with suppress(UnreadablePayload):
        assert_sound(decoded(PAYLOADS[name]))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing", "not JSON"),
        ("BOM", "not JSON"),
        ("1e999", "not JSON"),
        ("NaN", "not JSON"),
        ("lone surrogate", "not JSON"),
        ("deep arrays", "not JSON"),
        ("2 MiB", "larger than 1 MiB"),
        ("array", "a JSON list, not an object"),
        ("null", "a JSON NoneType, not an object"),
        ("nine objects", "nests deeper than 8"),
        ("257 keys", "more than 256 numbers"),
        ("long key", "a key longer than 128"),
        ("only nonsense", "no usable number"),
    ],
)
def test_unreadable_payloads_say_why(name: str, reason: str) -> None:
    """Whoever looks at what was kept aside reads what was wrong with it."""
    with pytest.raises(UnreadablePayload, match=reason):
        decoded(PAYLOADS[name])


@pytest.mark.parametrize("name", ["eight objects", "256 keys", "duplicate keys", "NUL in a key"])
def test_what_is_just_within_the_limits_is_taken(name: str) -> None:
    """The limits refuse nothing that is within them."""
    assert decoded(PAYLOADS[name])


def test_flatten_joins_names_and_leaves_lists_out() -> None:
    """A nested value is found under the names of all objects around it."""
    nested = {"a": {"b": {"c": 1}, "d": [2, {"e": 3}]}, "f": None}
    assert dict(payload.flatten(nested)) == {"a_b_c": 1, "f": None}
    assert dict(payload.flatten(nested, ".")) == {"a.b.c": 1, "f": None}


@given(NAMES, LEAVES, st.sampled_from([*UNIT_FACTORS, ""]))
def test_put_adds_sound_values_only(name: str, leaf: Any, unit: str) -> None:
    """Whatever is put under whatever name: a finite float within its range, a boolean for a switch, or nothing."""
    values: Values = {}
    implausible = payload.put(values, name, leaf, UNIT_FACTORS.get(unit, 1.0))
    if values:
        assert list(values) == [name]
        assert_sound(values)
        assert not implausible


@pytest.mark.parametrize(
    ("name", "leaf", "factor", "value"),
    [
        ("power", 61, 1.0, 61.0),
        ("power", True, 1.0, 1.0),
        ("energy", 12.35, 1e3, 12_350.0),
        ("current", 270, 1e-3, 0.27),
        ("temperature", 212, UNIT_FACTORS["°F"], pytest.approx(100)),
        ("output", "ON", 1.0, True),
        ("output", "off", 1.0, False),
        ("output_l1", 1, 1.0, True),
        ("output", "TOGGLE", 1.0, None),
        ("output", None, 1.0, None),
        ("power", "61", 1.0, None),
        ("power", None, 1.0, None),
    ],
)
def test_put_converts(name: str, leaf: Any, factor: float, value: Any) -> None:
    """Numbers become floats of our unit, states booleans; strings and nulls are no values."""
    values: Values = {}
    assert not payload.put(values, name, leaf, factor)
    assert values == ({} if value is None else {name: value})
    assert all(type(found) is type(value) for found in values.values() if isinstance(value, bool | float))


@pytest.mark.parametrize(("implausible", "reason"), [(True, "outside its physical range"), (False, "no usable")])
def test_check_refuses_an_empty_message(implausible: bool, reason: str) -> None:  # noqa: FBT001
    """A message without a usable value says whether there was none or it was impossible."""
    with pytest.raises(UnreadablePayload, match=reason):
        payload.check({}, implausible=implausible)


@given(INSTANTS, st.integers(0, 9), st.integers(-14 * 60, 14 * 60), st.sampled_from([".", ","]))
def test_iso_times_are_exact(instant: int, digits: int, offset: int, point: str) -> None:
    """An ISO 8601 time means the same nanosecond, whatever its precision and its offset."""
    instant -= instant % 10 ** (9 - digits)
    moment = datetime.fromtimestamp(instant // SECOND, UTC).astimezone(timezone(timedelta(minutes=offset)))
    fraction = f"{point}{instant % SECOND:09}"[: digits + 1] if digits else ""
    text = f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}{moment:%z}"
    assert payload.timestamp(text) == instant
    if offset == 0:
        assert payload.timestamp(text.replace("+0000", "Z")) == payload.timestamp(text[:-5]) == instant


@given(INSTANTS, st.sampled_from([1, 10**3, 10**6, 10**9]))
def test_epochs_are_exact(instant: int, unit: int) -> None:
    """An epoch in s, ms, µs or ns is recognised by its size, and exact."""
    assert payload.timestamp(instant // unit) == instant - instant % unit


@given(INSTANTS, st.sampled_from([10**3, 10**6, 10**9]))
def test_epochs_with_a_fraction_are_as_exact_as_they_come(instant: int, unit: int) -> None:
    """An epoch with a decimal point is taken in all units too, to the microsecond that a float can hold."""
    found = payload.timestamp(instant / unit)
    assert found is not None
    assert abs(found - instant) <= 1_500


@given(LEAVES | st.lists(st.integers()))
def test_anything_may_stand_for_a_time(value: object) -> None:
    """What is no time gives None, and never an accident."""
    found = payload.timestamp(value)
    assert found is None or type(found) is int


@pytest.mark.parametrize(
    "value",
    [None, True, "", "yesterday", "10:30", "2026-13-01", float("nan"), float("inf"), -1.5, [], {}, "1790000000"],
)
def test_no_time(value: object) -> None:
    """What is no time is not taken for one."""
    assert payload.timestamp(value) is None


@pytest.mark.parametrize(
    ("time", "now", "believed"),
    [
        (NOON, NOON, True),
        (NOON - 365 * 86_400 * SECOND, NOON, True),
        (NOON + 299 * SECOND, NOON, True),
        (NOON + 301 * SECOND, NOON, False),
        (1_577_836_799 * SECOND, NOON, False),
        (0, NOON, False),
        (-5, NOON, False),
    ],
)
def test_believable(time: int, now: int, believed: bool) -> None:  # noqa: FBT001
    """A device's clock counts if it was ever set and is not ahead of ours."""
    assert payload.believable(time, now) is believed
