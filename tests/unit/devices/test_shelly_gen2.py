"""Status of Shelly devices of the second generation and later: full, changed, merged."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_energy.devices.shelly_gen2 import Status
from edge_energy.errors import UnreadablePayload
from edge_energy.reading import Values, is_switch, plausible
from tests.fuzz_corpus.hostile import any_payloads

PRO_1PM = {
    "id": 0,
    "source": "init",
    "output": True,
    "apower": 5.2,
    "voltage": 232.1,
    "freq": 50,
    "current": 0.053,
    "pf": 0.64,
    "aenergy": {"total": 84885.708, "by_minute": [91.017, 90.927, 90.972], "minute_ts": 1779362340},
    "ret_aenergy": {"total": 0, "by_minute": [0, 0, 0], "minute_ts": 1779362340},
    "temperature": {"tC": 43.2, "tF": 109.7},
}
PLUS_1PM = {"id": 0, "output": False, "apower": 0, "voltage": 119.1, "current": 0, "aenergy": {"total": 1444.015}}
EM = {
    f"{phase}_{key}": value
    for phase in "abc"
    for key, value in {
        "current": 4.5,
        "voltage": 231.5,
        "act_power": -951.2,
        "aprt_power": 1040.1,
        "pf": -0.91,
    }.items()
} | {"id": 0, "n_current": None, "total_current": 13.5, "total_act_power": -2853.6, "total_aprt_power": 3120.3}

# -- what devices send ------------------------------------------------------------------------------------------


def full(**components: Any) -> Values:
    return Status().full({key.replace("__", ":"): component for key, component in components.items()})


def test_the_status_of_a_pro_1pm() -> None:
    """A real status has every quantity under its name, in our units."""
    assert full(switch__0=PRO_1PM) == {
        "output": True,
        "power": 5.2,
        "voltage": 232.1,
        "frequency": 50.0,
        "current": 0.053,
        "power_factor": 0.64,
        "energy": 84885.708,
        "energy_returned": 0.0,
        "temperature": 43.2,
    }


def test_the_status_of_a_pro_3em() -> None:
    """Phases have the letters, totals the plain names; import and return are counted apart."""
    values = full(em__0=EM, emdata__0={"a_total_act_energy": 10, "total_act": 30.5, "total_act_ret": 70.25})
    assert values["power_a"] == values["power_c"] == -951.2
    assert values["power_factor_b"] == -0.91
    assert values["apparent_power_a"] == 1040.1
    assert "current_n" not in values
    assert values["power"] == -2853.6
    assert (values["energy"], values["energy_returned"], values["energy_a"]) == (30.5, 70.25, 10.0)
    assert full(em__0={"c_active_power": 5, "n_current": 0.5}) == {"power_c": 5.0, "current_n": 0.5}


@pytest.mark.parametrize(
    ("components", "values"),
    [
        ({"pm1__0": {"apower": 3, "aprtpower": 4, "freq": 50}}, {"power": 3, "apparent_power": 4, "frequency": 50}),
        ({"em1__1": {"act_power": -3, "aprt_power": 4}}, {"power_1": -3, "apparent_power_1": 4}),
        (
            {"em1data__1": {"total_act_energy": 5, "total_act_ret_energy": 9}},
            {"energy_1": 5, "energy_returned_1": 9},
        ),
        ({"switch__0": {"output": True}, "switch__3": {"output": False}}, {"output": True, "output_3": False}),
        ({"light__0": {"output": True, "brightness": 40}}, {"output": True, "brightness": 40}),
        ({"cover__0": {"state": "open", "current_pos": 60, "apower": 9}}, {"position": 60, "power": 9}),
        ({"temperature__100": {"tC": -4.5, "tF": 23.9}}, {"temperature_100": -4.5}),
        ({"humidity__0": {"rh": 45.5}}, {"humidity": 45.5}),
        ({"devicepower__0": {"battery": {"V": 5.9, "percent": 88}}}, {"battery_voltage": 5.9, "battery": 88}),
        ({"voltmeter__100": {"voltage": 4.3}}, {"voltage_100": 4.3}),
        ({"wifi": {"sta_ip": "10.0.0.2", "rssi": -57}}, {"rssi": -57}),
        ({"switch__0": {"temperature": {"tC": 50}}, "temperature__0": {"tC": 20}}, {"temperature": 20}),
        ({"switch__0": {"temperature": {"tC": 50}}, "temperature__0": {"tC": None}}, {"temperature": 50}),
        ({"sys": {"uptime": 4}, "cloud": {"connected": True}, "input__0": {"state": True}}, {}),
    ],
)
def test_components(components: Any, values: Values) -> None:
    """Each kind of component has its quantities, and its number as the suffix."""
    assert full(**components) == values


@pytest.mark.parametrize(
    "key", ["switch", "switch:", "switch:x", "switch:-1", "switch:00", "switch:1000", "switch:٣"]
)
def test_components_without_a_proper_number_are_none(key: str) -> None:
    """What no device sends cannot take another component's place."""
    assert Status().full({key: PRO_1PM, "wifi:0": {"rssi": 1}, "Switch:0": PRO_1PM, "switch:0\n": PRO_1PM}) == {}


# -- changes ----------------------------------------------------------------------------------------------------


def test_a_change_gives_only_what_it_carries() -> None:
    """What a notification does not say was not measured again."""
    status = Status()
    status.full({"ts": 5.01, "switch:0": PRO_1PM, "wifi": {"rssi": -50}})
    assert status.complete
    change = {"id": 0, "apower": 0, "output": False, "timer_duration": None, "timer_started_at": None}
    assert status.change({"ts": 6.0, "switch:0": change}) == {"power": 0.0, "output": False}
    assert status.change({"ts": 7.0, "switch:0": {"apower": 0}}) == {"power": 0.0}
    assert status.components["switch:0"]["voltage"] == 232.1
    assert status.components["switch:0"]["aenergy"]["total"] == 84885.708
    assert status.change({"switch:0": {"temperature": {"tC": None}}}) == {}
    assert status.change({"temperature:0": {"tC": 21}, "switch:0": {"temperature": {"tC": 50}}}) == {
        "temperature": 21
    }


def test_a_full_status_replaces_what_was_known() -> None:
    """What a full status lacks does not exist any more; garbage is no full status."""
    status = Status()
    status.full({"switch:0": PRO_1PM, "switch:1": PLUS_1PM})
    assert status.full({"switch:0": PLUS_1PM})["energy"] == 1444.015
    assert list(status.components) == ["switch:0"]
    assert status.full({"switch:0": 5, "result": []}) == {}
    assert status.components["switch:0"]["voltage"] == 119.1


def test_a_component_of_mqtt_is_replaced() -> None:
    """A component's topic has all of it, and no other component's."""
    status = Status()
    assert status.component("switch:0", PLUS_1PM)["energy"] == 1444.015
    assert status.component("switch:1", {"output": True}) == {"output_1": True}
    assert not status.complete
    assert status.component("switch:0", {"output": True}) == {"output": True}
    assert status.components["switch:0"] == {"output": True}
    assert status.component("nonsense", PLUS_1PM) == {}


# -- energy -----------------------------------------------------------------------------------------------------


def energy(aenergy: float, returned: float | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"aenergy": {"total": aenergy}}
    return found if returned is None else found | {"ret_aenergy": {"total": returned}}


def test_returned_energy_is_not_counted_twice() -> None:
    """Imported energy is what the counter of both has more than the counter of what was returned."""
    status = Status()
    assert status.full({"pm1:0": energy(100.3, 40.1)}) == {"energy": 60.2, "energy_returned": 40.1}
    assert status.change({"pm1:0": energy(101.3)}) == {"energy": 61.2}
    assert status.change({"pm1:0": {"ret_aenergy": {"total": 41.1}}}) == {"energy": 60.2, "energy_returned": 41.1}


def test_energy_waits_until_it_is_known_whether_any_returns() -> None:
    """Before the first full status, a counter alone may hold returned energy: it is left out."""
    status = Status()
    assert status.change({"switch:0": {"apower": 5} | energy(100)}) == {"power": 5.0}
    assert status.change({"switch:0": energy(100, 30)}) == {"energy": 70.0, "energy_returned": 30.0}
    assert status.change({"switch:0": energy(101)}) == {"energy": 71.0}
    assert status.change({"switch:1": energy(7)}) == {}
    status.full({"switch:0": energy(100, 30), "switch:1": energy(8)})
    assert status.change({"switch:1": energy(9)}) == {"energy_1": 9.0}


@pytest.mark.parametrize(
    "returned", [None, {}, {"total": None}, {"total": "40"}, {"total": -5}, {"total": 1e300}, [], 5]
)
def test_energy_is_left_out_while_the_returned_is_unreadable(returned: Any) -> None:
    """A counter that exists and cannot be read is not a counter of nothing."""
    status = Status()
    assert "energy" not in status.full({"switch:0": energy(100) | {"ret_aenergy": returned}})
    status.full({"switch:0": energy(100, 40)})
    status.change({"switch:0": {"ret_aenergy": {"total": None}}})
    assert "energy" not in status.change({"switch:0": energy(101)})


def test_more_returned_than_counted_is_implausible() -> None:
    """An import below nothing is no measurement."""
    status = Status()
    assert status.full({"switch:0": energy(1, 40)}) == {"energy_returned": 40.0}
    assert status.implausible == 1
    status.change({"switch:0": {"apower": 1}})
    assert status.implausible == 1


WATT_HOURS = st.floats(0, 1e9) | st.integers(0, 10**9) | st.none() | st.sampled_from(["x", -1, 1e300, 10**400, True])
COUNTERS = st.fixed_dictionaries(
    {}, optional={"aenergy": st.fixed_dictionaries({}, optional={"total": WATT_HOURS}) | WATT_HOURS}
).flatmap(
    lambda found: st.fixed_dictionaries(
        {}, optional={"ret_aenergy": st.fixed_dictionaries({}, optional={"total": WATT_HOURS}) | WATT_HOURS}
    ).map(lambda returned: found | returned)
)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), COUNTERS), max_size=6))
def test_import_is_never_more_than_was_counted(frames: list[tuple[bool, dict[str, Any]]]) -> None:
    """Whatever the frames, import is at most the counter, and less by at least what is known to have returned."""
    status = Status()
    for whole, counters in frames:
        frame = {"switch:0": counters}
        values = status.full(frame) if whole else status.change(frame)
        if "energy" in values:
            merged = status.components["switch:0"]
            assert 0 <= values["energy"] <= merged["aenergy"]["total"]
            if "ret_aenergy" in merged:
                rest = merged["aenergy"]["total"] - merged["ret_aenergy"]["total"]
                assert values["energy"] == pytest.approx(rest, abs=1e-6)


# -- changes add up ---------------------------------------------------------------------------------------------

KEYS = {
    "switch:0": ["output", "apower", "voltage", "pf", "aenergy.total", "ret_aenergy.total", "temperature.tC"],
    "switch:1": ["output", "apower", "aenergy.total"],
    "em:2": ["a_act_power", "b_act_power", "total_act_power", "n_current"],
    "emdata:2": ["total_act", "total_act_ret", "a_total_act_energy"],
    "temperature:100": ["tC"],
    "wifi": ["rssi"],
}
LEAVES = {"output": st.booleans(), "pf": st.floats(-1, 1), "rssi": st.integers(-100, 0)}


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in flat.items():
        head, _, tail = key.partition(".")
        if tail:
            found.setdefault(head, {})[tail] = value
        else:
            found[head] = value
    return found


def _status(*, whole: bool) -> st.SearchStrategy[dict[str, Any]]:
    components = {}
    for component, keys in KEYS.items():
        leaves = {key: LEAVES.get(key, st.integers(0, 500).map(lambda number: number / 8)) for key in keys}
        # What has returned is part of what was counted.
        if "aenergy.total" in leaves:
            leaves["aenergy.total"] = st.integers(500, 900)
        values = st.fixed_dictionaries(leaves) if whole else st.fixed_dictionaries({}, optional=leaves)
        components[component] = values.map(_nested)
    return st.fixed_dictionaries(components) if whole else st.fixed_dictionaries({}, optional=components)


@settings(deadline=None)
@given(_status(whole=True), st.lists(_status(whole=False), max_size=8))
def test_changes_add_up_to_the_full_status(first: dict[str, Any], changes: list[dict[str, Any]]) -> None:
    """Whoever takes a full status and every change has the values of the full status after them."""
    status = Status()
    values = status.full(first)
    for change in changes:
        news = status.change(change)
        assert news.keys() <= values.keys()
        values |= news
    merged = orjson.loads(orjson.dumps(status.components))
    assert values == Status().full(merged)
    assert values == status.full(merged)
    assert status.implausible == 0


# -- garbage ----------------------------------------------------------------------------------------------------

_COMPONENT_KEYS = st.sampled_from([*KEYS, "cover:0", "light:0", "devicepower:0", "sys", "switch:x", "ts"]) | st.text(
    max_size=9
)
_INNER_KEYS = st.sampled_from(
    [*{key for keys in KEYS.values() for path in keys for key in path.split(".")}, "errors", "a_errors", "battery"]
) | st.text(max_size=9)
_GARBAGE: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from([10**400, -(10**400), math.nan, math.inf, 1e308, 429496420]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_INNER_KEYS, inner, max_size=6),
    max_leaves=15,
)
_FRAMES = st.dictionaries(_COMPONENT_KEYS, st.dictionaries(_INNER_KEYS, _GARBAGE, max_size=8) | _GARBAGE, max_size=6)


def assert_sound(values: Values) -> None:
    for name, value in values.items():
        assert type(value) is (bool if is_switch(name) else float), (name, value)
        assert plausible(name, value)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["full", "change", "component"]), _FRAMES | _GARBAGE), max_size=6))
def test_garbage_never_raises_and_makes_no_unsound_value(frames: list[tuple[str, Any]]) -> None:
    """Nothing that stands in a frame raises, enters the journal unsound, or stays as a fault that is none."""
    status = Status()
    for kind, frame in frames:
        assert_sound(status.component("switch:0", frame) if kind == "component" else getattr(status, kind)(frame))
    for key, errors in status.errors().items():
        assert key in status.components
        assert errors
        assert all(type(error) is str for error in errors)


@settings(deadline=None)
@given(any_payloads)
def test_any_bytes(raw: bytes) -> None:
    """By way of a frame, or as a component, any bytes are unreadable or sound."""
    try:
        decoded = orjson.loads(raw)
    except (orjson.JSONDecodeError, UnreadablePayload):
        return
    status = Status()
    assert_sound(status.full(decoded))
    assert_sound(status.change({"switch:0": decoded}))
    assert_sound(status.component("em:0", decoded))


def test_implausible_values_are_left_out_and_counted_once() -> None:
    """A wrapped or unscaled number is not a measurement; it is counted when it is told, not when others are."""
    status = Status()
    assert status.full({"switch:0": {"apower": 429496420, "voltage": 2321, "current": 1}}) == {"current": 1.0}
    assert status.implausible == 2
    assert status.change({"switch:0": {"current": 2}}) == {"current": 2.0}
    assert status.implausible == 2
    assert status.full({"em:1": {"a_act_power": 429496420}}) == {}
    assert status.implausible == 3


def test_wrong_types_are_no_values() -> None:
    """A number for a relay's state, a boolean or text for a number, are none."""
    wrong = {"output": 1, "apower": True, "voltage": "230", "current": [1], "pf": {"x": 1}, "aenergy": 5}
    assert full(switch__0=wrong) == {}


def size(value: Any) -> int:
    if isinstance(value, dict):
        return sum(len(key) + size(inner) for key, inner in value.items())
    return sum(map(size, value)) if isinstance(value, list) else len(str(value))


def test_a_device_cannot_fill_the_memory() -> None:
    """However much a device invents, little of it is kept, and its relay still has a place."""
    status = Status()
    status.full({"switch:0": PLUS_1PM})
    for number in range(1_000):
        junk = {f"k{number}": "x" * 1_000, f"list{number}": ["y" * 1_000] * 100, "k" * 1_000: 1}
        status.change({f"light:{number}": junk | {"deep": {f"d{number}": {"e": junk}}}})
        status.change({"light:0": junk, "switch:0": {"aenergy": junk}})
        status.component(f"cover:{number}", junk)
    assert len(status.components) == 64
    assert len(status.components["light:0"]) == 64
    assert len(status.components["switch:0"]["aenergy"]) == 8
    assert size(status.components) < 200_000
    assert status.change({"switch:0": {"output": True}}) == {"output": True}
    status.full({f"switch:{number}": PLUS_1PM for number in range(1_000)})
    assert len(status.components) == 64


def test_errors_are_those_of_now() -> None:
    """Faults stand under their component until it says that they are gone."""
    status = Status()
    status.full({"switch:0": PRO_1PM, "em:0": EM})
    assert status.errors() == {}
    status.change({"switch:0": {"errors": ["overtemp", 5, None]}, "em:0": {"a_errors": ["out_of_range:voltage"]}})
    assert status.errors() == {"switch:0": ["overtemp"], "em:0": ["a_out_of_range:voltage"]}
    status.change({"switch:0": {"errors": []}, "em:0": {"a_errors": None}})
    assert status.errors() == {}
