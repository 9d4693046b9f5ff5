"""Zigbee2MQTT's payloads, with the traps that its merged cache, its devices and its users set."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_energy.devices.zigbee2mqtt import Bridge
from edge_energy.errors import UnreadablePayload
from tests.fuzz_corpus.hostile import PAYLOADS, any_payloads, assert_sound
from tests.unit.samples import NOON, SECOND

ADDRESS = "0x00158d0001a2b3c4"


def expose(key: str, unit: str | None = None, **more: Any) -> dict[str, Any]:
    return {"property": key, **({} if unit is None else {"unit": unit}), **more}


def announced(name: str = "fridge", *exposes: Any, **more: Any) -> dict[str, Any]:
    """Return an entry of `bridge/devices`."""
    definition = {"vendor": "Innr", "model": "SP 240", "exposes": list(exposes)}
    return {"ieee_address": ADDRESS, "friendly_name": name, "type": "Router", "definition": definition} | more


def bridge_with(*exposes: Any, name: str = "fridge") -> Bridge:
    bridge = Bridge()
    bridge.take_devices([announced(name, *exposes)])
    return bridge


def values(bridge: Bridge, payload: Any, uptime: float = 0, name: str = "fridge") -> dict[str, Any]:
    return bridge.reading(name, orjson.dumps(payload), int(uptime * SECOND)).values


# -- anything may come --------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(any_payloads, st.booleans(), st.integers(0, 2**63))
def test_any_bytes_give_a_sound_reading_or_are_unreadable(raw: bytes, merged: bool, uptime: int) -> None:  # noqa: FBT001
    """Nothing that a device publishes raises anything but UnreadablePayload, or makes an unsound reading."""
    bridge = bridge_with(expose("power", "kW"), expose("current", "mA"), expose("temperature", "°F"))
    bridge.merged_cache = merged
    for _ in range(2):
        try:
            reading = bridge.reading("fridge", raw, uptime)
        except UnreadablePayload:
            continue
        assert_sound(reading.values)
        assert reading.time is None or type(reading.time) is int


@pytest.mark.parametrize("name", PAYLOADS)
def test_hostile_payloads_of_devices_and_bridge(name: str) -> None:
    """Each hostile payload is decoded or refused, on a device's topic as on the bridge's own."""
    bridge = bridge_with()
    for take in (lambda raw: assert_sound(bridge.reading("x", raw, 0).values), bridge.take_state, bridge.take_info):
        with suppress(UnreadablePayload):
            take(PAYLOADS[name])
    assert bridge.device("fridge").id == f"zigbee-{ADDRESS}"


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "ieee_address": st.just(ADDRESS) | json,
        "friendly_name": st.text(max_size=8) | json,
        "definition": json
        | st.fixed_dictionaries(
            {"exposes": json | st.lists(st.fixed_dictionaries({"property": json, "unit": json, "features": json}))}
        ),
        "type": json,
    },
)


@given(st.lists(entries | json, max_size=4) | json)
def test_any_list_of_devices_is_taken_or_refused(decoded: Any) -> None:
    """Whatever stands in `bridge/devices`, only UnreadablePayload is raised, and what was learned can be kept."""
    bridge = Bridge()
    try:
        bridge.take_devices(decoded)
    except UnreadablePayload:
        assert not isinstance(decoded, list)
    again = Bridge()
    again.recall(orjson.loads(orjson.dumps(bridge.remembered())))
    assert again.remembered() == bridge.remembered()


def test_exposes_as_deep_as_json_allows() -> None:
    """A hostile nesting of features ends in no recursion error."""
    nested: Any = expose("power", "kW")
    for _ in range(500):
        nested = {"features": [nested]}
    assert values(bridge_with(nested), {"power": 1}) == {"power": 1_000.0}


def test_invented_keys_do_not_fill_the_memory() -> None:
    """A device that invents new keys for ever is decoded, without our remembering all of them."""
    bridge = bridge_with(expose("power", "kW"))
    for number in range(1_000):
        assert values(bridge, {f"x{number}": 1, "power": 2}) == {f"x{number}": 1.0, "power": 2_000.0}
    assert len(bridge.device("fridge").rules) < 500


# -- names and units ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exposes", "payload", "found"),
    [
        ([], {"power": 61.1, "voltage": 229, "current": 0.27}, {"power": 61.1, "voltage": 229.0, "current": 0.27}),
        ([], {"energy": 12.35}, {"energy": 12_350.0}),
        ([expose("energy", "kWh")], {"energy": 12.35}, {"energy": 12_350.0}),
        ([expose("energy", "Wh")], {"energy": 12.35}, {"energy": 12.35}),
        ([], {"produced_energy": 3}, {"energy_returned": 3_000.0}),
        ([expose("current", "mA")], {"current": 270}, {"current": 0.27}),
        ([expose("power", "kW")], {"power": 1.5}, {"power": 1_500.0}),
        ([expose("temperature", "°F")], {"temperature": 212}, {"temperature": pytest.approx(100)}),
        ([expose("temperature", "°C")], {"temperature": 21.85}, {"temperature": 21.85}),
        ([expose("power_factor", "%")], {"power_factor": 98}, {"power_factor": pytest.approx(0.98)}),
        ([expose("power_factor")], {"power_factor": 0.98}, {"power_factor": 0.98}),
        ([expose("power_factor_phase_b", "%")], {"power_factor_phase_b": 50}, {"power_factor_b": 0.5}),
        ([], {"produced_energy_phase_a": 3}, {"energy_returned_a": 3_000.0}),
        ([], {"ac_frequency": 50}, {"frequency": 50.0}),
        ([], {"power_phase_a": 5, "energy_phase_c": 2}, {"power_a": 5.0, "energy_c": 2_000.0}),
        ([expose("current_phase_b", "mA")], {"current_phase_b": 5}, {"current_b": 0.005}),
        ([], {"state": "ON", "linkquality": 200}, {"output": True, "linkquality": 200.0}),
        ([], {"state_l1": "ON", "state_right": "OFF"}, {"output_l1": True, "output_right": False}),
        ([expose("x", "furlong")], {"x": 1}, {"x": 1.0}),
        ([{"features": [expose("power", "kW")]}], {"power": 1}, {"power": 1_000.0}),
        ([], {"update": {"state": "idle", "progress": 5}, "power": 1}, {"update_progress": 5.0, "power": 1.0}),
        ([], {"power": 1, "child_lock": "LOCK", "list": [1], "x": None}, {"power": 1.0}),
        ([], {"child_lock": True}, {"child_lock": 1.0}),
    ],
)
def test_names_and_units(exposes: list[Any], payload: Any, found: Any) -> None:
    """Properties get our names and units, as declared; energy is kWh unless declared otherwise."""
    assert values(bridge_with(*exposes), payload) == found


def test_an_unsigned_wrap_is_counted_and_costs_nothing_else() -> None:
    """429,496,420 W is a defect of the firmware: the reading's other values are kept."""
    bridge = bridge_with()
    assert values(bridge, {"power": 429_496_420, "voltage": 229}) == {"voltage": 229.0}
    with pytest.raises(UnreadablePayload, match="physical range"):
        values(bridge, {"power": 429_496_420})
    assert bridge.implausible == 2


@pytest.mark.parametrize(
    ("last_seen", "time"),
    [
        ("2026-11-20T09:30:00.123Z", 1_795_167_000_123_000_000),
        ("2026-11-20T10:30:00+01:00", 1_795_167_000_000_000_000),
        (1_795_167_000_123, 1_795_167_000_123_000_000),
        (None, None),
        ("5 minutes ago", None),
    ],
)
def test_last_seen(last_seen: Any, time: int | None) -> None:
    """`last_seen` dates the reading in each of its formats, and is no value."""
    reading = bridge_with().reading("fridge", orjson.dumps({"power": 1, "last_seen": last_seen}), 0)
    assert reading == (f"zigbee-{ADDRESS}", time, {"power": 1.0})


# -- the merged cache -----------------------------------------------------------------------------------------------

BUSY = {"state": "ON", "power": 61.1, "current": 0.27, "voltage": 229}


@pytest.mark.parametrize("switched", ["OFF", "ON"])
def test_power_from_before_a_switch_is_dropped(switched: str) -> None:
    """After a switch the cache repeats power and current from before: dropped until changed, at most 15 s."""
    before = BUSY | {"state": "OFF" if switched == "ON" else "ON"}
    stale = before | {"state": switched}
    bridge = bridge_with()
    assert values(bridge, before)["power"] == 61.1
    for second in (1, 5, 15.9):
        assert values(bridge, stale, second) == {"output": switched == "ON", "voltage": 229.0}, second
    assert values(bridge, stale, 16) == {"output": switched == "ON", "power": 61.1, "current": 0.27, "voltage": 229.0}


def test_a_changed_power_is_believed_at_once_and_for_good() -> None:
    """The first new value ends the wait for its quantity alone, also if the old value comes again."""
    bridge = bridge_with()
    values(bridge, BUSY)
    off = BUSY | {"state": "OFF"}
    assert "power" not in values(bridge, off, 1)
    assert values(bridge, off | {"power": 0}, 2) == {"output": False, "power": 0.0, "voltage": 229.0}
    assert values(bridge, off, 3) == {"output": False, "power": 61.1, "voltage": 229.0}


def test_switching_twice_waits_for_the_second_time() -> None:
    """OFF and ON within the wait begin a new one."""
    bridge = bridge_with()
    values(bridge, BUSY)
    values(bridge, BUSY | {"state": "OFF"}, 1)
    assert "power" not in values(bridge, BUSY, 10)
    assert "power" not in values(bridge, BUSY, 24.9)
    assert "power" in values(bridge, BUSY, 25)


def test_no_switch_no_doubt() -> None:
    """A steady load, the first message, and a bridge that publishes fresh attributes only lose nothing."""
    bridge = bridge_with()
    for second in range(3):
        assert values(bridge, BUSY, second)["power"] == 61.1
    bridge.take_info(b'{"version":"2.14.0","config":{"advanced":{"cache_state":false}}}')
    assert (bridge.version, bridge.merged_cache) == ("2.14.0", False)
    assert values(bridge, BUSY | {"state": "OFF"}, 4)["power"] == 61.1


@pytest.mark.parametrize(
    "info", [{}, {"config": None}, {"config": {"advanced": []}}, {"config": {"advanced": {"cache_state": None}}}]
)
def test_the_cache_is_on_unless_switched_off(info: Any) -> None:
    """Whatever `bridge/info` lacks, the cautious assumption stays."""
    bridge = Bridge()
    bridge.take_info(orjson.dumps(info))
    assert bridge.merged_cache


def test_the_list_of_devices_does_not_end_the_wait() -> None:
    """`bridge/devices` is published at any time, also between a switch and the new power."""
    bridge = bridge_with()
    values(bridge, BUSY)
    values(bridge, BUSY | {"state": "OFF"}, 1)
    assert bridge.take_devices([announced()]) == []
    assert "power" not in values(bridge, BUSY | {"state": "OFF"}, 2)


# -- the bridge's own topics ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "online"),
    [
        (b'{"state":"online"}', True),
        (b'{"state":"offline"}', False),
        (b"online", True),
        (b"offline", False),
        (b"\xff", False),
        (b"", None),
    ],
)
def test_state(payload: bytes, online: bool | None) -> None:  # noqa: FBT001
    """The bridge's state is read in the present form and in that of older releases."""
    bridge = Bridge()
    bridge.take_state(payload)
    assert bridge.online is online


@pytest.mark.parametrize("name", ["cuisine/frigo", "Pompe à chaleur", "a/b/c", "冷蔵庫", "0x00158d0001a2b3c4"])
def test_any_friendly_name_leads_to_the_device(name: str) -> None:
    """Names with slashes, accents and spaces are names; the id is the address."""
    bridge = bridge_with(name=name)
    assert bridge.reading(name, b'{"power":1}', 0).device == f"zigbee-{ADDRESS}"
    assert list(bridge.names()) == [name]


@pytest.mark.parametrize("name", ["", "a+b", "#", "a\0b", "x" * 1001, 5, None])
def test_names_that_no_topic_can_have(name: Any) -> None:
    """A name that a broker would refuse in a subscription is left out, and the other devices are not."""
    bridge = Bridge()
    bridge.take_devices([announced(name), announced("good", ieee_address="0x1")])
    assert list(bridge.names()) == ["good"]


def test_the_coordinator_is_no_device() -> None:
    """The stick itself measures nothing."""
    bridge = Bridge()
    assert bridge.take_devices([announced(type="Coordinator")]) == []
    assert list(bridge.devices()) == []


def test_what_changed_is_told_once() -> None:
    """New, renamed and remodelled devices are told; a renamed one keeps its id."""
    bridge = Bridge()
    assert [(d.id, d.name, d.model) for d in bridge.take_devices([announced()])] == [
        (f"zigbee-{ADDRESS}", "fridge", "Innr SP 240")
    ]
    assert bridge.take_devices([announced()]) == []
    assert [d.name for d in bridge.take_devices([announced("freezer")])] == ["freezer"]
    assert bridge.reading("freezer", b'{"power":1}', 0).device == f"zigbee-{ADDRESS}"
    assert [d.model for d in bridge.take_devices([announced("freezer", definition=None)])] == [""]


def test_a_device_never_announced_is_not_lost() -> None:
    """First seen is enough; the id is made of the name until the bridge tells the address."""
    assert Bridge().reading("new one", b'{"power":1}', 0) == ("zigbee-new one", None, {"power": 1.0})


def test_remembered_rules_decode_before_the_bridge_repeats_them() -> None:
    """After a restart the first payload is converted as before it, and belongs to the same device."""
    bridge = bridge_with(expose("current", "mA"), name="a/b")
    again = Bridge()
    again.recall(orjson.loads(orjson.dumps(bridge.remembered())))
    reading = again.reading("a/b", orjson.dumps({"current": 270, "last_seen": NOON // 10**6}), 0)
    assert reading == (f"zigbee-{ADDRESS}", NOON, {"current": 0.27})
