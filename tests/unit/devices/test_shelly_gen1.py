"""Shelly devices of the first generation: `/status` and MQTT topics."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_energy.devices.shelly_gen1 import is_three_phase, status_values, topic_values
from edge_energy.reading import Values, is_switch, plausible

SHELLY_1PM = {
    "wifi_sta": {"connected": True, "ssid": "home", "ip": "10.0.0.7", "rssi": -61},
    "unixtime": 1_790_000_000,
    "relays": [{"ison": True, "has_timer": False, "overpower": False, "source": "http"}],
    "meters": [{"power": 61.5, "overpower": 0.0, "is_valid": True, "counters": [61.0, 60.0, 0.0], "total": 6000}],
    "inputs": [{"input": 0}],
    "temperature": 51.25,
    "overtemperature": False,
    "tmp": {"tC": 51.25, "tF": 124.25, "is_valid": True},
    "ram_free": 38000,
}


def emeter(power: float, total: float, returned: float, **more: Any) -> dict[str, Any]:
    found = {"power": power, "pf": -0.5, "current": 2.5, "voltage": 231.5, "is_valid": True}
    return found | {"total": total, "total_returned": returned} | more


def test_the_status_of_a_1pm() -> None:
    """A real status has every quantity; the meter's Watt-minutes become Watt-hours."""
    assert status_values(SHELLY_1PM) == {
        "output": True,
        "power": 61.5,
        "energy": 100.0,
        "temperature": 51.25,
        "rssi": -61.0,
    }


def test_three_energy_meters_are_phases() -> None:
    """A 3EM's meters have the letters of the phases, and their sums the plain names; they count Watt-hours."""
    emeters = [emeter(100.1, 1000, 0), emeter(-200.2, 2000, 30.5), emeter(0, 3000, 0)]
    values = status_values({"emeters": emeters, "relays": [{"ison": False}], "emeter_n": {"current": 0.5}})
    assert (values["power_a"], values["power_b"], values["power_c"]) == (100.1, -200.2, 0.0)
    assert (values["power"], values["energy"], values["energy_returned"]) == (-100.1, 6000.0, 30.5)
    assert (values["voltage_c"], values["power_factor_a"], values["current_n"]) == (231.5, -0.5, 0.5)
    assert values["output"] is False
    assert "voltage" not in values


def test_a_sum_has_all_its_phases() -> None:
    """While one phase is not measured, a sum of the others would look like a drop."""
    emeters = [emeter(1, 10, 0), emeter(2, 20, 0, is_valid=False), emeter(3, 30, 0)]
    values = status_values({"emeters": emeters})
    assert values["power_a"] == 1.0
    assert values.keys().isdisjoint({"power", "energy", "power_b"})


def test_two_energy_meters_are_channels() -> None:
    """An EM's two meters measure two things."""
    values = status_values({"emeters": [emeter(1, 10, 0), emeter(2, 20, 5)]})
    assert (values["power"], values["power_1"], values["energy_1"], values["energy_returned_1"]) == (
        1.0,
        2.0,
        20.0,
        5.0,
    )


@pytest.mark.parametrize(
    ("status", "values"),
    [
        (
            {"relays": [{"ison": True}, {"ison": False}], "voltage": 229.5},
            {"output": True, "output_1": False, "voltage": 229.5},
        ),
        (
            {"meters": [{"power": 1, "total": 60}, {"power": 2, "total": 90}]},
            {"power": 1, "energy": 1, "power_1": 2, "energy_1": 1.5},
        ),
        ({"meters": [{"power": 5, "is_valid": False, "total": 60}]}, {}),
        ({"lights": [{"ison": True, "brightness": 30}]}, {"output": True, "brightness": 30}),
        ({"tmp": {"value": 70.7, "units": "F", "tC": 21.5, "is_valid": True}}, {"temperature": 21.5}),
        (
            {"tmp": {"tC": 999, "is_valid": False}, "hum": {"value": 45.5}, "bat": {"value": 90}},
            {"humidity": 45.5, "battery": 90},
        ),
        ({"meters": [{"total": 1}]}, {"energy": 0.016667}),
        (
            {"temperature": 50.5, "tmp": {"tC": 51}, "voltage": 1, "emeters": [{"voltage": 230}]},
            {"temperature": 50.5, "voltage": 230},
        ),
        ({}, {}),
    ],
)
def test_statuses(status: dict[str, Any], values: Values) -> None:
    """Channels have their suffix, and what a device marks as invalid is not measured."""
    assert status_values(status) == values


@pytest.mark.parametrize(
    ("topic", "payload", "values"),
    [
        ("relay/0", b"on", {"output": True}),
        ("relay/1", b"off", {"output_1": False}),
        ("relay/0", b"overpower", {"output": False}),
        ("relay/0/power", b"61.5", {"power": 61.5}),
        ("relay/0/energy", b"6000", {"energy": 100.0}),
        ("relay/1/energy", b"1", {"energy_1": 0.016667}),
        ("light/0", b"on", {"output": True}),
        ("emeter/0/power", b"-951.25", {"power": -951.25}),
        ("emeter/1/total", b"1000.5", {"energy_1": 1000.5}),
        ("emeter/0/total_returned", b"7", {"energy_returned": 7.0}),
        ("emeter/0/voltage", b"231.5", {"voltage": 231.5}),
        ("emeter/0/current", b"2.5", {"current": 2.5}),
        ("emeter/0/pf", b"-0.5", {"power_factor": -0.5}),
        ("temperature", b"51.25", {"temperature": 51.25}),
        ("voltage", b"230.1", {"voltage": 230.1}),
        ("sensor/temperature", b"-3.5", {"temperature": -3.5}),
        ("sensor/humidity", b"45", {"humidity": 45.0}),
        ("sensor/battery", b"90", {"battery": 90.0}),
    ],
)
def test_topics(topic: str, payload: bytes, values: Values) -> None:
    """Each topic is one value, in our unit."""
    assert topic_values(topic, payload) == values


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("emeter/0/energy", b"6000"),
        ("emeter/0/returned_energy", b"6000"),
        ("emeter/0", b"on"),
        ("relay/0/command", b"on"),
        ("relay/0/ison", b"1"),
        ("relay/8", b"on"),
        ("relay/00/power", b"1"),
        ("relay/0/power/x", b"1"),
        ("relay/0\n", b"on"),
        ("temperature_f", b"124"),
        ("overtemperature", b"0"),
        ("online", b"true"),
        ("announce", b"{}"),
        ("info", b"{}"),
        ("", b"1"),
    ],
)
def test_topics_that_are_no_value(topic: str, payload: bytes) -> None:
    """Commands, counters that start again, and everything else make no reading."""
    assert topic_values(topic, payload) == {}


@pytest.mark.parametrize(
    "payload",
    [b"", b"nan", b"inf", b"-inf", b"1e5", b"1_0", b" 1", b"1\n", b"on", b"0x1", b"\xff", b"9" * 30, b"\xd9\xa3"],
)
def test_payloads_that_are_no_number(payload: bytes) -> None:
    """Only a plain decimal number is one."""
    assert topic_values("relay/0/power", payload) == {}
    assert payload == b"on" or topic_values("relay/0", payload) == {}


def test_phases_by_mqtt_have_the_names_of_http() -> None:
    """The same phase of the same device is the same quantity, whatever way it comes."""
    assert is_three_phase("shellyem3-A1B2C3")
    assert not is_three_phase("shellyem-A1B2C3")
    assert topic_values("emeter/1/power", b"5", three_phase=True) == {"power_b": 5.0}
    assert topic_values("emeter/3/power", b"5", three_phase=True) == {"power_3": 5.0}
    assert topic_values("relay/0", b"on", three_phase=True) == {"output": True}


def test_implausible_values_are_left_out_and_counted() -> None:
    """A wrapped or unscaled number is not a measurement, on no channel and in no sum."""
    counters: Counter[str] = Counter()
    emeters = [emeter(9e5, 9e9, 0), emeter(9e5, 9e9, 0), emeter(429496420, 9e9, 0)]
    values = status_values({"emeters": emeters, "temperature": -127}, counters)
    assert values["power_a"] == 9e5
    assert values.keys().isdisjoint({"power", "power_c", "energy", "temperature"})
    assert counters == {"implausible": 3}
    assert topic_values("relay/1/power", b"429496420", counters=counters) == {}
    assert counters == {"implausible": 4}


KEYS = [
    *SHELLY_1PM,
    "emeters",
    "lights",
    "hum",
    "bat",
    "voltage",
    "emeter_n",
    "ison",
    "power",
    "total",
    "tC",
    "value",
]
GARBAGE: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from([10**400, -(10**400), math.nan, math.inf, 1e308]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*KEYS, "is_valid"]) | st.text(max_size=9), inner, max_size=8)
    ),
    max_leaves=25,
)


def assert_sound(values: Values) -> None:
    for name, value in values.items():
        assert type(value) is (bool if is_switch(name) else float), (name, value)
        assert plausible(name, value)


@settings(deadline=None)
@given(GARBAGE)
def test_garbage_never_raises_and_makes_no_unsound_value(status: Any) -> None:
    """Nothing that a device answers raises, or enters the journal unsound."""
    assert_sound(status_values(status))


@settings(deadline=None)
@given(
    topic=st.from_regex(r"(relay|emeter|light)/[0-9](/(power|energy|total|pf))?", fullmatch=True) | st.text(),
    payload=st.binary(max_size=40) | st.from_regex(rb"-?[0-9]{1,40}(\.[0-9]{1,40})?", fullmatch=True),
    three_phase=st.booleans(),
)
def test_any_message_is_a_sound_value_or_none(*, topic: str, payload: bytes, three_phase: bool) -> None:
    """Nothing that is published raises, or enters the journal unsound."""
    assert_sound(topic_values(topic, payload, three_phase=three_phase))
