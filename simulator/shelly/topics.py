"""What devices publish over MQTT, and what they do when something is published to them. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import orjson

from simulator.message import Message
from simulator.shelly import rpc
from simulator.shelly.product import GEN1_FIRMWARE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from simulator.shelly.gen1 import Gen1Device
    from simulator.shelly.gen2 import Gen2Device, News
    from simulator.shelly.methods import Methods

GEN1_BASE = "shellies"


class Topics(Protocol):
    """The MQTT side of a device: pure, it answers what to publish."""

    filters: list[str]
    last_will: Message

    def hello(self) -> Iterable[Message]:
        """Say what is published on each connect."""

    def receive(self, topic: str, payload: bytes) -> Iterable[Message]:
        """Act on a message that arrived, and say what is answered."""


class Gen2Topics:
    """Topics below the prefix that the configuration names."""

    def __init__(self, device: Gen2Device, methods: Methods) -> None:
        self._device = device
        self._methods = methods
        self._config = device.mqtt.active
        self._prefix = self._config["topic_prefix"]
        names = ["rpc"] * self._config["enable_rpc"]
        names += ["command", "command/#"] * self._config["enable_control"]
        self.filters = [f"{self._prefix}/{name}" for name in names]
        self.last_will = Message(f"{self._prefix}/online", b"false", qos=1, retain=True)

    def hello(self) -> Iterator[Message]:
        """Say that the device is there, and its full status."""
        yield Message(f"{self._prefix}/online", b"true", qos=1, retain=True)
        yield from self.news([self._device.full_status()])

    def news(self, news: Iterable[News]) -> Iterator[Message]:
        """Publish notifications, and the whole status of what changed where that is wanted."""
        for method, params in news:
            if self._config["rpc_ntf"]:
                dst = f"{self._prefix}/events"
                frame = rpc.notification(self._device.identity.id, dst, method, params)
                yield Message(f"{dst}/rpc", orjson.dumps(frame), qos=1)
            if self._config["status_ntf"] and method != "NotifyEvent":
                yield from (self._status(key) for key in params if key in self._device.components)

    def receive(self, topic: str, payload: bytes) -> Iterator[Message]:
        """Answer requests, carry out commands."""
        part = topic.removeprefix(f"{self._prefix}/")
        if part == "rpc":
            yield from self._rpc(payload)
        elif part.startswith("command"):
            yield from self._command(part.removeprefix("command").removeprefix("/"), payload.decode(errors="replace"))

    def _rpc(self, payload: bytes) -> Iterator[Message]:
        request = rpc.parse(payload)
        if request is None or request.src is None:
            return
        try:
            outcome = self._methods.call(request.method, request.params, "MQTT")
        except rpc.RpcError as error:
            outcome = error
        frame = rpc.answer(request, self._device.identity.id, outcome)
        yield Message(f"{request.src}/rpc", orjson.dumps(frame), qos=1)

    def _command(self, component: str, payload: str) -> Iterator[Message]:
        word, _, seconds = payload.partition(",")
        if word == "status_update":
            keys = [component] if component else list(self._device.components)
            yield from (self._status(key) for key in keys if key in self._device.components)
            return
        try:
            self._switch(component, word, float(seconds) if seconds else None)
        except (ValueError, rpc.RpcError) as error:
            yield Message(f"{self._prefix}/error/{component}", str(error).encode(), qos=1)

    def _switch(self, component: str, word: str, seconds: float | None) -> None:
        if component != "switch:0" or word not in {"on", "off", "toggle"}:
            raise ValueError(f"unknown command {word}")
        after = {"toggle_after": seconds}
        if word == "toggle":
            self._methods.call("Switch.Toggle", {"id": 0, **after}, "MQTT")
        else:
            self._methods.call("Switch.Set", {"id": 0, "on": word == "on", **after}, "MQTT")

    def _status(self, key: str) -> Message:
        status = self._device.components[key].status()
        return Message(f"{self._prefix}/status/{key}", orjson.dumps(status), qos=1)


class Gen1Topics:
    """Topics below shellies/<id>/."""

    def __init__(self, device: Gen1Device) -> None:
        self._device = device
        self._base = f"{GEN1_BASE}/{device.identity.id}"
        self.filters = [f"{GEN1_BASE}/command", f"{self._base}/command", f"{self._base}/relay/0/command"]
        self.last_will = Message(f"{self._base}/online", b"false", qos=1, retain=True)

    def hello(self) -> Iterator[Message]:
        """Say that the device is there, what it is and all values."""
        yield Message(f"{self._base}/online", b"true", qos=1, retain=True)
        yield from self._announce()
        yield from self.news(self._device.topics())

    def news(self, topics: dict[str, str]) -> Iterator[Message]:
        """Publish values."""
        for part, value in topics.items():
            yield Message(f"{self._base}/{part}", value.encode())

    def receive(self, topic: str, payload: bytes) -> Iterator[Message]:
        """Carry out commands."""
        word = payload.decode(errors="replace")
        if topic == f"{self._base}/relay/0/command":
            self._device.command(word)
            yield from self.news(self._device.take_topics())
        elif word == "announce":
            yield from self._announce()
        elif word == "update":
            yield from self.news(self._device.topics())

    def _announce(self) -> Iterator[Message]:
        identity = self._device.identity
        body = {"id": identity.id, "model": identity.product.model, "mac": identity.mac, "ip": "127.0.0.1"}
        payload = orjson.dumps(body | {"new_fw": False, "fw_ver": GEN1_FIRMWARE})
        yield Message(f"{GEN1_BASE}/announce", payload)
        yield Message(f"{self._base}/announce", payload)
