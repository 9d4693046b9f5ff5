"""Zigbee2MQTT: what is set, and that the device itself is asked whether it did it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.errors import Unavailable, UnreadablePayload
from edge_energy.relays.drivers import zigbee2mqtt as module
from edge_energy.relays.drivers.way import State
from edge_energy.relays.drivers.zigbee2mqtt import LONGEST_ON, Zigbee2Mqtt
from tests.unit.relays.drivers.fakes import FakeBroker, Message

TOPIC = "zigbee2mqtt/house/boiler"
JSON = st.recursive(
    st.none() | st.booleans() | st.text() | st.sampled_from(["ON", "OFF", "on"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.just("state") | st.text(), inner),
)


def plug(broker: FakeBroker, channel: str = "", *, timer: bool = True) -> Zigbee2Mqtt:
    return Zigbee2Mqtt(broker, "house/boiler", channel, timer=timer)


def says(**payload: Any) -> Message:
    return TOPIC, orjson.dumps(payload)


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TAKEN", 0.02)
    monkeypatch.setattr(module, "TIMEOUT", 0.02)
    monkeypatch.setattr(module, "READ", 0.02)


@pytest.mark.usefixtures("_soon")
@pytest.mark.parametrize(
    ("on", "for_", "channel", "payload"),
    [
        (True, None, "", {"state": "ON"}),
        (False, None, "l1", {"state_l1": "OFF"}),
        (True, 60.0, "", {"state": "ON", "on_time": 60.0}),
        (True, 30.04, "l2", {"state_l2": "ON", "on_time": 30.0}),
        (True, 10_800.0, "", {"state": "ON", "on_time": LONGEST_ON}),  # one tenth more would mean for ever
        (False, 60.0, "", {"state": "OFF"}),
    ],
)
async def test_what_is_set(*, on: bool, for_: float | None, channel: str, payload: dict[str, Any]) -> None:
    """Zigbee has a timer for closing only."""
    broker = FakeBroker()
    await plug(broker, channel).tell(on, for_)
    assert broker.published == [(f"{TOPIC}/set", payload)]
    assert LONGEST_ON * 10 < 65535


async def test_a_command_ends_with_what_zigbee2mqtt_says_of_it() -> None:
    """So that the question after it is not overtaken by this answer; a payload with the old state is none."""
    broker = FakeBroker(lambda _topic, _payload: [says(state="OFF", power=5), says(power=5), says(state="ON")])
    await plug(broker).tell(True, None)
    assert not broker.waiting


async def test_the_device_itself_is_asked() -> None:
    """What is published after a command is what was expected of it."""
    broker = FakeBroker(lambda _topic, _payload: [says(power=3), says(state_l2="ON"), says(state_l1="OFF")])
    assert await plug(broker, "l1").look() == State(False)
    assert broker.published == [(f"{TOPIC}/get", {"state_l1": ""})]


@pytest.mark.usefixtures("_soon")
async def test_where_the_device_cannot_be_asked_that_it_took_the_command_has_to_do() -> None:
    """Tuya's TS0601: Zigbee2MQTT has no converter for the question. It counts for this command alone."""
    broker = FakeBroker(lambda topic, _payload: [says(state="ON")] if topic.endswith("/set") else [])
    relay = plug(broker)
    with pytest.raises(Unavailable):
        await relay.look()
    await relay.tell(True, None)
    assert await relay.look() == State(True)
    await relay.tell(False, None)
    with pytest.raises(Unavailable):
        await relay.look()


@pytest.mark.usefixtures("_soon")
async def test_a_device_that_does_not_answer_is_away() -> None:
    """Zigbee2MQTT tells its log, and nobody else."""
    broker = FakeBroker()
    await plug(broker).tell(True, None)
    with pytest.raises(Unavailable):
        await plug(broker).look()
    assert not broker.waiting


async def test_an_offline_bridge_is_said_at_once() -> None:
    """Nothing is left at the broker that would switch when it comes back."""
    broker = FakeBroker()
    broker.zigbee_online = False
    for work in (plug(broker).tell(True, None), plug(broker).tell(True, 60), plug(broker).look()):
        with pytest.raises(Unavailable, match="Zigbee2MQTT is offline"):
            await work
    assert not broker.published


@given(st.binary() | JSON.map(orjson.dumps))
def test_whatever_comes_is_a_state_or_nothing(payload: bytes) -> None:
    with suppress(UnreadablePayload):
        assert plug(FakeBroker())._state(payload) in (None, State(True), State(False))
