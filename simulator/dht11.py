"""A microcontroller with a DHT11 that publishes plain JSON, as in the MQTT sensor guide. No I/O."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import orjson

from simulator.house import CABINET
from simulator.message import Message
from simulator.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.house import House

TOPIC = "dht11/sensor/data"
INTERVAL = 5.0
FAULT_EVERY = 3

# What broken wiring, hurried firmware and strangers on the broker really send, one after the other.
HOSTILE = (
    b'{"temperature":NaN,"humidity":NaN}',
    b'{"temperature":"nan","humidity":"nan"}',
    b'{"temperature":null,"humidity":null}',
    b'{"temperature":25.5,"humi',
    b"",
    b"Failed to read from DHT sensor!",
    b'{"temperature":"25.5","humidity":"60"}',
    b'{"temperature":-127,"humidity":255}',
    b'{"temperature":1e999,"humidity":-1e999}',
    b'{"temperature":25.5}',
    b'{"temperature":{"value":25.5,"unit":"C"},"humidity":[60]}',
    b'{"temperature":true,"humidity":false}',
    b"[25.5,60]",
    b"25.5",
    b"null",
    b"\xff\xfe\x00temperature",
    b'{"temperature":25.5,"humidity":60,"temperature":85}',
    b'{"temp\xc3\xa9rature":25.5,"humidit\xc3\xa9":60}',
    b'{"temperature":25.5,"humidity":60}garbage',
    b"[" * 20_000,
    b'{"temperature":25.5,"humidity":60,"note":"' + b"x" * 70_000 + b'"}',
    b'{"temperature":' + b"9" * 400 + b',"humidity":60}',
)


class Dht11:
    """Measures the technical cabinet every five seconds: tenths of a degree, whole percents of humidity."""

    def __init__(self, house: House) -> None:
        self.filters: list[str] = []
        self._house = house
        self._next = house.now
        self._count = 0
        self._hostile = itertools.cycle(HOSTILE)

    def hello(self) -> Iterable[Message]:
        """Nothing: it is a sensor, not a bridge."""
        return ()

    def due(self) -> Iterable[Message]:
        """Publish when the interval has passed."""
        if self._house.now < self._next:
            return ()
        self._next = self._house.now + INTERVAL
        self._count += 1
        return (Message(TOPIC, self._payload(), qos=1),)

    def receive(self, topic: str, payload: bytes) -> Iterable[Message]:  # noqa: ARG002
        """Nothing: it does not listen."""
        return ()

    def goodbye(self) -> Iterable[Message]:
        """Nothing: its power is cut."""
        return ()

    def _payload(self) -> bytes:
        if self._house.scenario is Scenario.SENSOR_FAULT and self._count % FAULT_EVERY == 0:
            return next(self._hostile)
        climate = self._house.climates[CABINET]
        return orjson.dumps({"temperature": round(climate.temperature, 1), "humidity": round(climate.humidity)})
