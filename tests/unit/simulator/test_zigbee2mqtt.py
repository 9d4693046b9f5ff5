"""What is published looks like Zigbee2MQTT's, and commands do what they do there."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from simulator.house import BEDROOM, FRIDGE, HEAT_PUMP, SOLAR_PANELS, TELEVISION, WASHING_MACHINE
from simulator.zigbee_products import TS011F, TS011F_POLLED

if TYPE_CHECKING:
    from collections.abc import Callable

PLUG = {"current", "energy", "last_seen", "linkquality", "power", "state", "voltage"}
METER = {"current", "energy", "last_seen", "linkquality", "power", "produced_energy", "voltage"}
SHAPES = {
    FRIDGE: PLUG,
    WASHING_MACHINE: PLUG | TS011F_POLLED.settings.keys(),
    TELEVISION: PLUG | TS011F.settings.keys(),
    HEAT_PUMP: METER,
    SOLAR_PANELS: METER,
    BEDROOM: {"battery", "humidity", "last_seen", "linkquality", "temperature"},
}


@pytest.mark.parametrize(("name", "keys"), SHAPES.items())
def test_payload_shapes(bench: Callable[..., Any], decoded: Callable[..., Any], name: str, keys: set[str]) -> None:
    """With the merged cache every payload of a model carries the same properties."""
    shapes = {frozenset(body) for body in decoded(bench().run(700), name)}
    assert shapes == {frozenset(keys)}


def test_topics_hold_slashes_and_accents_and_keys_are_sorted(bench: Callable[..., Any]) -> None:
    """Friendly names go into the topic as they are; properties are in alphabetical order, as there."""
    messages = bench().run(1)
    assert {"zigbee2mqtt/cuisine/frigo", "zigbee2mqtt/Pompe à chaleur"} <= {m.topic for m in messages}
    for message in messages:
        keys = list(orjson.loads(message.payload))
        assert keys == sorted(keys)
        assert (message.qos, message.retain) == (1, False)


def test_values_are_rounded_as_the_products_do(bench: Callable[..., Any]) -> None:
    """Counters are in kWh with two decimals and never ahead of the truth; whole numbers have no decimal point."""
    a_bench = bench()
    for name in (FRIDGE, WASHING_MACHINE, SOLAR_PANELS):
        a_bench.run(60)
        sample, values = a_bench.house.outlets[name].sample, a_bench.device(name).values()
        assert 0 <= sample.energy / 1000 - values["energy"] < 0.011
        assert abs(values["power"] - sample.power) <= 0.5
    assert isinstance(a_bench.device(FRIDGE).values()["voltage"], int)
    assert a_bench.device(SOLAR_PANELS).values()["power"] < 0


def test_last_seen_is_the_time_of_publication_and_tells_messages_apart(
    bench: Callable[..., Any], decoded: Callable[..., Any]
) -> None:
    """ISO 8601 in UTC with milliseconds; two messages of one device never carry the same instant."""
    seen = [body["last_seen"] for body in decoded(bench().run(120), FRIDGE)]
    assert seen[0] == "2026-11-20T09:30:00.123Z"
    assert len(set(seen)) == len(seen) > 1
    assert all(re.fullmatch(r"2026-11-20T09:30:0\d\.\d{3}Z", each) for each in seen)


def test_a_seed_repeats_every_byte(bench: Callable[..., Any]) -> None:
    """The same seed, start and commands give the same messages in the same order; another seed gives others."""
    first, again, other = (bench(seed=seed, extra=5).run(600) for seed in (4, 4, 5))
    assert first == again
    assert first != other


def test_a_clock_set_back_is_followed(bench: Callable[..., Any]) -> None:
    """Who corrects the clock by an hour does not see future dates for an hour."""
    device = bench().device(FRIDGE)
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert device.seen(noon) == "2026-11-20T12:00:00.000Z"
    assert device.seen(noon) == "2026-11-20T12:00:00.001Z"
    assert device.seen(noon - timedelta(hours=1)) == "2026-11-20T11:00:00.000Z"


def test_options_change_what_is_published(bench: Callable[..., Any], decoded: Callable[..., Any]) -> None:
    """Without last_seen there is none; without the cache a report carries what was reported and nothing else."""
    messages = bench(last_seen=False, cache_state=False, qos=0).run(700)
    reports = decoded(messages, FRIDGE)[1:]
    assert reports
    assert all("last_seen" not in body for body in reports)
    assert all(not {"power", "energy"} <= body.keys() for body in reports)
    assert {m.qos for m in messages} == {0}


def test_bridge_topics(bench: Callable[..., Any]) -> None:
    """State, info, devices, definitions and availability are retained; the will says offline."""
    a_bench = bench()
    topics = {m.topic.removeprefix("zigbee2mqtt/"): m for m in a_bench.bridge.hello()}
    assert all(m.retain for m in topics.values())
    assert topics["bridge/state"].payload == b'{"state":"online"}'
    assert topics["bridge/state"].qos == topics["cuisine/frigo/availability"].qos == 1
    assert len(topics["bridge/definitions"].payload) > 200_000
    info = orjson.loads(topics["bridge/info"].payload)
    assert info["version"].startswith("2.")
    assert info["config"]["advanced"]["last_seen"] == "ISO_8601"
    assert info["config"]["device_options"] == {"qos": 1}
    will, (bye,) = a_bench.bridge.last_will(), a_bench.bridge.goodbye()
    assert will.payload == bye.payload == b'{"state":"offline"}'
    assert will.retain
    assert bye.retain


def test_bridge_devices_describe_every_property(bench: Callable[..., Any]) -> None:
    """Every device is listed with its definition; units are declared for all that is measured."""
    a_bench = bench(extra=6)
    hello = {m.topic: m.payload for m in a_bench.bridge.hello()}
    coordinator, *devices = orjson.loads(hello["zigbee2mqtt/bridge/devices"])
    assert coordinator["type"] == "Coordinator"
    assert "definition" not in coordinator
    assert len({d["ieee_address"] for d in devices}) == len(devices) == 18
    for entry in devices:
        assert re.fullmatch("0x[0-9a-f]{16}", entry["ieee_address"])
        assert (entry["supported"], entry["disabled"], entry["interview_state"]) == (True, False, "SUCCESSFUL")
        exposes = entry["definition"]["exposes"]
        units = {e["property"]: e["unit"] for e in exposes if e["type"] == "numeric"}
        switches = [feature for e in exposes if e["type"] == "switch" for feature in e["features"]]
        values = a_bench.device(entry["friendly_name"]).values()
        assert values.keys() - {"state"} == units.keys() - {"linkquality"}
        assert ("state" in values) == bool(switches)
        assert all(switch["access"] == 7 for switch in switches)
        assert units.get("energy", "kWh") == "kWh"


def test_a_device_keeps_its_address_whatever_the_seed(bench: Callable[..., Any]) -> None:
    """Two runs are the same house to a consumer that remembers devices by address."""
    assert bench(seed=1).device(FRIDGE).ieee_address == bench(seed=2).device(FRIDGE).ieee_address


def test_another_base_topic(bench: Callable[..., Any]) -> None:
    """Everything moves with the base topic."""
    a_bench = bench(base_topic="maison")
    messages = [*a_bench.bridge.hello(), *a_bench.run(1)]
    assert all(m.topic.startswith("maison/") for m in messages)
    assert all(f.startswith("maison/") for f in a_bench.bridge.filters)
    (answer,) = a_bench.bridge.receive("maison/bureau/set", b"OFF")
    assert answer.topic == "maison/bureau"
