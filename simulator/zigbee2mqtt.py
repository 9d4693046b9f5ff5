"""Zigbee2MQTT 2.x in front of the simulated devices: what it publishes, and what it does when told. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from simulator import zigbee_topics
from simulator.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from simulator.house import House
    from simulator.zigbee_device import Values, ZigbeeDevice

ACTIVE_TIMEOUT = 600  # house seconds of silence after which a device is said to be offline
LONGEST_ON_TIME = 6553.5  # seconds: a 16-bit number of tenths


class CommandError(ValueError):
    """A command that Zigbee2MQTT refuses and writes into its log."""


@dataclass(frozen=True)
class Options:
    """The settings of Zigbee2MQTT that change what it publishes; `speed` is that of the house."""

    base_topic: str = "zigbee2mqtt"
    qos: int = 1
    last_seen: bool = True
    cache_state: bool = True
    speed: float = 1.0


class Zigbee2Mqtt:
    """The bridge: one payload for each report, merged into what is known before where `cache_state` says so."""

    def __init__(
        self, house: House, devices: list[ZigbeeDevice], options: Options, clock: Callable[[], datetime]
    ) -> None:
        self.devices = devices
        self._house = house
        self._options = options
        self._clock = clock
        self._by_name = {d.name: d for d in devices} | {d.ieee_address: d for d in devices}
        base = options.base_topic
        self._silent_since: dict[str, float] = {}
        self._offline: set[str] = set()
        self._command = re.compile(rf"{re.escape(base)}/(?!bridge/)(.+?)/(set|get)(?:/(.+))?")
        # The real one subscribes to base/# and hears itself; friendly names here have two levels at most.
        names = (f"{base}/+", f"{base}/+/+")
        verbs = ("set", "set/+", "get", "get/+")
        self.filters = [f"{name}/{verb}" for name in names for verb in verbs] + [f"{base}/bridge/request/#"]

    def last_will(self) -> Message:
        """Give what the broker publishes when the connection is lost."""
        return self._message("bridge/state", {"state": "offline"}, qos=1, retain=True)

    def hello(self) -> Iterator[Message]:
        """Publish all that is retained."""
        options = self._options
        advanced = {
            "cache_state": options.cache_state,
            "last_seen": "ISO_8601" if options.last_seen else "disable",
        }
        info = zigbee_topics.info(options.base_topic, self.devices, advanced, options.qos)
        yield self._message("bridge/state", {"state": "online"}, qos=1, retain=True)
        yield self._message("bridge/info", info, retain=True)
        yield self._message("bridge/devices", zigbee_topics.device_list(self.devices), retain=True)
        yield self._message("bridge/groups", [], retain=True)
        yield self._message("bridge/definitions", zigbee_topics.definitions(), retain=True)
        for device in self.devices:
            yield self._availability(device)

    def goodbye(self) -> Iterable[Message]:
        """Publish that the bridge ends; devices keep their availability, as with the real one."""
        return (self._message("bridge/state", {"state": "offline"}, retain=True),)

    def due(self) -> Iterator[Message]:
        """Publish what the devices report at this house time."""
        for device in self.devices:
            if self._has_gone(device) != (device.name in self._offline):
                self._offline ^= {device.name}
                yield self._availability(device)
            for fresh in device.due(self._house.now):
                yield self.payload(device, fresh)

    def payload(self, device: ZigbeeDevice, fresh: Values, **more: Any) -> Message:
        """Compose the message of a device: fresh properties or the merged cache, then last_seen and linkquality."""
        device.cache.update(fresh)
        body = dict(device.cache if self._options.cache_state else fresh)
        if self._options.last_seen:
            body["last_seen"] = device.seen(self._clock())
        body["linkquality"] = device.link_quality()
        return self._message(device.name, body | more, qos=self._options.qos)

    def receive(self, topic: str, payload: bytes) -> Iterable[Message]:
        """Carry out a command or answer a request; a refusal goes to `bridge/logging`."""
        if topic == f"{self._options.base_topic}/bridge/request/health_check":
            return (self._health(payload),)
        match = self._command.fullmatch(topic)
        if match is None:
            return ()
        name, verb, key = match.groups()
        try:
            return self._carry_out(name, verb, _parse(key, payload))
        except CommandError as error:
            log = {"level": "error", "message": str(error), "namespace": "z2m"}
            return (self._message("bridge/logging", log),)

    def _carry_out(self, name: str, verb: str, wanted: dict[str, Any]) -> list[Message]:
        device = self._by_name.get(name)
        if device is None:
            raise CommandError(f"Entity '{name}' is unknown")
        if device.mute:
            raise CommandError(f"Publish '{verb}' 'state' to '{name}' failed: 'Delivery failed for {name}'")
        if verb == "get":
            asked = {key: value for key, value in device.values().items() if key in wanted}
            return [self.payload(device, asked)] if asked else []
        unknown = wanted.keys() - {"state", "on_time", "off_wait_time"}
        if unknown or not device.relay:
            raise CommandError(f"No converter available for '{(sorted(unknown) or ['state'])[0]}' on '{name}'")
        return self._switch(device, wanted)

    def _switch(self, device: ZigbeeDevice, wanted: dict[str, Any]) -> list[Message]:
        state, on_time, relay = wanted.get("state"), wanted.get("on_time"), device.relay
        words = {"on": True, "off": False, "toggle": relay is not None and not relay.output}
        if relay is None or not isinstance(state, str) or state.lower() not in words:
            raise CommandError(f"Publish 'set' 'state' to '{device.name}' failed: '{state}' is not allowed")
        if state.lower() == "on" and on_time is not None:
            until = self._house.now + self._seconds(device, on_time)
            if not device.deaf:
                relay.switch(on=True, until=until)
            return []  # nothing is assumed of a timed command: the device itself reports its state
        on = words[state.lower()]
        if not device.deaf:
            relay.switch(on=on)
        return [self.payload(device, {"state": "ON" if on else "OFF"})]  # what the device took, not what it did

    def _seconds(self, device: ZigbeeDevice, on_time: object) -> float:
        if not isinstance(on_time, int | float) or on_time is True or not 0 < on_time <= LONGEST_ON_TIME:
            raise CommandError(f"Publish 'set' 'state' to '{device.name}' failed: on_time {on_time!r}")
        return on_time * self._options.speed

    def _has_gone(self, device: ZigbeeDevice) -> bool:
        """Tell whether a device has been out of reach for long."""
        if not device.mute:
            self._silent_since.pop(device.name, None)
            return False
        return self._house.now - self._silent_since.setdefault(device.name, self._house.now) >= ACTIVE_TIMEOUT

    def _availability(self, device: ZigbeeDevice) -> Message:
        state = "offline" if device.name in self._offline else "online"
        return self._message(f"{device.name}/availability", {"state": state}, qos=1, retain=True)

    def _health(self, payload: bytes) -> Message:
        response: dict[str, Any] = {"data": {"healthy": True}, "status": "ok"}
        try:
            request = orjson.loads(payload)
        except orjson.JSONDecodeError:
            request = None
        if isinstance(request, dict) and "transaction" in request:
            response["transaction"] = request["transaction"]
        return self._message("bridge/response/health_check", response)

    def _message(self, topic: str, body: object, *, qos: int = 0, retain: bool = False) -> Message:
        payload = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        return Message(f"{self._options.base_topic}/{topic}", payload, qos, retain)


def _parse(key: str | None, payload: bytes) -> dict[str, Any]:
    """Read a command: JSON, a bare word such as `ON`, or the value of the property that the topic names."""
    text = payload.decode(errors="replace")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = text
    if key:
        return {key: value}
    if isinstance(value, str) and value.lower() in {"on", "off", "toggle"}:
        return {"state": value}
    if not isinstance(value, dict):
        raise CommandError(f"Invalid message '{text}', skipping...")
    return value
