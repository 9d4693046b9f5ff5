"""What is subscribed, and what a message on each topic means."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from edge_energy.config import Mqtt, Sensor
from edge_energy.errors import UnreadablePayload
from edge_energy.live import Live
from edge_energy.sources.mqtt import routes as routes_module
from edge_energy.sources.mqtt.routes import Routes
from tests.fuzz_corpus.hostile import PAYLOADS, any_payloads, assert_sound

BRIDGE = "zigbee2mqtt/bridge"
NAMES = ["fridge", "Pompe à chaleur", "cuisine/frigo", "a/b/c", "x/availability", "x/y/availability"]
MORE_THAN_MEASUREMENTS = ["definitions", "logging", "request/x", "response/x", "extensions", "event", "converters"]


def routes(*sensors: Sensor, live: Live | None = None, **settings: Any) -> Routes:
    return Routes(Mqtt(sensors=sensors, **settings), live or Live())


def announce(to: Routes, *names: str, base: str = "zigbee2mqtt") -> None:
    entries = [{"ieee_address": f"0x{number}", "friendly_name": name} for number, name in enumerate(names)]
    assert to.reading(f"{base}/bridge/devices", orjson.dumps(entries), 0) is None


def caught(by: Routes, topic: str) -> bool:
    return any(topic_matches_sub(filter_.topic, topic) for filter_ in by.filters())


# -- filters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", MORE_THAN_MEASUREMENTS)
def test_no_filter_catches_what_is_large_and_no_measurement(topic: str) -> None:
    """`bridge/definitions` is 230 kB at every change: no subscription may catch it, whatever devices are called."""
    a_house = routes(Sensor(topic="house/#", device="x"))
    announce(a_house, *NAMES)
    assert not caught(a_house, f"{BRIDGE}/{topic}")


def test_every_device_and_its_availability_are_caught_once() -> None:
    """Names with slashes have filters of their own, and no message comes twice by overlapping filters."""
    a_house = routes()
    announce(a_house, *NAMES)
    for name in NAMES:
        for topic in (f"zigbee2mqtt/{name}", f"zigbee2mqtt/{name}/availability"):
            matching = [filter_ for filter_ in a_house.filters() if topic_matches_sub(filter_.topic, topic)]
            assert len(matching) == 1, topic
    topics = [filter_.topic for filter_ in a_house.filters()]
    assert len(topics) == len(set(topics))


def test_names_come_before_readings() -> None:
    """The bridge's retained topics are subscribed before the devices', and asked for at every connect."""
    filters = routes(zigbee2mqtt="z", zigbee2mqtt_qos=0).filters()
    position = {filter_.topic: number for number, filter_ in enumerate(filters)}
    for topic in ("state", "info", "devices", "groups"):
        assert position[f"z/bridge/{topic}"] < position["z/+"]
        assert filters[position[f"z/bridge/{topic}"]][1:] == (1, True, False)
    assert filters[position["z/+"]][1:] == (0, False, False)


def test_without_a_bridge_and_shellies_only_sensors_are_subscribed() -> None:
    """A broker without Zigbee2MQTT is asked for nothing of it."""
    a_sensor = Sensor(topic="house/+", device="{1}", qos=0)
    assert routes(a_sensor, zigbee2mqtt="", shelly=()).filters() == [("house/+", 0, False, False)]


def test_the_list_of_devices_asks_for_a_look_at_the_filters() -> None:
    """A device with a slash that comes or goes changes the subscriptions."""
    a_house = routes()
    announce(a_house, "fridge")
    assert a_house.filters_changed.is_set()
    announce(a_house, "cuisine/frigo")
    assert caught(a_house, "zigbee2mqtt/cuisine/frigo")
    announce(a_house, "fridge")
    assert not caught(a_house, "zigbee2mqtt/cuisine/frigo")


# -- messages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_name_leads_to_its_device(name: str) -> None:
    """A reading on a device's topic is that device's, also where its name ends like an availability topic."""
    a_house = routes()
    announce(a_house, *NAMES)
    reading = a_house.reading(f"zigbee2mqtt/{name}", b'{"power":1}', 0)
    assert reading == (f"zigbee-0x{NAMES.index(name)}", None, {"power": 1.0})


@pytest.mark.parametrize(
    ("payload", "available"), [(b'{"state":"online"}', True), (b'{"state":"offline"}', False), (b"offline", False)]
)
@pytest.mark.parametrize("name", NAMES)
def test_availability_is_no_reading(name: str, payload: bytes, available: bool) -> None:  # noqa: FBT001
    """Availability goes to the device's live state and never into the journal."""
    live = Live()
    a_house = routes(live=live)
    announce(a_house, *NAMES)
    assert a_house.reading(f"zigbee2mqtt/{name}/availability", payload, 0) is None
    assert live.devices[f"zigbee-0x{NAMES.index(name)}"].available is available


def test_availability_of_the_unknown_makes_no_device() -> None:
    """A removed device or a group must not appear in the list of devices."""
    live = Live()
    a_house = routes(live=live)
    a_house.reading(f"{BRIDGE}/groups", b'[{"friendly_name":"lamps"}]', 0)
    for name in ("lamps", "gone"):
        assert a_house.reading(f"zigbee2mqtt/{name}/availability", b"online", 0) is None
    assert live.devices == {}


def test_groups_are_ignored() -> None:
    """A group repeats what its members say: counting it would count them twice."""
    a_house = routes()
    a_house.reading(f"{BRIDGE}/groups", b'[{"friendly_name":"lamps"},{"friendly_name":5},7]', 0)
    assert a_house.reading("zigbee2mqtt/lamps", b'{"power":1}', 0) is None
    a_house.reading(f"{BRIDGE}/groups", b"[]", 0)
    assert a_house.reading("zigbee2mqtt/lamps", b'{"power":1}', 0) is not None


def test_new_devices_are_described_once_and_known_live() -> None:
    """Names and models reach the page at once; only changes are handed on to be recorded."""
    live = Live()
    a_house = routes(live=live)
    announce(a_house, "fridge")
    assert [device.name for device in a_house.described] == ["fridge"]
    a_house.described = []
    announce(a_house, "fridge")
    assert a_house.described == []
    assert live.devices["zigbee-0x0"].name == "fridge"


@pytest.mark.parametrize("topic", ["elsewhere", "house", "house/a/b", "zigbee2mqtt", "Zigbee2mqtt/fridge", "", "/"])
def test_a_stale_topic_is_unreadable(topic: str) -> None:
    """A subscription that an older configuration left in the session is told, and its messages not decoded."""
    a_house = routes(Sensor(topic="house/+", device="{1}"))
    with pytest.raises(UnreadablePayload, match="older configuration"):
        a_house.reading(topic, b'{"power":1}', 0)


@pytest.mark.parametrize("topic", ["definitions", "devices/x", "logging", "response/device/rename", "x/availability"])
def test_what_is_left_of_the_bridge_is_no_device(topic: str) -> None:
    """It may come by an old subscription; as a device it would get a filter of its own, for ever."""
    a_house = routes()
    before = a_house.filters()
    with pytest.raises(UnreadablePayload, match="older configuration"):
        a_house.reading(f"zigbee2mqtt/bridge/{topic}", b'{"power":1}', 0)
    named = orjson.dumps([{"ieee_address": "0x1", "friendly_name": f"bridge/{topic}"}])
    assert a_house.reading("zigbee2mqtt/bridge/devices", named, 0) is None
    assert a_house.filters() == before


def test_invented_topics_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many topics new ones are refused, while those known go on."""
    monkeypatch.setattr(routes_module, "MOST_TOPICS", 3)
    a_house = routes(Sensor(topic="house/+", device="{1}"))
    for number in range(3):
        a_house.reading(f"house/{number}", b'{"power":1}', 0)
    with pytest.raises(UnreadablePayload, match="more than 3 topics"):
        a_house.reading("house/3", b'{"power":1}', 0)
    assert a_house.reading("house/0", b'{"power":1}', 0) is not None


levels = st.lists(st.sampled_from(["a", "b", "", "+"]), min_size=1, max_size=4)


@given(levels, st.booleans(), st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=5))
def test_a_sensor_gets_exactly_what_its_filter_matches(parts: list[str], rest: bool, topic: list[str]) -> None:  # noqa: FBT001
    """Our matching of topics is the protocol's, as paho implements it."""
    pattern, name = "/".join(["s", *parts, *["#"] * rest]), "/".join(["s", *topic])
    a_house = routes(Sensor(topic=pattern, device="x"), zigbee2mqtt="")
    try:
        found = a_house.reading(name, b'{"power":1}', 0) is not None
    except UnreadablePayload:
        found = False
    assert found == topic_matches_sub(pattern, name)


topics = st.sampled_from(
    [f"{BRIDGE}/{topic}" for topic in ("state", "info", "devices", "groups")]
    + ["zigbee2mqtt/x", "zigbee2mqtt/x/availability", "house/x"]
)


@settings(deadline=None)
@given(st.lists(st.tuples(topics, any_payloads), max_size=6))
def test_no_sequence_of_messages_is_an_accident(messages: list[tuple[str, bytes]]) -> None:
    """Whatever comes on whatever topic, also on the bridge's own: a sound reading, nothing, or unreadable."""
    a_house = routes(Sensor(topic="house/+", device="{1}"))
    for topic, payload in messages:
        try:
            reading = a_house.reading(topic, payload, 0)
        except UnreadablePayload:
            continue
        if reading is not None:
            assert_sound(reading.values)
    orjson.dumps(a_house.bridge and a_house.bridge.remembered())


@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("topic", ["state", "info", "devices", "groups"])
def test_hostile_payloads_on_the_bridge_topics(topic: str, name: str) -> None:
    """The bridge's own topics are as hostile as any other."""
    a_house = routes()
    try:
        assert a_house.reading(f"{BRIDGE}/{topic}", PAYLOADS[name], 0) is None
    except UnreadablePayload:
        assert not a_house.described
