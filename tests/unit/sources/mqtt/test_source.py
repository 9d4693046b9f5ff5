"""The session: its filters, its backlog and what a reconnect or a restart must know."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import orjson
import pytest

from edge_energy.config import Mqtt, Sensor
from edge_energy.errors import Unavailable
from edge_energy.increments import Increments
from edge_energy.journal.reader import Reader
from edge_energy.live import Live
from edge_energy.sources.mqtt import source as module
from edge_energy.sources.mqtt.connection import Filter, ProtocolRefused
from edge_energy.sources.mqtt.packets import Message
from edge_energy.sources.mqtt.source import MqttSource
from edge_energy.ways import Ways
from tests.unit.samples import NOON, SECOND, running_journal
from tests.unit.sources.mqtt.recorder import SetClock, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from edge_energy.journal.journal import Journal

SENSOR = Sensor(topic="count/+", device="{1}", energy_kind="increment")
SOON = 10.0


class Line:
    """A connection without a network, whose other end the test is."""

    def __init__(self, *, session_present: bool = True, refuses: Exception | None = None) -> None:
        self.session_present = session_present
        self.version5 = True
        self.paused = False
        self.connected = True
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.refuses = refuses
        self.subscribed: list[str] = []
        self.unsubscribed: list[str] = []
        self.acknowledged: asyncio.Queue[int] = asyncio.Queue()
        self.markers: asyncio.Queue[Message] = asyncio.Queue()
        self.published: asyncio.Queue[Message] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        if self.refuses:
            raise self.refuses
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.lost.cancel()

    async def subscribe(self, filters: list[Filter]) -> list[int]:
        """Grant everything."""
        self.subscribed = [filter_.topic for filter_ in filters]
        return [1] * len(filters)

    async def unsubscribe(self, topics: list[str]) -> None:
        """Note them."""
        self.unsubscribed += topics

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Keep a marker for the test to return, and everything else for it to look at."""
        queue = self.markers if "/marker/" in topic else self.published
        queue.put_nowait(Message(topic, payload, qos, 60_000, False, retain))

    def acknowledge(self, packet_ids: Iterable[int]) -> None:
        """Note them."""
        for packet in packet_ids:
            self.acknowledged.put_nowait(packet)

    def resume(self) -> None:
        """Nothing was paused."""

    def cut(self) -> None:
        """Lose the connection."""
        self.lost.set_exception(Unavailable("cut"))


class Bench:
    """A source on a journal; `on` runs it on a line."""

    def __init__(self, journal: Journal, totals: dict[str, float] | None = None, **settings: Any) -> None:
        self.clock = SetClock(NOON)
        self.live = Live()
        self.settings = Mqtt.model_validate({"sensors": [SENSOR], "commit_interval": 60.0} | settings)
        self.source = MqttSource(
            self.settings, "house", journal, self.live, self.clock, Ways(), Increments(totals or {})
        )

    @asynccontextmanager
    async def on(self, line: Line) -> AsyncIterator[None]:
        """Run the source until the test is through with it, and lose the line then."""
        self.source._connection = lambda _: line  # type: ignore[method-assign,assignment,return-value]
        self.source.up.clear()
        running = asyncio.create_task(self.source.run())
        up = asyncio.create_task(self.source.up.wait())
        async with asyncio.timeout(SOON):
            await asyncio.wait([running, up], return_when=asyncio.FIRST_COMPLETED)
            assert not running.done(), running.exception()
            yield
            line.cut()
            with pytest.raises(Unavailable, match="cut"):
                await running

    async def refused(self, error: Unavailable) -> int:
        """Let the source try a broker that refuses, and return the version that it tried."""
        version = int(self.source._version)
        self.source._connection = lambda _: Line(refuses=error)  # type: ignore[method-assign,assignment,return-value]
        with pytest.raises(type(error)):
            await self.source.run()
        return version

    def receive(self, packet: int, topic: str = "count/meter", *, dup: bool = False, **values: Any) -> None:
        """Receive a message."""
        self.source._on_message(Message(topic, orjson.dumps(values or {"energy": 1}), 1, packet, dup, False))
        self.source.intake.burst()

    async def end_backlog(self, line: Line) -> None:
        """Return the marker."""
        self.source._on_message(await line.markers.get())
        self.source.intake.burst()


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with running_journal(tmp_path) as journal:
        yield journal


async def counter(journal: Journal) -> Any:
    await journal.record([], within=0)
    return (await journal.query(Reader.state, "counter/")).get("counter/meter")


async def test_a_reconnect_before_the_commit_forgets_no_increment(journal: Journal) -> None:
    """What was summed and still waits for the disk when the line is cut is part of the counter afterwards."""
    bench = Bench(journal)
    async with bench.on(Line()):
        bench.receive(1, energy=100)
    async with bench.on(Line()):
        bench.receive(1, dup=True, energy=100)
        bench.receive(2, energy=1)
    assert await counter(journal) == 101


async def test_a_restart_goes_on_counting(journal: Journal) -> None:
    """The counter is the journal's, not the process's."""
    for packet in (1, 2, 3):
        bench = Bench(journal, await journal.query(Reader.state, "counter/"))
        async with bench.on(Line()):
            bench.receive(packet, energy=5)
        await journal.flush()
    assert await counter(journal) == 15


async def test_only_the_marker_ends_the_backlog(journal: Journal) -> None:
    """Until our own message comes back nothing is live; a marker of an earlier connection ends nothing."""
    bench = Bench(journal)
    line = Line()
    async with bench.on(line):
        bench.receive(1)
        marker = await line.markers.get()
        bench.source._on_message(marker._replace(payload=b"older"))
        bench.receive(2)
        assert bench.live.updates == 0
        bench.source._on_message(marker)
        bench.receive(3)
        assert bench.live.updates == 1
    assert bench.source.status()["backlog"] == 2


async def test_a_new_session_has_no_backlog(journal: Journal) -> None:
    """Where the broker kept nothing, the first message is live; that a session was lost is counted."""
    bench = Bench(journal)
    async with bench.on(Line(session_present=False)):
        bench.receive(1)
        assert bench.live.updates == 1
    assert bench.source.session_lost == 0
    async with bench.on(Line(session_present=False)):
        bench.receive(2)
    assert bench.source.session_lost == 1


@pytest.mark.parametrize("restart", [False, True])
async def test_the_span_begins_when_we_last_heard(journal: Journal, restart: bool) -> None:  # noqa: FBT001
    """What the broker kept happened after the last live message, less its way; also for the next process."""
    bench = Bench(journal)
    line = Line()
    async with bench.on(line):
        await bench.end_backlog(line)
    await journal.record([], within=0)
    if restart:
        bench = Bench(journal)
    bench.clock.time = NOON + 100 * SECOND
    async with bench.on(Line()):
        bench.receive(1)
    await journal.record([], within=0)
    spans = [entry.span for entry in await journal.tail(10)]
    assert spans == [102 * SECOND]


async def test_a_backlog_cut_short_stays_as_old_as_it_was(journal: Journal) -> None:
    """Whatever is left of it at the next connection did not happen any later."""
    bench = Bench(journal)
    line = Line()
    async with bench.on(line):
        await bench.end_backlog(line)
    for number in (1, 2):
        bench.clock.time = NOON + number * 100 * SECOND
        async with bench.on(Line()):
            bench.receive(number)
    await journal.record([], within=0)
    assert [entry.span for entry in await journal.tail(10)] == [102 * SECOND, 202 * SECOND]


async def test_filters_that_left_the_configuration_are_unsubscribed(journal: Journal) -> None:
    """They live in the session and would still deliver; also the next process knows them."""
    async with Bench(journal).on(first := Line()):
        assert "count/+" in first.subscribed
    async with Bench(journal, sensors=[]).on(second := Line()):
        assert second.unsubscribed == ["count/+"]
        assert "count/+" not in second.subscribed
    async with Bench(journal, sensors=[]).on(third := Line()):
        assert third.unsubscribed == []


async def test_a_device_with_a_slash_is_subscribed_as_soon_as_it_is_known(journal: Journal) -> None:
    """A new name needs a filter of its own, at once and, after a restart, from the beginning."""
    devices = [{"ieee_address": "0x1", "friendly_name": "cuisine/frigo"}]
    bench = Bench(journal)
    line = Line()
    async with bench.on(line):
        line.subscribed = []
        payload = orjson.dumps(devices)
        bench.source._on_message(Message("zigbee2mqtt/bridge/devices", payload, 1, 1, False, True))
        bench.source.intake.burst()
        while "zigbee2mqtt/cuisine/frigo" not in line.subscribed:  # noqa: ASYNC110 - a turn of the loop, no sleep
            await asyncio.sleep(0)
    await journal.record([], within=0)
    async with Bench(journal).on(again := Line()):
        assert "zigbee2mqtt/cuisine/frigo" in again.subscribed


async def test_a_renamed_device_leaves_no_filter_behind(journal: Journal) -> None:
    """Its old one is in the session even where that began with this connection."""
    bench = Bench(journal)
    async with bench.on(line := Line(session_present=False)):
        for name in ("hall/plug", "salle/plug"):
            payload = orjson.dumps([{"ieee_address": "0x1", "friendly_name": name}])
            bench.source._on_message(Message("zigbee2mqtt/bridge/devices", payload, 1, 1, False, True))
            bench.source.intake.burst()
            while f"zigbee2mqtt/{name}" not in line.subscribed:  # noqa: ASYNC110 - a turn of the loop, no sleep
                await asyncio.sleep(0)
        assert {*line.unsubscribed} == {"zigbee2mqtt/hall/plug", "zigbee2mqtt/hall/plug/availability"}


async def test_an_old_broker_is_spoken_to_in_311_for_one_attempt(journal: Journal) -> None:
    """A broker that refuses MQTT 5 gets 3.1.1; a broker that was only starting gets MQTT 5 again after that."""
    bench = Bench(journal)
    refusals = [ProtocolRefused("5?"), Unavailable("away"), ProtocolRefused("5?"), ProtocolRefused("3.1.1?")]
    assert [await bench.refused(refusal) for refusal in refusals] == [5, 4, 5, 4]
    pinned = Bench(journal, protocol="5")
    assert [await pinned.refused(refusal) for refusal in refusals] == [5, 5, 5, 5]


class Box:
    """A letterbox that keeps what it gets."""

    def __init__(self) -> None:
        self.filters = ["edge-energy/house/relay/+/set"]
        self.taken: list[tuple[bytes, bool]] = []

    def take(self, _topic: str, payload: bytes, *, fresh: bool) -> None:
        """Keep it."""
        self.taken.append((payload, fresh))


def command(payload: bytes, packet: int, *, dup: bool = False, retain: bool = False) -> Message:
    return Message("edge-energy/house/relay/plug/set", payload, 1, packet, dup, retain)


async def test_letters_are_fresh_once_the_backlog_is_over(journal: Journal) -> None:
    """They are acknowledged like everything else, and neither recorded nor unreadable."""
    bench = Bench(journal, commit_interval=0.0)
    box = bench.source.letterbox = Box()
    line = Line()
    async with bench.on(line):
        assert box.filters[0] in line.subscribed
        bench.source._on_message(command(b"old", 1))
        await bench.end_backlog(line)
        for number, flags in enumerate(({}, {"dup": True}, {"retain": True}), 2):
            bench.source._on_message(command(b"new", number, **flags))
        bench.source.intake.burst()
        assert [await line.acknowledged.get() for _ in range(5)] == [1, 60_000, 2, 3, 4]
    assert box.taken == [(b"old", False), (b"new", True), (b"new", False), (b"new", False)]
    assert bench.source.status()["unreadable"] == bench.source.status()["recorded"] == 0


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the uptime (s) in its one element, for the test to move on; the source looks at it all the time."""
    now = [100.0]
    monkeypatch.setattr(module, "uptime_seconds", lambda: now[0])
    monkeypatch.setattr(module, "LISTEN_EVERY", 0.0)
    return now


async def test_after_a_standstill_letters_are_old_until_the_marker_is_back(
    journal: Journal, now: list[float]
) -> None:
    """A process that was stopped, or a machine that slept, finds commands that have waited in the network."""
    bench = Bench(journal)
    box = bench.source.letterbox = Box()
    line = Line(session_present=False)
    async with bench.on(line):
        bench.source._on_message(command(b"1", 1))
        now[0] += 60.0
        bench.source._on_message(command(b"2", 2))
        marker = await line.markers.get()
        bench.source._on_message(command(b"3", 3))
        bench.source._on_message(marker)
        bench.source._on_message(command(b"4", 4))
        assert bench.source.intake.live_now
    assert box.taken == [(b"1", True), (b"2", False), (b"3", False), (b"4", True)]


async def test_a_request_is_answered_by_a_device_s_own_topic(journal: Journal) -> None:
    """The message that answers takes its usual way as well."""
    bench = Bench(journal)
    line = Line(session_present=False)
    async with bench.on(line):
        asking = asyncio.create_task(
            bench.source.request("count/meter/get", b"", "count/meter", lambda payload: payload or None, SOON)
        )
        assert (await line.published.get()).topic == "count/meter/get"
        bench.receive(1, energy=5)
        assert await asking == b'{"energy":5}'
        assert bench.live.updates == 1


async def test_shellies_are_asked_for_everything_behind_the_backlog(journal: Journal) -> None:
    bench = Bench(journal)
    line = Line()
    async with bench.on(line):
        bench.source._on_message(Message("shellypro1pm-ec62608ab9a4/online", b"true", 1, 1, False, True))
        await turns()
        assert line.published.empty()
        await bench.end_backlog(line)
        asked = await line.published.get()
    assert asked.topic == "shellypro1pm-ec62608ab9a4/rpc"
    request = orjson.loads(asked.payload)
    assert request["method"] == "Shelly.GetStatus"
    assert f"{request['src']}/rpc" in line.subscribed


async def test_who_is_known_at_this_broker(journal: Journal) -> None:
    bench = Bench(journal)
    source = bench.source
    assert (source.zigbee_base, source.zigbee_online) == ("zigbee2mqtt", None)
    devices = [{"ieee_address": "0x1", "friendly_name": "cuisine/frigo"}]
    for part, body in (("devices", devices), ("state", {"state": "online"})):
        source._on_message(Message(f"zigbee2mqtt/bridge/{part}", orjson.dumps(body), 0, 0, False, True))
    assert source.zigbee_online is True
    assert source.zigbee_name("zigbee-0x1") == "cuisine/frigo"
    assert source.zigbee_name("zigbee-0x2") is None
    source._on_message(Message("shellies/shelly1pm-A1B2C3/relay/0", b"on", 0, 0, False, False))
    assert source.shelly_prefix("shelly-a1b2c3") == "shellies/shelly1pm-A1B2C3"
    assert source.rpc_source == f"edge-energy/house/{bench.settings.client_id}"
    with pytest.raises(Unavailable, match="not connected"):
        source.publish("x", b"")
    assert Bench(journal, zigbee2mqtt="").source.zigbee_online is None


@pytest.mark.parametrize("paused", [False, True])
async def test_what_a_pause_held_back_is_old(journal: Journal, now: list[float], *, paused: bool) -> None:
    """While the disk is behind nothing is read; a loop that runs and reads has no such gap."""
    bench = Bench(journal)
    box = bench.source.letterbox = Box()
    line = Line(session_present=False)
    async with bench.on(line):
        line.paused = paused
        for _ in range(3):
            now[0] += 3.0
            await turns()
        line.paused = False
        bench.source._on_message(command(b"1", 1))
        if paused:
            bench.source._on_message(await line.markers.get())
        bench.source._on_message(command(b"2", 2))
    assert box.taken == [(b"1", not paused), (b"2", True)]
