"""A house with its bridge, at a known time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from simulator.house import House
from simulator.house_time import from_datetime
from simulator.installation import zigbee_devices
from simulator.zigbee2mqtt import Options, Zigbee2Mqtt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from simulator.message import Message
    from simulator.zigbee_device import ZigbeeDevice

START = from_datetime(datetime(2026, 6, 21, 10, 30))  # noqa: DTZ001 - house time has no zone
WALL = datetime(2026, 11, 20, 9, 30, 0, 123000, tzinfo=UTC)


class Bench:
    """A house and the bridge in front of it."""

    def __init__(self, seed: int = 1, extra: int = 0, **options: Any) -> None:
        self.house = House(seed, START, extra=extra)
        self.bridge = Zigbee2Mqtt(
            self.house, zigbee_devices(self.house, seed), Options(**options), clock=lambda: WALL
        )

    def device(self, name: str) -> ZigbeeDevice:
        """Find a device by its friendly name."""
        return next(device for device in self.bridge.devices if device.name == name)

    def run(self, seconds: int) -> list[Message]:
        """Let the house live for so many seconds, and give what was published."""
        messages: list[Message] = []
        for _ in range(seconds):
            self.house.step(1)
            messages += self.bridge.due()
        return messages

    def send(self, topic: str, payload: str) -> list[Message]:
        """Publish to a topic below the base topic, and give what is answered."""
        return list(self.bridge.receive(f"zigbee2mqtt/{topic}", payload.encode()))


def bodies(messages: Iterable[Message], name: str = "") -> list[Any]:
    """Give the decoded payloads, of one device or of all."""
    return [orjson.loads(m.payload) for m in messages if not name or m.topic == f"zigbee2mqtt/{name}"]


@pytest.fixture
def bench() -> Callable[..., Bench]:
    """Make a bench with the given options of the bridge."""
    return Bench


@pytest.fixture
def decoded() -> Callable[..., list[Any]]:
    """Give the decoder of messages."""
    return bodies
