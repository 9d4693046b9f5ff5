"""Sensors that publish plain JSON, as the configuration describes them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from edge_energy.config import Sensor
from edge_energy.devices.json_sensor import JsonSensor
from edge_energy.errors import UnreadablePayload
from tests.fuzz_corpus.hostile import PAYLOADS, any_payloads, assert_sound
from tests.unit.samples import NOON

KINDS: list[dict[str, Any]] = [
    {},
    {"time": "time"},
    {"time": "last_seen", "energy_kind": "increment", "energy_unit": "kWh"},
    {"keys": {"power": "temperature", "a.a": "output", "state": "output_l1", "x": "energy"}, "time": "voltage"},
]


def sensor(topic: str = "house/sensor", device: str = "sensor", **settings: Any) -> JsonSensor:
    return JsonSensor(Sensor(topic=topic, device=device, **settings))


def values(payload: Any, **settings: Any) -> Any:
    return sensor(**settings).reading("sensor", orjson.dumps(payload)).values


@settings(deadline=None)
@given(any_payloads)
def test_any_bytes_give_a_sound_reading_or_are_unreadable(raw: bytes) -> None:
    """Nothing that a sensor publishes raises anything but UnreadablePayload, or makes an unsound reading."""
    for kind in KINDS:
        try:
            reading = sensor(**kind).reading("sensor", raw)
        except UnreadablePayload:
            continue
        assert_sound(reading.values)
        assert reading.time is None or type(reading.time) is int


@pytest.mark.parametrize("name", PAYLOADS)
def test_hostile_payloads(name: str) -> None:
    """Each hostile payload makes a sound reading or is refused."""
    for kind in KINDS:
        try:
            reading = sensor(**kind).reading("sensor", PAYLOADS[name])
        except UnreadablePayload:
            continue
        assert_sound(reading.values)


@pytest.mark.parametrize(
    ("settings", "payload", "found"),
    [
        ({}, {"temperature": 21.5, "humidity": 40}, {"temperature": 21.5, "humidity": 40.0}),
        ({}, {"outdoor": {"temp": 3}, "list": [1]}, {"outdoor_temp": 3.0}),
        ({"keys": {"outdoor.temp": "temperature"}}, {"outdoor": {"temp": 3}, "x": 9}, {"temperature": 3.0}),
        ({}, {"temperature": "21.5", "name": "hall"}, {"temperature": 21.5}),
        ({}, {"temperature": "nan", "humidity": "1e999", "battery": "80"}, {"battery": 80.0}),
        ({}, {"output": "ON", "power": 1}, {"output": True, "power": 1.0}),
        ({"energy_unit": "kWh"}, {"energy": 12.35}, {"energy": 12_350.0}),
        ({"energy_unit": "kWh"}, {"energy_returned": 1}, {"energy_returned": 1_000.0}),
        ({"energy_unit": "kWh"}, {"power": 5}, {"power": 5.0}),
        ({"energy_kind": "increment"}, {"energy": 5, "power": 1}, {"energy_increment": 5.0, "power": 1.0}),
        ({"energy_kind": "increment", "energy_unit": "kWh"}, {"energy": 0.005}, {"energy_increment": 5.0}),
        ({"energy_kind": "increment"}, {"energy_returned": 5}, {"energy_returned_increment": 5.0}),
    ],
)
def test_readings(settings: dict[str, Any], payload: Any, found: Any) -> None:
    """Keys become quantities and values our units, as the configuration says."""
    assert values(payload, **settings) == found


def test_the_time_is_the_configured_key_and_no_value() -> None:
    """A sensor's own time dates its reading and does not become a quantity."""
    reading = sensor(time="at").reading("sensor", orjson.dumps({"at": NOON // 10**9, "power": 1}))
    assert reading == ("sensor", NOON, {"power": 1.0})


@pytest.mark.parametrize("value", [-5, 1e300, "1e300", -1e-9])
def test_an_increment_that_would_ruin_the_counter_is_implausible(value: Any) -> None:
    """The durable counter can neither run backwards nor become infinite by one message."""
    a_sensor = sensor(energy_kind="increment")
    with pytest.raises(UnreadablePayload, match="physical range"):
        a_sensor.reading("sensor", orjson.dumps({"energy": value}))
    assert a_sensor.implausible == 1


@pytest.mark.parametrize(
    ("topic", "device", "actual", "name"),
    [
        ("house/sensor", "sensor", "house/sensor", "sensor"),
        ("house/+/dht", "room-{1}", "house/kitchen/dht", "room-kitchen"),
        ("+/x/+", "{2}-{1}", "a/x/é à", "é à-a"),
        ("house/+/#", "{1}", "house/hall/a/b", "hall"),
        ("house/+", "{1}{1}", "house/", ""),
        ("house/+", "{1}", "house/{1}", "{1}"),
    ],
)
def test_the_device_is_named_by_its_topic(topic: str, device: str, actual: str, name: str) -> None:
    """`{1}` stands for what the first + stands for, and nothing in a topic is taken for a place itself."""
    assert sensor(topic, device).device(actual) == name
