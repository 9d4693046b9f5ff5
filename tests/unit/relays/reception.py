"""How a daemon hears simulated devices: late, in bursts, with losses and repetitions; and how it commands them.

Time is the uptime in seconds.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from edge_energy.devices import shelly_gen1
from edge_energy.devices.shelly_gen2 import Status
from edge_energy.devices.shelly_rpc import device_id
from edge_energy.devices.zigbee2mqtt import Bridge
from simulator.house_time import HOUR
from simulator.shelly.digest import Digest
from simulator.shelly.gen1 import Gen1Device
from simulator.shelly.gen2 import Gen2Device
from simulator.shelly.methods import Methods
from simulator.shelly.moment import Clock, Moment
from simulator.shelly.product import PRODUCTS, Identity
from simulator.zigbee2mqtt import Options, Zigbee2Mqtt
from simulator.zigbee_products import TS011F_POLLED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from edge_energy.reading import Values
    from simulator.house import House
    from simulator.message import Message
    from simulator.outlet import Outlet
    from simulator.zigbee_device import ZigbeeDevice

DATE = datetime(2026, 10, 20, tzinfo=UTC)  # at the start
LONGEST_DELAY = 90.0  # s
LATE = 60.0  # s; what is older by its own time is recorded and not live
POLL = 60.0  # s between two questions to a Shelly


class Troubles(NamedTuple):
    """How often something happens to a message: an unfortunate house, if not said otherwise."""

    lost: float = 0.02
    repeated: float = 0.2
    """Of the steps of each device: a bridge with a cache says again what it knows, old or not."""
    stalled: float = 1 / 2000
    """It is held up, and everything behind it."""
    slow: float = 0.1
    """Of the hours: all messages are late."""
    missed: float = 0.1
    """A poll that a plug does not answer; it answers the next one."""


NONE = Troubles(0, 0, 0, 0, 0)


class Line:
    """The way of messages to the daemon: in order, late by `lag` and a little more, sometimes held up."""

    def __init__(self, rng: Random, troubles: Troubles, lag: float = 0.0) -> None:
        self._rng = rng
        self._troubles = troubles
        self._lag = self._usual = lag
        self._hour = -1.0
        self._clear_at = 0.0
        self._queue: deque[tuple[float, Any]] = deque()

    def send(self, message: Any, now: float) -> None:
        """Put a message on the way; it may be lost."""
        if now // HOUR != self._hour:
            slow = self._rng.random() < self._troubles.slow
            self._hour, self._lag = now // HOUR, self._rng.uniform(0, LONGEST_DELAY) if slow else self._usual
        if self._rng.random() < self._troubles.lost:
            return
        stalled = self._rng.random() < self._troubles.stalled
        delay = self._lag + self._rng.uniform(0, LONGEST_DELAY if stalled else 1)
        self._clear_at = max(self._clear_at, now + min(delay, LONGEST_DELAY))
        self._queue.append((self._clear_at, message))

    def arrived(self, now: float) -> Iterator[tuple[float, Any]]:
        """Yield what has arrived, with the instants."""
        while self._queue and self._queue[0][0] <= now:
            yield self._queue.popleft()


class ZigbeeSide:
    """One Zigbee2MQTT with some devices; all messages of a bridge go over one connection."""

    def __init__(
        self, house: House, devices: list[ZigbeeDevice], way: Line, rng: Random, troubles: Troubles, **options: Any
    ) -> None:
        self.devices = {device.name: device for device in devices}
        self._now = 0.0
        self._rng = rng
        self._troubles = troubles
        self._missed: set[str] = set()
        self._caches = options.get("cache_state", True)
        self._line = way
        self._bridge = Zigbee2Mqtt(house, devices, Options(**options), lambda: DATE + timedelta(seconds=self._now))
        self._decoder = Bridge()
        hello = {message.topic.rpartition("bridge/")[2]: message.payload for message in self._bridge.hello()}
        self._decoder.take_info(hello["info"])
        self._decoder.take_devices(orjson.loads(hello["devices"]))

    def step(self, house_now: float, now: float) -> None:
        """Let the devices report."""
        self._now = now
        for device in self.devices.values():
            for fresh in device.due(house_now):
                if not (device.model is TS011F_POLLED and "power" in fresh and self._misses(device.name)):
                    self._send(self._bridge.payload(device, fresh))
            if self._caches and self._rng.random() < self._troubles.repeated:
                self._send(self._bridge.payload(device, {}))

    def _misses(self, name: str) -> bool:
        """Tell whether a poll is not answered; never two after each other."""
        if name in self._missed:
            self._missed.remove(name)
        elif self._rng.random() < self._troubles.missed:
            self._missed.add(name)
        return name in self._missed

    def switch(self, name: str, on: bool) -> None:  # noqa: FBT001
        """Send a command, and ask for the state."""
        for verb, payload in (("set", b"ON" if on else b"OFF"), ("get", b'{"state":""}')):
            for message in self._bridge.receive(f"zigbee2mqtt/{name}/{verb}", payload):
                self._send(message)

    def readings(self, now: float) -> Iterator[tuple[float, str, Values]]:
        """Yield what the daemon hears: instant, device, values."""
        for at, message in self._line.arrived(now):
            reading = self._decoder.reading(
                message.topic.removeprefix("zigbee2mqtt/"), message.payload, round(at * 1e9)
            )
            late = reading.time is not None and DATE.timestamp() + at - reading.time / 1e9 >= LATE
            if not late:
                yield at, reading.device, reading.values

    def _send(self, message: Message) -> None:
        if "/bridge/" not in message.topic:
            self._line.send(message, self._now)


class ShellySide:
    """One Shelly: Gen2 by WebSocket, Gen1 by MQTT; commands and their confirmation go by HTTP."""

    def __init__(self, product: str, outlet: Outlet, way: Line, rng: Random) -> None:
        identity = Identity(product, PRODUCTS[product])
        self.id = device_id(identity.id) or ""
        self.reachable = True
        clock = Clock(0.0)
        self._gen1 = Gen1Device(identity, outlet, clock, None)
        self._gen2 = Gen2Device(identity, outlet, clock, Digest(identity.id, 1, rng))
        self._is_gen1 = PRODUCTS[product].gen == 1
        self._device: Gen1Device | Gen2Device = self._gen1 if self._is_gen1 else self._gen2
        self._methods = Methods(self._gen2)
        self._status = Status()
        self._line = way
        self._asked = -POLL

    def boot(self, moment: Moment) -> None:
        """Begin."""
        self._device.boot(moment)

    def step(self, moment: Moment, now: float) -> None:
        """Let it live and tell, and answer the daemon's questions."""
        self._device.advance(moment)
        self._tell(now)
        if now - self._asked >= POLL and not self._is_gen1 and self.reachable:
            self._asked = now
            self._line.send(self._gen2.status(), now)

    def switch(self, on: bool, now: float) -> bool:  # noqa: FBT001
        """Send a command; tell whether it was confirmed."""
        if self.reachable and self._is_gen1:
            self._gen1.turn({"turn": "on" if on else "off"})
        elif self.reachable:
            self._methods.call("Switch.Set", {"id": 0, "on": on}, "HTTP_in")
        self._tell(now)
        return self.reachable

    def _tell(self, now: float) -> None:
        """Send what is new; out of reach, it is lost."""
        told = self._gen1.take_topics().items() if self._is_gen1 else [news.params for news in self._gen2.take_news()]
        for message in told if self.reachable else ():
            self._line.send(message, now)

    def readings(self, now: float) -> Iterator[tuple[float, str, Values]]:
        """Yield what the daemon hears: instant, device, values."""
        for at, message in self._line.arrived(now):
            if self._is_gen1:
                values = shelly_gen1.topic_values(message[0], message[1].encode())
            else:
                values = self._status.full(message) if "sys" in message else self._status.change(message)
            yield at, self.id, values

    def press(self) -> None:
        """Press its button."""
        if self._is_gen1:
            self._gen1.press()
        elif self._gen2.switch:
            self._gen2.switch.press()
