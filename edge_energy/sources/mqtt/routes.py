"""Which topics to subscribe, and what a message on each of them means."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import orjson
import structlog

from edge_energy.config.values import overlapping
from edge_energy.devices import payload as json_payload
from edge_energy.devices.json_sensor import JsonSensor
from edge_energy.devices.zigbee2mqtt import Bridge, Device
from edge_energy.errors import UnreadablePayload
from edge_energy.sources.mqtt.connection import Filter
from edge_energy.sources.mqtt.shelly import ShellyTopics

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_energy.config import Mqtt
    from edge_energy.live import Live
    from edge_energy.reading import Reading

    Handler = Callable[[bytes, int], Reading | None]

log = structlog.get_logger()

MOST_TOPICS = 20_000  # a house has a hundred; a publisher that invents topics must not fill the memory


class Routes:
    """Dispatches messages to the decoders of one broker's configuration."""

    def __init__(self, settings: Mqtt, live: Live, statuses: str = "") -> None:
        self.base = settings.zigbee2mqtt
        self.bridge = Bridge() if self.base else None
        self.sensors = [JsonSensor(sensor) for sensor in settings.sensors]
        self.shelly = ShellyTopics(settings.shelly, live, statuses)
        # A topic that two filters catch comes twice in MQTT 5 (mosquitto 2.0.11). Who describes it knows better.
        self._shelly_filters = [
            filter_
            for filter_ in self.shelly.filters()
            if not any(overlapping(filter_.topic, sensor.filter) for sensor in self.sensors)
        ]
        if len(self._shelly_filters) < len(list(self.shelly.filters())):
            log.warning(
                "[[mqtt.sensors]] catch topics of Shelly devices too, which are not subscribed for these: "
                "name the beginnings of their topics in [[mqtt]] shelly",
                subscribed=[filter_.topic for filter_ in self._shelly_filters],
            )
        self.described: list[Device] = []
        """Devices whose name or model changed, until somebody took note of it."""
        self.filters_changed = asyncio.Event()
        self._qos = settings.zigbee2mqtt_qos
        self._live = live
        self._groups: set[str] = set()
        self._handlers: dict[str, Handler] = {}
        self._bridge_topics = {
            f"{self.base}/bridge/state": self._take_state,
            f"{self.base}/bridge/info": self._take_info,
            f"{self.base}/bridge/devices": self._take_devices,
            f"{self.base}/bridge/groups": self._take_groups,
        }

    def filters(self) -> list[Filter]:
        """Return all subscriptions, the bridge's before the devices', so that names come first.

        There is none that catches `bridge/definitions` (230 kB at every change): names without a slash share a
        `+`, each other name has a filter of its own.
        """
        filters = []
        if self.bridge is not None:
            filters = [Filter(topic, 1, retained=True) for topic in self._bridge_topics]
            filters += [
                Filter(f"{self.base}/+/availability", 1, retained=True),
                Filter(f"{self.base}/+", self._qos),
            ]
            for name in sorted(name for name in self.bridge.names() if "/" in name):
                filters.append(Filter(f"{self.base}/{name}/availability", 1, retained=True))
                if name.count("/") > 1 or not name.endswith("/availability"):
                    filters.append(Filter(f"{self.base}/{name}", self._qos))
        return filters + [Filter(sensor.filter, sensor.qos) for sensor in self.sensors] + self._shelly_filters

    def reading(self, topic: str, payload: bytes, uptime: int) -> Reading | None:
        """Return the reading of a message, or None where it says something else; raises `UnreadablePayload`."""
        handler = self._handlers.get(topic)
        if handler is None:
            if len(self._handlers) >= MOST_TOPICS:
                raise UnreadablePayload(f"more than {MOST_TOPICS} topics")
            handler = self._handlers[topic] = self._handler(topic)
        return handler(payload, uptime)

    def increments(self, topic: str) -> bool:
        """Tell whether energy on this topic comes in increments."""
        return any(sensor.increments and _matches(sensor.filter, topic) for sensor in self.sensors)

    def _handler(self, topic: str) -> Handler:
        if self.bridge is not None and topic.startswith(f"{self.base}/"):
            if topic in self._bridge_topics:
                return self._bridge_topics[topic]
            name = topic[len(self.base) + 1 :]
            if not name.startswith("bridge/"):  # what is left of those must not pass for devices, and be subscribed
                if name.endswith("/availability") and name not in self.bridge.names():
                    return partial(self._take_availability, name.removesuffix("/availability"))
                return partial(self._device, name)
        for sensor in self.sensors:
            if _matches(sensor.filter, topic):
                return partial(_sensor, sensor, sensor.device(topic))
        if handler := self.shelly.handler(topic):
            return handler
        if any(_matches(filter_.topic, topic) for filter_ in self._shelly_filters):
            return _nothing  # a topic of somebody else that looks like a Shelly's
        raise UnreadablePayload("no source wants this topic: a subscription of an older configuration")

    def _device(self, name: str, payload: bytes, uptime: int) -> Reading | None:
        if self.bridge is None or name in self._groups:
            return None
        return self.bridge.reading(name, payload, uptime)

    # -- the bridge's own topics ------------------------------------------------------------------------------

    def _take_state(self, payload: bytes, _uptime: int) -> None:
        if self.bridge is not None:
            self.bridge.take_state(payload)

    def _take_info(self, payload: bytes, _uptime: int) -> None:
        if self.bridge is not None:
            self.bridge.take_info(payload)

    def _take_devices(self, payload: bytes, _uptime: int) -> None:
        if self.bridge is None:
            return
        self.described += self.bridge.take_devices(_load(payload))
        for device in self.bridge.devices():
            self._live.describe(device.id, device.name, device.model)
        self.filters_changed.set()

    def _take_groups(self, payload: bytes, _uptime: int) -> None:
        groups = _load(payload)
        if isinstance(groups, list):
            names = (group.get("friendly_name") for group in groups if isinstance(group, dict))
            self._groups = {name for name in names if isinstance(name, str)}

    def _take_availability(self, name: str, payload: bytes, _uptime: int) -> None:
        if self.bridge is None or name in self._groups or name not in self.bridge.names():
            return
        text = payload.decode(errors="replace")
        state = json_payload.parse(payload).get("state") if text.startswith("{") else text
        self._live.availability(self.bridge.device(name).id, available=state == "online")


def _sensor(sensor: JsonSensor, device: str, payload: bytes, _uptime: int) -> Reading:
    return sensor.reading(device, payload)


def _nothing(_payload: bytes, _uptime: int) -> None:
    return None


def _load(payload: bytes) -> object:
    """Decode a bridge topic, which may be larger than a device's payload."""
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise UnreadablePayload(f"not JSON: {error}") from None


def _matches(pattern: str, topic: str) -> bool:
    """Tell whether a topic matches an MQTT filter."""
    parts, levels = pattern.split("/"), topic.split("/")
    if parts[-1] == "#":
        parts = parts[:-1]
        levels = levels[: len(parts)] if len(levels) >= len(parts) else levels
    return len(parts) == len(levels) and all(part in ("+", level) for part, level in zip(parts, levels, strict=True))
