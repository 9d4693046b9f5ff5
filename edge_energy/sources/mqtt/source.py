"""The component of one broker: connects, keeps the session's filters right, tells the backlog from live."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from paho.mqtt.enums import MQTTProtocolVersion

from edge_energy.clock import uptime_seconds
from edge_energy.devices import shelly_rpc
from edge_energy.errors import JournalFull, Unavailable
from edge_energy.journal.reader import Reader
from edge_energy.sources.mqtt.connection import Connection, Filter, ProtocolRefused, Will
from edge_energy.sources.mqtt.exchange import Exchange
from edge_energy.sources.mqtt.intake import Intake
from edge_energy.sources.mqtt.outward import Outward
from edge_energy.sources.mqtt.routes import Routes
from edge_energy.together import together

if TYPE_CHECKING:
    from edge_energy.clock import Clock
    from edge_energy.config import Mqtt
    from edge_energy.increments import Increments
    from edge_energy.journal.journal import Journal
    from edge_energy.live import Live
    from edge_energy.sources.mqtt.packets import Message
    from edge_energy.ways import Ways

log = structlog.get_logger()

WINDOW_311 = 20  # what a 3.1.1 broker sends unacknowledged, unless configured otherwise
RECALL = 8_192  # entries of ours that the broker may send again: twice what may wait for a commit
RECALL_DEPTH = 131_072  # newest entries looked through after a start
IN_TRANSIT = 2_000_000_000  # ns that a message may take to us while we listen
MARKER_EVERY = 5.0  # seconds; a full queue may drop a marker
LISTEN_EVERY = 1.0  # seconds; well below `exchange.STOOD_STILL`
REFUSED = 0x80
SHORT = 10.0  # seconds; so many connections in a row that do not last longer are no accident
MANY_SHORT = 3


class MqttSource(Outward):
    """Listens to one broker. Acknowledges only what the journal has."""

    def __init__(  # noqa: PLR0913 - what all sources share, beside its settings
        self,
        settings: Mqtt,
        appliance: str,
        journal: Journal,
        live: Live,
        clock: Clock,
        ways: Ways,
        increments: Increments,
    ) -> None:
        self.name = f"mqtt {settings.host}:{settings.port}"
        self.up = asyncio.Event()
        exchange = Exchange(self.name, appliance, settings.client_id)
        super().__init__(exchange, Routes(settings, live, exchange.statuses))
        self.intake = Intake(self.name, self.routes, journal, live, clock, ways, increments, settings)
        self.version = ""
        """The version of MQTT that is spoken."""
        self.granted: dict[str, int] = {}
        """The QoS granted for each filter, 128 and above for a refusal."""
        self.session_lost = 0
        self._short_connections = 0
        self._settings = settings
        self._journal = journal
        self._clock = clock
        self._versions = _versions(settings.protocol)
        self._version = self._versions[0]
        self._will = Will(
            f"edge-energy/{appliance}/status",
            orjson.dumps({"status": "online"}),
            orjson.dumps({"status": "offline"}),
        )
        self._marker_topic = f"edge-energy/{appliance}/marker/{settings.client_id}"
        self._marker = b""
        self._state_key = f"mqtt/{settings.host}:{settings.port}/{settings.client_id}"
        self._away_key = f"{self._state_key}/away"
        self._remembered: list[str] = []
        """The filters that live in the broker's session for us."""
        self._restored = False
        self._marker_back = asyncio.Event()

    async def run(self) -> None:
        """Connect and listen until cancelled; raises `Unavailable` when the broker is away."""
        await self._restore()
        await self.intake.settle({self._away_key: {"since": self.intake.offline_since, "live": False}})
        version, self._version = self._version, self._versions[0]
        try:
            connection = self._connection(version)
            self.exchange.attach(connection)
            async with connection:
                await self._listen(connection)
        except ProtocolRefused:
            # For the next attempt only: a broker that is just starting closes connections too.
            self._version = self._versions[-1]
            if self._version != version:
                log.info("falling back to MQTT 3.1.1", source=self.name)
            raise
        finally:
            self.exchange.detach()
            if self.intake.live_now:  # else what is left of the backlog is as old as it was
                # From the last that came: it can take minutes until a dead line is noticed.
                self.intake.offline_since = _before(self.intake.heard)
                self.intake.live_now = False

    def _connection(self, version: MQTTProtocolVersion) -> Connection:
        self.version = "5" if version == MQTTProtocolVersion.MQTTv5 else "3.1.1"
        return Connection(self._settings, version, self._will, self._on_message, self.intake.burst)

    def _on_message(self, message: Message) -> None:
        exchange, topic = self.exchange, message.topic
        if exchange.waiting and topic in exchange.waiting:
            exchange.answered(message)
        if topic.startswith(exchange.base) and self._ours(message):
            self.intake.skip(message)
        else:
            self.intake.message(message)

    def _ours(self, message: Message) -> bool:
        """Take a message on a topic of our own; tell whether that is all there is to do with it."""
        if message.topic != self._marker_topic:
            return self.exchange.take(message, uptime_seconds())
        if message.payload == self._marker:
            self.exchange.backlog_over = True
            self._marker_back.set()
            if not self.intake.live_now:
                self.intake.live_now = True
                self._keep_live()
        return True

    # -- what a restart must know -----------------------------------------------------------------------------

    async def _restore(self) -> None:
        journal, intake = self._journal, self.intake
        if self._restored:
            return
        source = await journal.source(self._state_key)
        recalled = await journal.query(Reader.recall, source, RECALL, RECALL_DEPTH)
        intake.restore(source, recalled)
        known = await journal.query(Reader.state, self._state_key)
        self._remembered = known.get(self._state_key, {}).get("filters", [])
        if self.routes.bridge is not None:
            names = await journal.query(Reader.state, intake.bridge_key)
            self.routes.bridge.recall(names.get(intake.bridge_key, {}))
        intake.offline_since = await self._away_since(source, known.get(self._away_key))
        self._restored = True

    async def _away_since(self, source: int, kept: dict[str, Any] | None) -> int | None:
        """Return since when the broker may have kept messages: the last that we heard, if that was live."""
        if kept is None or not kept["live"]:
            return None if kept is None else kept["since"]
        arrival = _before(await self._journal.query(Reader.last_arrival, source, RECALL_DEPTH))
        return max((at for at in (kept["since"], arrival) if at is not None), default=None)

    def _keep_live(self) -> None:
        """Keep that the backlog is over: after a crash from now on, the newest entry says since when we are away."""
        live = {"since": _before(self._clock.now()[0]), "live": True}
        with suppress(JournalFull):
            self._journal.record([], self._settings.commit_interval, {self._away_key: live})

    async def _remember(self, filters: list[str]) -> None:
        """Keep which filters live in the session, before they do: also a crash must not leave one behind."""
        if sorted(filters) != sorted(self._remembered):
            try:
                await self._journal.record([], within=0, state={self._state_key: {"filters": filters}})
            except JournalFull:
                return
            self._remembered = filters

    # -- one connection ---------------------------------------------------------------------------------------

    async def _listen(self, connection: Connection) -> None:
        settings, intake = self._settings, self.intake
        if self._remembered and not connection.session_present:
            self.session_lost += 1
            log.warning("the broker lost our session, and with it what it kept while we were away", source=self.name)
        intake.begin(
            settings.receive_maximum if connection.version5 else WINDOW_311,
            session_present=connection.session_present,
        )
        self.exchange.backlog_over = intake.live_now
        self.exchange.listening(uptime_seconds())
        if intake.live_now:
            self._keep_live()
        self.routes.shelly.forget_asked()
        await self._subscribe(connection)
        self.exchange.subscribed()
        self.up.set()
        began = time.monotonic()
        try:
            await together(
                _until_lost(connection),
                intake.acknowledge(connection),
                self._follow_names(connection),
                self._find_end_of_backlog(connection),
                self._ask_shellies(),
            )
        except Unavailable as error:
            short = connection.lost.done() and time.monotonic() - began < SHORT
            self._short_connections = self._short_connections + 1 if short else 0
            if self._short_connections < MANY_SHORT:
                raise
            # Only newer brokers say so themselves (`SESSION_TAKEN_OVER`), and only in MQTT 5.
            raise Unavailable(
                f"{error}, again and again soon after we connected as {settings.client_id!r}: perhaps "
                "another daemon uses this client id; give each its own [appliance] id or [[mqtt]] client_id"
            ) from error

    async def _subscribe(self, connection: Connection) -> None:
        ours = [Filter(topic, flagged=True) for topic in self.exchange.topics()]
        filters = [Filter(self._marker_topic), *ours, *self.routes.filters()]
        wanted = [filter_.topic for filter_ in filters]
        stale = [topic for topic in self._remembered if topic not in wanted]
        if stale and (connection.session_present or self.up.is_set()):  # up: subscribed on this connection already
            await connection.unsubscribe(stale)
            log.info("unsubscribed what the configuration no longer names", source=self.name, topics=stale)
        await self._remember(wanted)
        codes = await connection.subscribe(filters)
        self.granted = dict(zip(wanted, codes, strict=True))
        for topic, code in self.granted.items():
            if code >= REFUSED:
                log.error(
                    "the broker refuses a subscription: correct its access list",
                    source=self.name,
                    topic=topic,
                )

    async def _follow_names(self, connection: Connection) -> None:
        """Subscribe anew when devices with a slash in their name come, go or are renamed."""
        while True:
            await self.routes.filters_changed.wait()
            self.routes.filters_changed.clear()
            wanted = {filter_.topic for filter_ in self.routes.filters()}
            if wanted != self.granted.keys() - {self._marker_topic, *self.exchange.topics()}:
                await self._subscribe(connection)

    async def _find_end_of_backlog(self, connection: Connection) -> None:
        """Send a marker to ourselves: it comes back behind everything that the broker kept for us.

        Again whenever we did not listen for a while: a command that waited in the network meanwhile is old.
        """
        while True:
            self._marker = secrets.token_hex(8).encode()
            self._marker_back.clear()
            while not self.exchange.backlog_over:
                connection.publish(self._marker_topic, self._marker, qos=1)
                with suppress(TimeoutError):
                    async with asyncio.timeout(MARKER_EVERY):
                        await self._marker_back.wait()
            while self.exchange.backlog_over:
                await asyncio.sleep(LISTEN_EVERY)
                if not connection.paused:
                    self.exchange.backlog_over = self.exchange.listening(uptime_seconds())

    async def _ask_shellies(self) -> None:
        """Ask devices that are heard by MQTT only for everything: by themselves they tell what changes."""
        shelly = self.routes.shelly
        while True:
            await shelly.unasked.wait()
            while not self.exchange.backlog_over:
                await self._marker_back.wait()
            for prefix, number in shelly.take_unasked():
                request = shelly_rpc.request(number, "Shelly.GetStatus", None, src=self.exchange.statuses)
                self.exchange.publish(f"{prefix}/rpc", request)

    # -- for status -------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return what `status` shows of this source."""
        intake = self.intake
        counters = intake.counters
        bridge = self.routes.bridge
        last = intake.last_message
        report: dict[str, Any] = {
            "kind": "mqtt",
            "last_message_seconds_ago": None if last is None else round(time.monotonic() - last, 1),
            "protocol": self.version,
            "granted_qos": {topic: code if code < REFUSED else "refused" for topic, code in self.granted.items()},
            "received_qos": {"0": counters.received[0], "1": counters.received[1]},
            "recorded": counters.recorded,
            "live": counters.live,
            "backlog": counters.backlog,
            "redelivered": counters.redelivered,
            "repeated": counters.repeated,
            "retained": counters.retained,
            "unreadable": intake.unreadable.count,
            "not_recorded": counters.not_recorded,
            "implausible": sum(
                decoder.implausible for decoder in (*self.routes.sensors, self.routes.shelly, bridge) if decoder
            ),
            "unreadable_topics": {
                topic: {"count": known.count, "reason": known.reason}
                for topic, known in intake.unreadable.topics.items()
            },
            "unacknowledged": intake.unacknowledged,
            "window": intake.window.size,
            "in_backlog": not intake.live_now,
            "sessions_lost": self.session_lost,
        }
        if bridge is not None:
            report["zigbee2mqtt"] = {
                "online": bridge.online,
                "version": bridge.version,
                "merged_cache": bridge.merged_cache,
            }
        return report


def _before(heard: int | None) -> int | None:
    """Return an instant before which nothing was sent that came later than what was heard."""
    return None if heard is None else heard - IN_TRANSIT


async def _until_lost(connection: Connection) -> None:
    await asyncio.shield(connection.lost)
    raise Unavailable("the connection ended")


def _versions(protocol: str) -> list[MQTTProtocolVersion]:
    versions = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
    return [versions[protocol]] if protocol in versions else list(versions.values())
