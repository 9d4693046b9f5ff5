"""From a message to the journal and back: times, duplicates, live, recording, acknowledging."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import structlog

from edge_energy.collector import LATE, description
from edge_energy.devices.payload import believable, encode
from edge_energy.devices.zigbee2mqtt import AFTER_SWITCH
from edge_energy.errors import JournalFull, Unavailable, UnreadablePayload
from edge_energy.interfaces import READING, NewEntry
from edge_energy.reading import INCREMENTS, Reading, Values
from edge_energy.sources.mqtt.own_time import OwnTimes
from edge_energy.sources.mqtt.redelivery import Redelivery
from edge_energy.sources.mqtt.unreadable import Unreadable
from edge_energy.sources.mqtt.window import LEAST, Window
from edge_energy.ways import SHELLY, TooManyDevices, pushed_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Protocol

    from edge_energy.clock import Clock
    from edge_energy.config import Mqtt
    from edge_energy.devices.zigbee2mqtt import Device
    from edge_energy.increments import Increments
    from edge_energy.interfaces import Durable, Recorder
    from edge_energy.live import Live
    from edge_energy.sources.mqtt.packets import Message
    from edge_energy.sources.mqtt.routes import Routes
    from edge_energy.ways import Ways

    class Acknowledger(Protocol):
        """The connection, as far as it concerns us."""

        def acknowledge(self, packet_ids: Iterable[int]) -> None:
            """Acknowledge in order."""

        def resume(self) -> None:
            """Read on."""


log = structlog.get_logger()

QUIET = 0.5  # seconds without a message after which a broker may be waiting for acknowledgements
MOST_UNDURABLE = 3_500  # entries on their way to the disk; more would only fill the memory


@dataclass(slots=True)
class Counters:
    """What became of the messages since the start."""

    received: list[int] = field(default_factory=lambda: [0, 0, 0])
    """By the QoS that they came with."""
    recorded: int = 0
    live: int = 0
    backlog: int = 0
    redelivered: int = 0
    repeated: int = 0
    """The same last_seen and values again: a cache; or what another way has just told."""
    retained: int = 0
    """Retained by the broker, without a time of their own: nobody knows when that was."""
    not_recorded: int = 0
    """Arrived while the disk was full; at QoS 1 the broker sends them again."""


class _Group(NamedTuple):
    """Messages that are acknowledged together, and what must be durable before."""

    durable: Durable | None
    packets: list[int]
    entries: list[NewEntry]


class Intake:
    """Takes the messages of one broker; lives across connections, while an acknowledgement belongs to one."""

    def __init__(  # noqa: PLR0913 - what a message touches
        self,
        name: str,
        routes: Routes,
        recorder: Recorder,
        live: Live,
        clock: Clock,
        ways: Ways,
        increments: Increments,
        settings: Mqtt,
    ) -> None:
        self.name = name
        self.counters = Counters()
        self.unreadable = Unreadable(name, recorder)
        self.window = Window(0)
        self.redelivery = Redelivery()
        self.unacknowledged = 0
        self.live_now = False
        """Whether the backlog is over."""
        self.offline_since: int | None = None
        """UTC ns; a message of the backlog happened after that."""
        self.heard: int | None = None
        """UTC ns; when the last message came."""
        self.last_message: float | None = None
        self._origin = 0
        self._routes = routes
        self._recorder = recorder
        self._live = live
        self._clock = clock
        self._ways = ways
        self._increments = increments
        self._commit_interval = settings.commit_interval
        self._longest = int(settings.session_expiry * 1e9)
        self._entries: list[NewEntry] = []
        self._state: dict[str, Any] = {}
        self._packets: list[int] = []
        self._groups: deque[_Group] = deque()
        self._last_durable: Durable | None = None
        self._work = asyncio.Event()
        self._undurable = 0
        self._owed = False
        """Whether messages were not recorded, so that the broker has to send them again."""
        self._repeats = False
        """Whether what arrived repeats what may not be on disk yet."""
        self._own_times = OwnTimes()

    # -- a connection begins ----------------------------------------------------------------------------------

    def restore(self, source: int, recalled: list[tuple[int, str, str]]) -> None:
        """After a start: remember what the newest entries of this source were."""
        self._origin = source << 16
        self.redelivery.restore((packet, device, _identity(orjson.loads(body))) for packet, device, body in recalled)

    async def settle(self, state: Mapping[str, Any]) -> None:
        """Wait for what an ended connection left: only then is it known what the broker's redeliveries repeat.

        `state` is kept before anything of the next connection.
        """
        try:
            await self._recorder.record([], within=0, state=state)
        except JournalFull:
            log.warning("recording nothing, the journal is full", source=self.name)
        for group in self._groups:
            try:
                if group.durable is not None:
                    await group.durable
            except JournalFull:
                self._failed(group)
        self._groups.clear()
        self.unacknowledged = 0  # here, because messages may come together with the CONNACK
        self._undurable = 0
        self._last_durable = None
        self._owed = False

    def begin(self, window: int, *, session_present: bool) -> None:
        """Begin with a new connection. A new session has no backlog, and its packet ids mean nothing to us."""
        self.window = Window(window)
        self.redelivery = self.redelivery if session_present else Redelivery()
        self.live_now = not session_present

    # -- messages ---------------------------------------------------------------------------------------------

    def message(self, message: Message) -> None:
        """Take one message; nothing it contains may raise."""
        counters = self.counters
        counters.received[message.qos] += 1
        topic, payload = message.topic, message.payload
        if message.qos:
            self._packets.append(message.packet)
        now, uptime = self._clock.now()
        self.heard = now
        try:
            reading = self._routes.reading(topic, payload, uptime)
            if reading is not None:
                self._take(reading, message, now, uptime)
        except (UnreadablePayload, TooManyDevices) as error:
            self.unreadable.take(topic, str(error), payload)

    def skip(self, message: Message) -> None:
        """Take a message that is only to be acknowledged."""
        if message.qos:
            self._packets.append(message.packet)
        self.heard = self._clock.now()[0]

    def _take(self, reading: Reading, message: Message, now: int | None, uptime: int) -> None:
        device, _, values = reading
        counters = self.counters
        packet = message.packet
        identity = _identity(values)
        if message.dup and self.redelivery.known(packet, device, identity):
            counters.redelivered += 1
            return
        old = message.dup or not self.live_now
        current = not old and not message.retain
        at, span = now, None
        own_time = self._own_time(reading, now, old=old)
        if own_time is not None and now is not None:
            late = old or now - own_time >= LATE
            placed = self._place(reading, own_time, uptime, again=message.dup, late=late)
            if placed is None:
                self._repeated(packet)
                return
            values, at, newer = placed
            current = current and newer and not late
        elif message.retain:
            counters.retained += 1
            return
        elif old:
            span = self._span(now)
        elif self._ways.concern(device):
            news = self._ways.news(Reading(device, None, values), self.name, uptime)
            if news is None:
                self._repeated(packet)
                return
            values = news.values
        counters.backlog += old and not message.retain
        if packet:
            self.redelivery.remember(packet, device, identity)
        values = self._increments.sum(device, values)
        self._entries.append(
            NewEntry(READING, device, at, uptime, encode(values), span, self._origin | packet if packet else None)
        )
        if current:
            counters.live += 1
            self._live.update(Reading(device, at, values))

    def _repeated(self, packet: int) -> None:
        """Count what is recorded already, but acknowledge it only when that is on disk."""
        self.counters.repeated += 1
        self._repeats |= packet > 0

    def _own_time(self, reading: Reading, now: int | None, *, old: bool) -> int | None:
        """Return a reading's own time if it can be believed."""
        own = reading.time
        if own is None or now is None or not believable(own, now):
            return None
        return own if old or not reading.device.startswith(SHELLY) else pushed_at(own, now)

    def _place(
        self, reading: Reading, own_time: int, uptime: int, *, again: bool, late: bool
    ) -> tuple[Values, int, bool] | None:
        """Return what is new of a reading with a time of its own, its time, and whether none is newer."""
        device, _, values = reading
        if self._ways.concern(device):
            news = self._ways.news(reading, self.name, uptime, late=late)
            return None if news is None else (news.values, news.time or own_time, news.newest)
        placed = self._own_times.place(device, own_time, values, again=again)
        return None if placed is None else (values, *placed)

    def _span(self, now: int | None) -> int:
        """Return for how long a message without a time of its own may have waited at the broker (ns)."""
        if now is None or self.offline_since is None:
            return self._longest
        return max(1, now - self.offline_since)

    # -- recording and acknowledging --------------------------------------------------------------------------

    def burst(self) -> bool:
        """Hand what arrived together to the journal; tell whether to read on at once."""
        described = self._describe()
        entries, packets, state = self._entries, self._packets, self._state | self._increments.state()
        if not entries and not packets:
            return True
        self._entries, self._packets, self._state = [], [], {}
        record, self._repeats = bool(entries) or self._repeats, False
        now = time.monotonic()
        self.last_message = now
        self.unacknowledged += len(packets)
        self.window.arrived(len(packets), self.unacknowledged, now)
        within = 0.0 if self.window.near(self.unacknowledged) else self._commit_interval
        try:
            if record and not self._owed:
                self._last_durable = self._recorder.record(entries, within, state)
                self._increments.recorded(self._last_durable)
                self._ways.recorded(self._last_durable)
                self.counters.recorded += len(entries)
            elif record:
                raise JournalFull("recording nothing until the broker sends again")  # noqa: TRY301
        except JournalFull:
            self._increments.recorded(None)
            self._ways.recorded(None)
            self.counters.not_recorded += len(entries)
            self._forget(entries)
            self._routes.described = described  # nobody tells that again
            self._owed = True
            self._work.set()
            return True
        if not self._owed:
            self._groups.append(_Group(self._last_durable, packets, entries))
            self._undurable += len(entries)
            self._work.set()
        return self._undurable < MOST_UNDURABLE

    def _describe(self) -> list[Device]:
        """Record devices that got a name or a model; return them."""
        described, self._routes.described = self._routes.described, []
        if not described or self._routes.bridge is None:
            return []
        for device in described:
            self._entries.append(description(device.id, device.name, device.model, self._clock))
        self._state[self.bridge_key] = self._routes.bridge.remembered()
        return described

    @property
    def bridge_key(self) -> str:
        """The state key of the devices' names."""
        return f"zigbee2mqtt/{self.name}/{self._routes.base}"

    async def acknowledge(self, connection: Acknowledger) -> None:
        """Acknowledge what is durable, in order, on the connection it came by.

        Raises `Unavailable` once the journal takes entries again after it was full: a new connection makes the
        broker send everything that was not acknowledged.
        """
        while True:
            while self._groups:
                group = self._groups[0]
                try:
                    if group.durable is not None:
                        await self._committed(group.durable)
                except JournalFull:
                    self._owed = True
                    self._forget_groups()
                    break
                self._groups.popleft()
                self.window.acknowledged(self.unacknowledged, time.monotonic())
                self.unacknowledged -= len(group.packets)
                self._undurable -= len(group.entries)
                connection.acknowledge(group.packets)
                if self._undurable < MOST_UNDURABLE:
                    connection.resume()
            if self._owed:
                connection.resume()  # what arrives is still good for live
                await self._recorder.writable()
                raise Unavailable("the journal was full; asking the broker to send again what was not recorded")
            self._work.clear()
            await self._work.wait()

    async def _committed(self, durable: Durable) -> None:
        """Wait for a commit; ask for it when nothing comes any more, for the broker may be waiting for us."""
        while not durable.done():
            try:
                async with asyncio.timeout(QUIET):
                    await durable
            except TimeoutError:
                quiet = time.monotonic() - (self.last_message or 0) >= QUIET
                if quiet and self.unacknowledged >= LEAST:
                    self.window.stalled(self.unacknowledged)
                    self._recorder.record([], within=0)
        await durable

    def _forget(self, entries: list[NewEntry]) -> None:
        """Forget what is not on disk, but not the redelivered messages beside it, which were before."""
        self.redelivery.forget(entry.origin & 0xFFFF for entry in entries if entry.origin is not None)

    def _failed(self, group: _Group) -> None:
        """Take back what was counted as recorded."""
        self._forget(group.entries)
        self.counters.recorded -= len(group.entries)
        self.counters.not_recorded += len(group.entries)

    def _forget_groups(self) -> None:
        for group in self._groups:
            self._failed(group)
        self._groups.clear()
        self.unacknowledged = 0  # here, because messages may come together with the CONNACK
        self._undurable = 0


def _identity(values: Values) -> tuple[object, ...]:
    """Return of values, decoded or recorded, what does not depend on other messages.

    Not the counter that an increment was summed into; not what a merged cache repeats behind a switch: whether it
    does is known only to a process that saw the messages before.
    """
    summed = [INCREMENTS[name] for name in INCREMENTS.keys() & values.keys()]
    if summed or "output" in values:
        dependent = summed or AFTER_SWITCH
        values = {name: value for name, value in values.items() if name not in dependent}
    return (*values, *values.values())
