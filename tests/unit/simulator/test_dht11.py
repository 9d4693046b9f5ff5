"""The plain sensor speaks as the guide says, and badly only where that was asked for."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import orjson
import pytest

from simulator.dht11 import HOSTILE, TOPIC, Dht11
from simulator.house import House
from simulator.house_time import from_datetime
from simulator.scenario import Scenario

if TYPE_CHECKING:
    from simulator.message import Message

START = from_datetime(datetime(2026, 6, 21, 12))  # noqa: DTZ001 - house time has no zone


def run(scenario: Scenario, seconds: int) -> list[Message]:
    house = House(1, START, scenario)
    sensor = Dht11(house)
    messages: list[Message] = []
    for _ in range(seconds):
        house.step(1)
        messages += sensor.due()
    return messages


@pytest.mark.parametrize("scenario", [Scenario.NORMAL, Scenario.HEATWAVE, Scenario.OVERLOAD])
def test_a_message_every_five_seconds(scenario: Scenario) -> None:
    """Two numbers, tenths of a degree and whole percents, with QoS 1."""
    messages = run(scenario, 300)
    assert len(messages) == 60
    for message in messages:
        assert (message.topic, message.qos, message.retain) == (TOPIC, 1, False)
        body = orjson.loads(message.payload)
        assert list(body) == ["temperature", "humidity"]
        assert body["temperature"] == round(body["temperature"], 1)
        assert isinstance(body["humidity"], int)
        assert (body["temperature"] > 30) == (scenario is Scenario.HEATWAVE)


def test_a_faulty_sensor_sends_everything_hostile_and_good_values_between() -> None:
    """Every third message is hostile, each kind in its turn; the others stay readable."""
    payloads = [message.payload for message in run(Scenario.SENSOR_FAULT, 5 * 3 * len(HOSTILE))]
    assert tuple(payloads[2::3]) == HOSTILE
    assert all("temperature" in orjson.loads(p) for p in payloads[0::3] + payloads[1::3])
