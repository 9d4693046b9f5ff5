"""Messages at a given rate, for measuring a consumer: every one numbered, so that a lost one is missed. No I/O."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.message import Message
    from simulator.zigbee2mqtt import Zigbee2Mqtt

MOST_PER_DEVICE = 100  # messages a second: last_seen tells a thousand apart, and may not run ahead of the clock


class Barrage:
    """Goes round all devices; each message carries everything its device knows, and `seq` counts from 1."""

    def __init__(self, bridge: Zigbee2Mqtt, rate: float) -> None:
        self.rate = rate
        self.seq = 0
        self._bridge = bridge
        self._turn = itertools.cycle(bridge.devices)

    def messages(self, count: int) -> Iterator[Message]:
        """Compose the next `count` messages."""
        for _ in range(count):
            device = next(self._turn)
            self.seq += 1
            yield self._bridge.payload(device, device.values(), seq=self.seq)
