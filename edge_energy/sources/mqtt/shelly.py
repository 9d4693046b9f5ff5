"""Which topics Shelly devices publish on, and what a message on each of them means.

Gen2 and later: `<prefix>/events/rpc`, `<prefix>/status/<component>`, `<prefix>/online`, with the device's id as the
prefix unless its owner chose another. Gen1: `shellies/<id>/…`.

A device of Gen2 tells everything when it connects, and after that only what changes: who comes later has to ask
(`Shelly.GetStatus`), and is answered on a topic of his own.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from edge_energy.devices import payload as json_payload
from edge_energy.devices import shelly_gen1, shelly_rpc
from edge_energy.devices.shelly_gen2 import Status
from edge_energy.errors import UnreadablePayload
from edge_energy.reading import Reading
from edge_energy.sources.mqtt.connection import Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_energy.live import Live

    Handler = Callable[[bytes, int], Reading | None]

GEN1 = "shellies"
_STATUS = re.compile(r"(.+)/status/([a-z0-9]+:[0-9]+)")
_ONLINE = {b"true": True, b"false": False}
MOST_DEVICES = 5_000  # a house has a hundred; who invents names must not fill the memory


class ShellyTopics:
    """The Shelly devices of one broker."""

    def __init__(self, prefixes: tuple[str, ...], live: Live, statuses: str = "") -> None:
        """`prefixes` are topic prefixes, with + for any one level; none switches Shelly off.

        What devices are asked for comes on `<statuses>/rpc`; without `statuses` they are not asked.
        """
        self.unasked = asyncio.Event()
        """Set while there are devices to ask for everything; `take_unasked` says which."""
        self._prefixes = prefixes
        self._live = live
        self._answers = f"{statuses}/rpc" if statuses else None
        self._asked: dict[str, int] = {}
        """By topic prefix, on this connection: the number of the request, never that of an earlier one."""
        self._number = secrets.randbelow(2**30)
        self._devices: dict[str, str] = {}
        """By topic prefix, as their frames say it."""
        self._heard: dict[str, str] = {}
        """The topic prefix under which each device was heard last."""
        self._status: dict[str, Status] = {}
        self._counters: Counter[str] = Counter()

    @property
    def implausible(self) -> int:
        """How many values were outside their physical range."""
        return self._counters["implausible"] + sum(status.implausible for status in self._status.values())

    def filters(self) -> Iterator[Filter]:
        """Yield the subscriptions."""
        for prefix in self._prefixes:
            yield Filter(f"{prefix}/online", 1, retained=True)
            yield Filter(f"{prefix}/events/rpc")
            yield Filter(f"{prefix}/status/+")
        if self._prefixes:
            yield Filter(f"{GEN1}/#")
            if self._answers:
                yield Filter(self._answers)

    def handler(self, topic: str) -> Handler | None:
        """Return what takes the messages of a topic, or None where it is no topic of a Shelly."""
        if not self._prefixes:
            return None
        if topic.startswith(f"{GEN1}/"):
            name, _, tail = topic[len(GEN1) + 1 :].partition("/")
            return partial(self._gen1, name, tail)
        if topic.endswith("/events/rpc"):
            return partial(self._events, topic.removesuffix("/events/rpc"))
        if topic.endswith("/online"):
            return partial(self._gen2_online, topic.removesuffix("/online"))
        if match := _STATUS.fullmatch(topic):
            return partial(self._component, match[1], match[2])
        return self._everything if topic == self._answers else None

    def prefix(self, device: str) -> str | None:
        """Return what a device's topics begin with; None where it was not heard, or another has that prefix now."""
        prefix = self._heard.get(device)
        return prefix if prefix is not None and self._device(prefix) == device else None

    # -- asking for everything --------------------------------------------------------------------------------

    def forget_asked(self) -> None:
        """Begin with a new connection: an answer to what was asked on the one before may have been lost."""
        self._asked.clear()
        self.unasked.clear()

    def take_unasked(self) -> list[tuple[str, int]]:
        """Return the topic prefixes of the devices to ask, each once for a connection, and the requests' numbers."""
        self.unasked.clear()
        due = [prefix for prefix, number in self._asked.items() if not number]
        for prefix in due:
            self._number += 1
            self._asked[prefix] = self._number
        return [(prefix, self._asked[prefix]) for prefix in due]

    def _ask(self, prefix: str) -> None:
        """Remember to ask who stands behind a prefix, unless it has told everything already."""
        status = self._status.get(self._device(prefix) or "")
        told = status is not None and status.complete
        if self._answers and not told and prefix not in self._asked and len(self._asked) < MOST_DEVICES:
            self._asked[prefix] = 0
            self.unasked.set()

    def _everything(self, payload: bytes, _uptime: int) -> Reading | None:
        frame = shelly_rpc.parse_frame(payload)
        device = shelly_rpc.device_id(frame.src)
        if device is None or type(frame.result) is not dict:
            return None
        values = self._known(device).full(frame.result)
        prefix = next((prefix for prefix, number in self._asked.items() if 0 < number == frame.id), None)
        if prefix is not None:
            self._learn(prefix, device, frame.src)
        return Reading(device, None, values) if values else None

    # -- topics -----------------------------------------------------------------------------------------------

    def _events(self, prefix: str, payload: bytes, _uptime: int) -> Reading | None:
        frame = shelly_rpc.parse_frame(payload)
        device = shelly_rpc.device_id(frame.src)
        if device is None or frame.method not in ("NotifyStatus", "NotifyFullStatus"):
            return None
        status = self._known(device)
        self._learn(prefix, device, frame.src)
        full = frame.method == "NotifyFullStatus"
        values = status.full(frame.params) if full else status.change(frame.params)
        return Reading(device, shelly_rpc.own_time(frame.params), values) if values else None

    def _component(self, prefix: str, key: str, payload: bytes, _uptime: int) -> Reading | None:
        device = self._device(prefix)
        if device is None:  # another's topic, or a Shelly that nothing is known of yet
            return None
        self._hear(device, prefix)
        values = self._known(device).component(key, json_payload.parse(payload))
        return Reading(device, None, values) if values else None

    def _gen2_online(self, prefix: str, payload: bytes, _uptime: int) -> None:
        self._online(prefix, payload)
        if _ONLINE.get(payload):
            self._ask(prefix)

    def _online(self, prefix: str, payload: bytes) -> None:
        device, available = self._device(prefix), _ONLINE.get(payload)
        if device is not None and available is not None:
            self._live.availability(device, available=available)
            self._hear(device, prefix)

    def _gen1(self, name: str, tail: str, payload: bytes, _uptime: int) -> Reading | None:
        device = shelly_rpc.device_id(name)
        if device is None:  # `announce`, `command`, or a name that its owner chose
            return None
        if tail == "online":
            self._online(f"{GEN1}/{name}", payload)
            return None
        three_phase = shelly_gen1.is_three_phase(name)
        values = shelly_gen1.topic_values(tail, payload, three_phase=three_phase, counters=self._counters)
        self._learn(f"{GEN1}/{name}", device, name)
        return Reading(device, None, values) if values else None

    def _known(self, device: str) -> Status:
        if device not in self._status and len(self._status) >= MOST_DEVICES:
            raise UnreadablePayload(f"more than {MOST_DEVICES} Shelly devices")
        return self._status.setdefault(device, Status())

    def _device(self, prefix: str) -> str | None:
        return self._devices.get(prefix) or shelly_rpc.device_id(prefix.rpartition("/")[2])

    def _learn(self, prefix: str, device: str, name: str) -> None:
        if prefix in self._devices or len(self._devices) < MOST_DEVICES:
            self._devices[prefix] = device  # a new one may have been given the prefix of the one before
            self._hear(device, prefix)
            if device not in self._live.devices:
                self._live.describe(device, name, "")

    def _hear(self, device: str, prefix: str) -> None:
        if device in self._heard or len(self._heard) < MOST_DEVICES:
            self._heard[device] = prefix
