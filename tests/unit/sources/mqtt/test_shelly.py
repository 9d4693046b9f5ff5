"""Shelly devices at the broker: which topics are theirs, and what their messages become."""

from __future__ import annotations

import orjson
import pytest

from edge_energy.config import Mqtt
from edge_energy.errors import UnreadablePayload
from edge_energy.live import Live
from edge_energy.reading import Reading
from edge_energy.sources.mqtt import shelly as module
from edge_energy.sources.mqtt.routes import Routes

PRO = "shellypro1pm-ec62608ab9a4"
DEVICE = "shelly-ec62608ab9a4"
TIME = 1_779_362_340_125_000_000  # ns
SWITCH: dict[str, object] = {
    "id": 0,
    "output": True,
    "apower": 5.2,
    "voltage": 232.1,
    "current": 0.053,
    "aenergy": {"total": 84_885.708},
    "ret_aenergy": {"total": 885.708},
}


class Bench:
    """The routes of a broker, and what is known of its devices."""

    def __init__(self, **settings: object) -> None:
        self.live = Live()
        self.routes = Routes(Mqtt.model_validate(settings), self.live)

    def take(self, topic: str, payload: object) -> Reading | None:
        """Take a message; what is not bytes is sent as JSON."""
        return self.routes.reading(topic, payload if isinstance(payload, bytes) else orjson.dumps(payload), 0)

    def notify(
        self, switch: dict[str, object], ts: float | None = None, *, prefix: str = PRO, method: str = "NotifyStatus"
    ) -> Reading | None:
        """Take a frame of the device about its switch."""
        params = {"ts": ts, "switch:0": switch}
        frame = {"src": PRO, "dst": f"{prefix}/events", "method": method, "params": params}
        return self.take(f"{prefix}/events/rpc", frame)


def test_frames_become_readings_at_their_own_time() -> None:
    """A change carries only what changed; energy is import alone, once it is known what was returned."""
    bench = Bench()
    full = bench.notify(SWITCH, TIME / 1e9, method="NotifyFullStatus")
    assert full is not None
    assert (full.device, full.time) == (DEVICE, TIME)
    assert full.values == {
        "output": True,
        "power": 5.2,
        "voltage": 232.1,
        "current": 0.053,
        "energy": 84_000.0,
        "energy_returned": 885.708,
    }
    assert bench.notify({"apower": 7}, TIME / 1e9) == Reading(DEVICE, TIME, {"power": 7})
    assert bench.notify({"aenergy": {"total": 84_886.708}}, TIME / 1e9) == Reading(DEVICE, TIME, {"energy": 84_001.0})


def test_a_device_that_says_no_more_than_changes_has_its_energy() -> None:
    """Both counters change every minute: a frame that has one of them only is of a device without the other."""
    bench = Bench()
    minute = {"by_minute": [0, 0, 0], "minute_ts": 1_707_806_459, "total": 1_444.015}
    assert bench.notify({"id": 0, "aenergy": minute}) == Reading(DEVICE, None, {"energy": 1_444.015})


def test_an_uptime_is_no_time() -> None:
    assert Bench().notify({"apower": 7}, 5.01) == Reading(DEVICE, None, {"power": 7})


def test_status_topics_are_the_same_device() -> None:
    bench = Bench()
    reading = bench.take(f"{PRO}/status/switch:0", SWITCH)
    assert reading is not None
    assert (reading.device, reading.values["energy"]) == (DEVICE, 84_000.0)


def test_a_prefix_of_the_owner_s_is_known_by_the_frames_behind_it() -> None:
    bench = Bench(shelly=["house/+"])
    assert bench.take("house/garage/status/switch:0", SWITCH) is None
    assert bench.notify({"apower": 7}, prefix="house/garage") == Reading(DEVICE, None, {"power": 7})
    reading = bench.take("house/garage/status/switch:0", SWITCH)
    assert reading is not None
    assert reading.device == DEVICE
    bench.take("house/garage/online", b"false")
    assert bench.live.devices[DEVICE].available is False
    assert bench.live.devices[DEVICE].name == PRO


@pytest.mark.parametrize(("payload", "available"), [(b"true", True), (b"false", False), (b"perhaps", None)])
def test_online_is_availability(payload: bytes, available: bool | None) -> None:  # noqa: FBT001
    bench = Bench()
    bench.notify({"apower": 7})
    assert bench.take(f"{PRO}/online", payload) is None
    assert bench.live.devices[DEVICE].available is available


def test_gen1_topics() -> None:
    """A topic a value; the counter of a relay is in watt minutes."""
    bench = Bench()
    assert bench.take("shellies/shelly1pm-A1B2C3/relay/0", b"on") == Reading("shelly-a1b2c3", None, {"output": True})
    assert bench.take("shellies/shelly1pm-A1B2C3/relay/0/power", b"120.5") == Reading(
        "shelly-a1b2c3", None, {"power": 120.5}
    )
    assert bench.take("shellies/shelly1pm-A1B2C3/relay/0/energy", b"600") == Reading(
        "shelly-a1b2c3", None, {"energy": 10.0}
    )
    assert bench.take("shellies/announce", {"id": "shelly1pm-A1B2C3"}) is None
    bench.take("shellies/shelly1pm-A1B2C3/online", b"true")
    assert bench.live.devices["shelly-a1b2c3"].available is True


@pytest.mark.parametrize("topic", ["tele/status/power", "other/online", "other/status/switch:0", "shellies/x/y"])
def test_topics_of_others_that_look_like_a_shelly_s_are_left_alone(topic: str) -> None:
    assert Bench().take(topic, b"what ever") is None


def test_a_sensor_s_own_topics_come_first() -> None:
    """Who describes a topic means what he says, and no broker sends it twice because two filters catch it."""
    bench = Bench(sensors=[{"topic": "house/+/power", "device": "own"}], zigbee2mqtt="")
    assert bench.take("house/status/power", {"power": 1}) == Reading("own", None, {"power": 1})
    topics = [filter_.topic for filter_ in bench.routes.filters()]
    assert topics == ["house/+/power", "+/online", "+/events/rpc", "shellies/#"]


def test_without_prefixes_there_are_no_shellies() -> None:
    bench = Bench(shelly=[])
    assert not [filter_ for filter_ in bench.routes.filters() if "zigbee2mqtt" not in filter_.topic]
    with pytest.raises(UnreadablePayload):
        bench.take("shellies/shelly1pm-A1B2C3/relay/0", b"on")


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"src":1}'])
def test_what_is_no_frame_is_unreadable(payload: bytes) -> None:
    with pytest.raises(UnreadablePayload):
        Bench().take(f"{PRO}/events/rpc", payload)


@pytest.mark.parametrize(
    "frame", [{"src": "x", "result": {}}, {"src": PRO, "method": "NotifyEvent", "params": {"events": []}}]
)
def test_a_frame_without_values_says_nothing(frame: dict[str, object]) -> None:
    assert Bench().take(f"{PRO}/events/rpc", frame) is None


def test_a_new_device_under_the_prefix_of_the_one_before() -> None:
    """An owner replaces a plug and gives the new one its name: whole components are the new one's then."""
    bench = Bench()
    for src in (PRO, "shellyplus1pm-aabbccddeeff"):
        frame = {"src": src, "method": "NotifyStatus", "params": {"switch:0": {"id": 0, "apower": 1.0}}}
        bench.take("kitchen/events/rpc", frame)
    told = bench.take("kitchen/status/switch:0", SWITCH)
    assert told is not None
    assert told.device == "shelly-aabbccddeeff"


def test_one_topic_with_frames_of_ever_more_devices_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_DEVICES", 10)
    bench = Bench()

    def take(number: int) -> Reading | None:
        params = {"switch:0": {"id": 0, "apower": 1.0}}
        frame = {"src": f"shellyplus1pm-{number:012x}", "method": "NotifyStatus", "params": params}
        return bench.take("kitchen/events/rpc", frame)

    assert all(take(number) for number in range(10))
    with pytest.raises(UnreadablePayload, match="more than 10 Shelly devices"):
        take(10)
    assert len(bench.live.devices) == 10
    assert take(0)


def asking() -> tuple[Routes, Live]:
    """Give routes that ask for everything what they hear by MQTT only."""
    live = Live()
    return Routes(Mqtt(), live, "us/statuses"), live


def test_who_is_online_is_asked_for_everything_once() -> None:
    """A device that we hear after it connected tells only what changes: its values would come one by one."""
    routes, _ = asking()
    assert "us/statuses/rpc" in [filter_.topic for filter_ in routes.filters()]
    shelly = routes.shelly
    for payload in (b"false", b"perhaps", b"true", b"true"):
        routes.reading(f"{PRO}/online", payload, 0)
    assert shelly.unasked.is_set()
    assert prefixes(shelly) == [PRO]
    assert not shelly.unasked.is_set()
    routes.reading(f"{PRO}/online", b"true", 0)
    assert prefixes(shelly) == []
    shelly.forget_asked()
    routes.reading(f"{PRO}/online", b"true", 0)
    assert prefixes(shelly) == [PRO]


def prefixes(shelly: module.ShellyTopics) -> list[str]:
    """Return who is to be asked."""
    return [prefix for prefix, _ in shelly.take_unasked()]


def test_the_answer_is_a_reading() -> None:
    """Also of a device under a prefix of its owner's, which nobody knew: now it is known."""
    routes, live = asking()
    routes.reading("garage/online", b"true", 0)
    ((prefix, number),) = routes.shelly.take_unasked()
    assert prefix == "garage"
    answer = {"id": number, "src": PRO, "dst": "us/statuses", "result": {"switch:0": SWITCH, "sys": {}}}
    reading = routes.reading("us/statuses/rpc", orjson.dumps(answer), 0)
    assert reading is not None
    assert (reading.device, reading.time, reading.values["power"]) == (DEVICE, None, 5.2)
    assert live.devices[DEVICE].name == PRO
    assert routes.shelly.prefix(DEVICE) == "garage"
    routes.shelly.forget_asked()
    routes.reading(f"{PRO}/online", b"true", 0)
    assert prefixes(routes.shelly) == []


def test_an_answer_to_an_earlier_question_says_nothing_of_prefixes() -> None:
    """The broker may have kept it for us: who stands behind which prefix may have changed."""
    routes, _ = asking()
    routes.reading("garage/online", b"true", 0)
    ((_, number),) = routes.shelly.take_unasked()
    routes.shelly.forget_asked()
    routes.reading("kitchen/online", b"true", 0)
    ((_, other),) = routes.shelly.take_unasked()
    assert other != number
    answer = {"id": number, "src": PRO, "result": {"switch:0": SWITCH}}
    assert routes.reading("us/statuses/rpc", orjson.dumps(answer), 0) is not None
    assert routes.shelly.prefix(DEVICE) is None


@pytest.mark.parametrize(
    "answer",
    [{"src": PRO, "error": {"code": 404, "message": "?"}}, {"src": "x", "result": {}}, {"src": PRO, "result": 1}],
)
def test_an_answer_without_a_status_says_nothing(answer: dict[str, object]) -> None:
    routes, _ = asking()
    assert routes.reading("us/statuses/rpc", orjson.dumps({"id": 1, **answer}), 0) is None


def test_who_has_told_everything_is_not_asked() -> None:
    routes, _ = asking()
    frame = {"src": PRO, "method": "NotifyFullStatus", "params": {"switch:0": SWITCH}}
    routes.reading(f"{PRO}/events/rpc", orjson.dumps(frame), 0)
    routes.reading(f"{PRO}/online", b"true", 0)
    assert not routes.shelly.unasked.is_set()


def test_gen1_devices_are_not_asked() -> None:
    routes, _ = asking()
    routes.reading("shellies/shelly1pm-A1B2C3/online", b"true", 0)
    assert not routes.shelly.unasked.is_set()


def test_the_prefix_of_a_device_is_where_it_was_heard() -> None:
    bench = Bench(shelly=["+", "house/+"])
    shelly = bench.routes.shelly
    assert shelly.prefix(DEVICE) is None
    bench.take(f"{PRO}/online", b"true")
    assert shelly.prefix(DEVICE) == PRO
    bench.notify({"apower": 7}, prefix="house/garage")
    assert shelly.prefix(DEVICE) == "house/garage"
    bench.take("shellies/shelly1pm-A1B2C3/relay/0", b"on")
    assert shelly.prefix("shelly-a1b2c3") == "shellies/shelly1pm-A1B2C3"


def test_a_prefix_that_another_device_has_now_is_nobody_else_s() -> None:
    """What is meant for the plug before must not switch the one that stands there now."""
    bench = Bench()
    for src in (PRO, "shellyplus1pm-aabbccddeeff"):
        frame = {"src": src, "method": "NotifyStatus", "params": {"switch:0": {"id": 0, "apower": 1.0}}}
        bench.take("kitchen/events/rpc", frame)
    assert bench.routes.shelly.prefix("shelly-aabbccddeeff") == "kitchen"
    assert bench.routes.shelly.prefix(DEVICE) is None
