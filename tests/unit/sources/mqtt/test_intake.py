"""From a message to the journal and back: times, duplicates, live, recording, acknowledging."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_energy.collector import LATE, Collector
from edge_energy.config import Mqtt, Sensor
from edge_energy.errors import Unavailable
from edge_energy.increments import Increments
from edge_energy.interfaces import APPLIANCE
from edge_energy.live import Live
from edge_energy.reading import Reading
from edge_energy.sources.mqtt import intake as intake_module
from edge_energy.sources.mqtt.intake import MOST_UNDURABLE, Intake
from edge_energy.sources.mqtt.packets import Message
from edge_energy.sources.mqtt.routes import Routes
from edge_energy.ways import MOST_DEVICES, Ways
from tests.fuzz_corpus.hostile import any_payloads
from tests.unit.samples import NOON, SECOND
from tests.unit.sources.mqtt.recorder import Connection, Disk, SetClock, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SHELLY = "shelly-ec62608ab9a4"
SENSORS = (
    Sensor(topic="house/+", device="{1}", time="time"),
    Sensor(topic="count/+", device="{1}", energy_kind="increment"),
)


class Bench:
    """An intake between a disk and a connection that the test plays."""

    def __init__(self, disk: Disk | None = None, window: int = 4096, *, backlog: bool = False) -> None:
        mqtt = Mqtt(sensors=SENSORS, session_expiry=3600.0, commit_interval=5.0)
        self.disk = disk or Disk()
        self.live = Live()
        self.clock = SetClock(NOON)
        self.ways = Ways()
        increments = Increments({key: total for key, total in self.disk.state.items() if key.startswith("counter/")})
        self.intake = Intake(
            "broker", Routes(mqtt, self.live), self.disk, self.live, self.clock, self.ways, increments, mqtt
        )
        self.intake.begin(window, session_present=backlog)
        self.connection = Connection()

    def take(self, packet: int = 0, topic: str = "house/plug", **values: Any) -> None:
        """Receive a message; `dup` and `retain` are its flags, everything else its payload."""
        dup, retain = values.pop("dup", False), values.pop("retain", False)
        raw = values.pop("raw", None) or orjson.dumps(values or {"power": 46.9})
        self.intake.message(Message(topic, raw, 1 if packet else 0, packet, dup, retain))

    def burst(self, *packets: int, **values: Any) -> bool:
        """Receive messages together."""
        for packet in packets:
            self.take(packet, **values)
        return self.intake.burst()

    def shelly(self, packet: int = 0, at: int = NOON, *, power: float = 5.0, dup: bool = False) -> None:
        """Receive what a Shelly says at its own time."""
        params = {"ts": at / SECOND, "switch:0": {"id": 0, "apower": power}}
        frame = {"src": "shellypro1pm-ec62608ab9a4", "method": "NotifyStatus", "params": params}
        self.take(packet, "shellypro1pm-ec62608ab9a4/events/rpc", raw=orjson.dumps(frame), dup=dup)

    def collector(self) -> Collector:
        """Return what the other sources record with."""
        return Collector(self.disk, self.live, self.clock, self.ways, Increments({}))

    async def commit(self) -> None:
        """Make durable what waits."""
        self.disk.commit()
        await turns()

    async def fail(self) -> None:
        """Find the disk full instead."""
        self.disk.fail()
        await turns()

    @property
    def acknowledged(self) -> list[int]:
        """Return the packet ids acknowledged on the present connection."""
        return self.connection.acknowledged

    def readings(self) -> list[dict[str, Any]]:
        """Return the values of what is durable."""
        return [orjson.loads(entry.body) for entry in self.disk.entries]

    async def reconnect(self, *, session_present: bool = True) -> None:
        """Begin a new connection, as the source does."""
        settling = asyncio.create_task(self.intake.settle({}))
        await turns()
        self.disk.commit()
        await settling
        self.intake.begin(4096, session_present=session_present)
        self.connection = Connection()


@asynccontextmanager
async def acknowledging(bench: Bench) -> AsyncIterator[asyncio.Task[None]]:
    """Let the intake acknowledge on the present connection."""
    task = asyncio.create_task(bench.intake.acknowledge(bench.connection))
    try:
        await turns()
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Unavailable):
            await task


# -- acknowledging --------------------------------------------------------------------------------------------------


async def test_nothing_is_acknowledged_before_it_is_durable_and_then_in_order() -> None:
    """The order of receipt, unreadable and unwanted messages included, each only after what came before it."""
    bench = Bench()
    async with acknowledging(bench):
        bench.take(3)
        bench.take(1, raw=b"garbage")
        bench.burst(2, topic="elsewhere")
        bench.burst(7, raw=b"more garbage")
        await turns()
        assert bench.acknowledged == []
        await bench.commit()
        assert bench.acknowledged == [3, 1, 2, 7]
        bench.burst(9, 8)
        await turns()
        assert bench.acknowledged == [3, 1, 2, 7]
        await bench.commit()
        assert bench.acknowledged == [3, 1, 2, 7, 9, 8]
    assert bench.intake.unacknowledged == 0


async def test_qos_0_is_recorded_and_never_acknowledged() -> None:
    """A message without a packet id has nothing to be acknowledged, but is a reading like any other."""
    bench = Bench()
    async with acknowledging(bench):
        bench.burst(0)
        await bench.commit()
    assert bench.acknowledged == []
    assert (len(bench.disk.entries), bench.disk.entries[0].origin) == (1, None)
    assert bench.intake.counters.received == [1, 0, 0]


async def test_a_marker_waits_its_turn_too() -> None:
    """What is only to be acknowledged does not overtake what has to be recorded."""
    bench = Bench()
    async with acknowledging(bench):
        bench.take(1)
        bench.intake.skip(Message("marker", b"", 1, 2, False, False))
        bench.intake.burst()
        await turns()
        assert bench.acknowledged == []
        await bench.commit()
        assert bench.acknowledged == [1, 2]


async def test_a_burst_is_committed_at_leisure_until_the_window_is_near() -> None:
    """The commit interval spares the card; a broker about to wait for us is served at once."""
    bench = Bench(window=20)
    bench.burst(*range(1, 15))
    bench.burst(15)
    assert bench.disk.within == [5.0, 0.0]


async def test_a_broker_that_may_be_waiting_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the window is smaller than we were told, silence with much unacknowledged asks for the commit."""
    monkeypatch.setattr(intake_module, "QUIET", 0.01)
    bench = Bench()
    async with acknowledging(bench), asyncio.timeout(10):
        bench.burst(*range(1, 11))
        await bench.disk.asked.wait()


# -- a full disk ----------------------------------------------------------------------------------------------------

OWN_TIME = [{}, {"time": NOON // SECOND, "power": 5}, {"topic": "count/plug", "energy": 5}]


@pytest.mark.parametrize("values", OWN_TIME)
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_full_disk_acknowledges_nothing_and_loses_nothing(
    at_once: bool,  # noqa: FBT001
    values: dict[str, Any],
) -> None:
    """While full nothing is acknowledged; with space we reconnect, and what is sent again is recorded once."""
    bench = Bench()
    async with acknowledging(bench) as task:
        bench.disk.full = at_once
        bench.burst(1, **values)
        await bench.fail()
        bench.burst(2, power=6)
        await turns()
        assert bench.acknowledged == []
        assert bench.connection.resumed  # what arrives is still good for live
        assert not task.done()
        assert bench.live.updates == 2
        bench.disk.full = False
        bench.burst(3, power=7)  # must not overtake the others
        bench.disk.space.set()
        with pytest.raises(Unavailable, match="journal was full"):
            await task
    await bench.reconnect()
    assert bench.disk.entries == []
    async with acknowledging(bench):
        bench.take(1, dup=True, **values)
        bench.take(2, dup=True, power=6)
        bench.take(3, dup=True, power=7)
        bench.burst()
        await bench.commit()
        assert bench.acknowledged == [1, 2, 3]
    assert [entry.origin for entry in bench.disk.entries] == [1, 2, 3]
    assert (bench.intake.counters.recorded, bench.intake.counters.not_recorded) == (3, 3)
    if "energy" in values:
        assert bench.readings()[0]["energy"] == 5.0


async def test_a_full_disk_forgets_what_was_queued_behind_it() -> None:
    """All commits that were waiting are given up together, so that nothing later is acknowledged before."""
    bench = Bench()
    bench.burst(1)
    bench.disk.fail()
    bench.burst(2, power=2)
    bench.disk.commit()
    async with acknowledging(bench):
        assert bench.acknowledged == []
        assert bench.intake.unacknowledged == 0


# -- duplicates -----------------------------------------------------------------------------------------------------


async def test_what_is_delivered_again_is_recorded_once() -> None:
    """DUP, the same session, id and values: acknowledged again, and neither recorded nor live again."""
    bench = Bench()
    bench.burst(1, 2)
    await bench.reconnect()
    async with acknowledging(bench):
        bench.take(1, dup=True)
        bench.burst(2, dup=True)
        await turns()
        assert bench.acknowledged == [1, 2]
    assert len(bench.disk.entries) == 2
    assert bench.intake.counters.redelivered == 2
    assert bench.live.updates == 2


@pytest.mark.parametrize(
    ("packet", "values", "session_present"),
    [(1, {"power": 47}, True), (2, {}, True), (1, {"topic": "house/lamp"}, True), (1, {}, False)],
)
async def test_what_only_looks_the_same_is_recorded(
    packet: int,
    values: dict[str, Any],
    session_present: bool,  # noqa: FBT001
) -> None:
    """Another value, id, device or session: another message, DUP or not."""
    bench = Bench()
    bench.burst(1)
    await bench.reconnect(session_present=session_present)
    bench.burst(packet, dup=True, **values)
    bench.disk.commit()
    assert len(bench.disk.entries) == 2


PLUG = {"topic": "zigbee2mqtt/fridge", "voltage": 229, "power": 61.1}


async def test_a_restart_knows_what_the_journal_has() -> None:
    """Rebuilt from the newest entries: also an increment, whose counter, and a plug, whose cache, was another."""
    first = Bench()
    first.burst(1)
    first.burst(2, topic="count/meter", energy=5)
    first.burst(3, state="ON", **PLUG)
    first.burst(4, state="OFF", **PLUG)  # its power is only repeated, which a new process cannot know
    first.disk.commit()
    second = Bench(first.disk, backlog=True)
    recalled = [((entry.origin or 0) & 65_535, entry.device, entry.body) for entry in reversed(first.disk.entries)]
    second.intake.restore(0, recalled)
    for number, values in enumerate(
        [{}, {"topic": "count/meter", "energy": 5}, {"state": "ON", **PLUG}, {"state": "OFF", **PLUG}], 1
    ):
        second.burst(number, dup=True, **values)
    assert second.intake.counters.redelivered == 4


async def test_the_origin_is_the_source_and_the_packet() -> None:
    """By it the next start recognises what this one recorded."""
    bench = Bench()
    bench.intake.restore(3, [])
    bench.burst(7)
    bench.disk.commit()
    assert [entry.origin for entry in bench.disk.entries] == [3 << 16 | 7]


# -- times ----------------------------------------------------------------------------------------------------------


async def test_a_cached_payload_is_recorded_once() -> None:
    """The same last_seen with the same values is a cache speaking, whatever its packet id."""
    bench = Bench()
    for packet in (1, 2, 3):
        bench.burst(packet, time=NOON // SECOND, power=5)
    bench.disk.commit()
    assert [entry.time for entry in bench.disk.entries] == [NOON]
    assert (bench.intake.counters.repeated, bench.live.updates) == (2, 1)


async def test_equal_times_with_other_values_do_not_overwrite_each_other() -> None:
    """An optimistic state carries the previous last_seen: put a nanosecond later, it is another point."""
    bench = Bench()
    for packet, power in enumerate([5, 6, 7], 1):
        bench.burst(packet, time=NOON // SECOND, power=power)
    bench.disk.commit()
    assert [entry.time for entry in bench.disk.entries] == [NOON, NOON + 1, NOON + 2]
    assert bench.live.updates == 1  # nobody knows which of them is true


async def test_an_older_reading_is_recorded_and_not_live() -> None:
    """What a device sends behind its newest reading belongs to the past."""
    bench = Bench()
    bench.burst(1, time=NOON // SECOND, power=5)
    bench.burst(2, time=NOON // SECOND - 10, power=6)
    bench.disk.commit()
    assert [entry.time for entry in bench.disk.entries] == [NOON, NOON - 10 * SECOND]
    assert bench.live.devices["plug"].values == {"power": 5.0}


@pytest.mark.parametrize(("age", "live"), [(0, 1), (LATE // SECOND - 1, 1), (LATE // SECOND + 1, 0), (86_400, 0)])
async def test_a_late_reading_is_never_live(age: int, live: int) -> None:
    """A reading that is a minute old says nothing of the present, but is true of its own time."""
    bench = Bench()
    bench.burst(1, time=NOON // SECOND - age, power=5)
    bench.disk.commit()
    assert [(entry.time, entry.span) for entry in bench.disk.entries] == [(NOON - age * SECOND, None)]
    assert bench.live.updates == live


@pytest.mark.parametrize("time", [NOON // SECOND + 3_600, 5, "yesterday", None, True])
async def test_an_unbelievable_time_is_replaced(time: Any) -> None:
    """A device whose clock is not set is dated by ours."""
    bench = Bench()
    bench.burst(1, time=time, power=5)
    bench.disk.commit()
    assert [(entry.time, entry.span) for entry in bench.disk.entries] == [(NOON, None)]
    assert bench.live.updates == 1


async def test_without_a_date_nothing_is_dated() -> None:
    """Before the clock is set no time is invented or believed; the reading is live all the same."""
    bench = Bench()
    bench.clock.time = None
    bench.burst(1, time=NOON // SECOND, power=5)
    bench.disk.commit()
    assert [entry.time for entry in bench.disk.entries] == [None]
    assert bench.live.updates == 1


# -- the backlog ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since", "now", "span"),
    [
        (NOON - 60 * SECOND, NOON, 60 * SECOND),
        (None, NOON, 3_600 * SECOND),
        (NOON, None, 3_600 * SECOND),
        (NOON, NOON, 1),
    ],
)
async def test_a_backlog_is_recorded_with_its_span_and_never_live(
    since: int | None, now: int | None, span: int
) -> None:
    """What the broker kept happened since we were away, or as long ago as it keeps anything; no rule sees it."""
    bench = Bench(backlog=True)
    bench.intake.offline_since, bench.clock.time = since, now
    bench.burst(1, power=3_600)
    bench.disk.commit()
    assert [(entry.time, entry.span) for entry in bench.disk.entries] == [(now, span)]
    assert (bench.live.updates, bench.live.devices, bench.intake.counters.backlog) == (0, {}, 1)


async def test_a_backlog_with_its_own_times_needs_no_span() -> None:
    """A device that says when it measured is believed, but not live either."""
    bench = Bench(backlog=True)
    bench.burst(1, time=NOON // SECOND, power=5)
    bench.disk.commit()
    assert [(entry.time, entry.span) for entry in bench.disk.entries] == [(NOON, None)]
    assert (bench.live.updates, bench.intake.counters.backlog) == (0, 1)


async def test_an_unknown_redelivery_is_backlog_too() -> None:
    """DUP says that it was sent before: even behind the backlog it is recorded with a span, and not live."""
    bench = Bench()
    bench.intake.offline_since = NOON - SECOND
    bench.burst(1, dup=True)
    bench.disk.commit()
    assert [entry.span for entry in bench.disk.entries] == [SECOND]
    assert bench.live.updates == 0


async def test_retained_messages_without_a_time_are_not_recorded() -> None:
    """Nobody knows when that was; with its own time it is a reading like others, though never live."""
    bench = Bench()
    async with acknowledging(bench):
        bench.burst(1, retain=True)
        bench.burst(2, retain=True, time=NOON // SECOND, power=5)
        await bench.commit()
        assert bench.acknowledged == [1, 2]
    assert [entry.time for entry in bench.disk.entries] == [NOON]
    assert (bench.intake.counters.retained, bench.live.updates) == (1, 0)


# -- increments -----------------------------------------------------------------------------------------------------


async def test_increments_are_summed_and_the_sum_is_durable_with_them() -> None:
    """The counter goes on where it was, per device, written in the same commit as the readings; live has it too."""
    disk = Disk()
    disk.state = {"counter/meter": 1_000.0}
    bench = Bench(disk)
    bench.burst(1, topic="count/meter", energy=5, power=1)
    bench.burst(2, 3, topic="count/meter", energy=0.5)
    bench.burst(4, topic="count/other", energy=7)
    assert bench.disk.state == {"counter/meter": 1_000.0}
    bench.disk.commit()
    assert [values["energy"] for values in bench.readings()] == [1_005.0, 1_005.5, 1_006.0, 7.0]
    assert bench.readings()[0] == {"energy_increment": 5.0, "power": 1.0, "energy": 1_005.0}
    assert bench.disk.state == {"counter/meter": 1_006.0, "counter/other": 7.0}
    assert bench.live.devices["meter"].values["energy"] == 1_006.0


async def test_a_redelivered_increment_is_not_counted_twice() -> None:
    """The same pulses again are the same pulses."""
    bench = Bench()
    bench.burst(1, topic="count/meter", energy=5)
    await bench.reconnect()
    bench.burst(1, topic="count/meter", energy=5, dup=True)
    bench.burst(2, topic="count/meter", energy=5)
    bench.disk.commit()
    assert [values["energy"] for values in bench.readings()] == [5.0, 10.0]


# -- back pressure --------------------------------------------------------------------------------------------------


async def test_more_than_the_disk_can_take_stops_the_reading() -> None:
    """Too much on its way to the disk: the connection pauses, and goes on once enough is durable."""
    bench = Bench(window=65_535)
    async with acknowledging(bench):
        assert bench.burst(*range(1, MOST_UNDURABLE))
        assert not bench.burst(MOST_UNDURABLE)
        await turns()
        assert bench.connection.resumed == 0
        await bench.commit()
        assert bench.connection.resumed
        assert bench.burst(1, power=1)
    assert len(bench.acknowledged) == MOST_UNDURABLE


# -- unreadable -----------------------------------------------------------------------------------------------------


async def test_an_unreadable_message_is_kept_aside_and_stops_nothing() -> None:
    """Counted, kept with its reason, acknowledged behind what came before it; the next message is a reading."""
    bench = Bench()
    async with acknowledging(bench):
        bench.burst(1, raw=b"garbage")
        bench.burst(2)
        await bench.commit()
        assert bench.acknowledged == [1, 2]
    assert [(origin, payload) for origin, _, payload in bench.disk.aside] == [("broker house/plug", b"garbage")]
    assert (bench.intake.unreadable.count, len(bench.disk.entries)) == (1, 1)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["house/a", "count/a", "zigbee2mqtt/a"]), any_payloads, st.booleans(), st.booleans()
        )
    )
)
def test_no_payload_stops_the_intake(messages: list[tuple[str, bytes, bool, bool]]) -> None:
    """Whatever comes, with whatever flags: recorded soundly or counted, and acknowledged."""

    async def story() -> None:
        bench = Bench()
        async with acknowledging(bench):
            for packet, (topic, payload, dup, retain) in enumerate(messages, 1):
                bench.burst(packet, topic=topic, raw=payload or b" ", dup=dup, retain=retain)
            await bench.commit()
            assert bench.acknowledged == list(range(1, len(messages) + 1))
        for values in bench.readings():
            assert values
            assert None not in values.values()

    asyncio.run(story())


# -- devices --------------------------------------------------------------------------------------------------------


async def test_a_device_is_described_when_it_gets_a_name() -> None:
    """Names and models are recorded once, and kept for the next start in the same commit."""
    bench = Bench()
    devices = [
        {"ieee_address": "0x1", "friendly_name": "fridge", "definition": {"vendor": "Innr", "model": "SP 240"}}
    ]
    for packet in (1, 2):
        bench.burst(packet, topic="zigbee2mqtt/bridge/devices", raw=orjson.dumps(devices))
    bench.disk.commit()
    assert [(entry.kind, entry.device, orjson.loads(entry.body)) for entry in bench.disk.entries] == [
        (APPLIANCE, "zigbee-0x1", {"event": "device", "name": "fridge", "model": "Innr SP 240"})
    ]
    assert "fridge" in bench.disk.state[bench.intake.bridge_key]


# -- devices that others tell of, too -------------------------------------------------------------------------------


@pytest.mark.parametrize("full", [False, True])
async def test_what_another_way_told_is_acknowledged_only_when_that_is_on_disk(*, full: bool) -> None:
    """Else a power cut, or a full disk, between the two loses what the broker would have sent again."""
    bench = Bench()
    async with acknowledging(bench) as task:
        bench.collector().record([Reading(SHELLY, NOON, {"power": 5.0})], "websocket", 1.0)
        bench.shelly(1)
        bench.burst()
        await turns()
        assert (bench.acknowledged, bench.intake.counters.repeated) == ([], 1)
        if not full:
            await bench.commit()
            assert bench.acknowledged == [1]
        else:
            await bench.fail()
            bench.disk.space.set()
            with pytest.raises(Unavailable):
                await task
            await bench.reconnect()
            bench.shelly(1, dup=True)
            bench.burst()
            bench.disk.commit()
    assert bench.readings() == [{"power": 5}]


async def test_what_did_not_get_to_the_disk_by_mqtt_is_news_by_another_way() -> None:
    """At QoS 0 nobody sends it again: the webhook that tells the same a moment later must not count as told."""
    bench = Bench()
    bench.shelly()
    bench.burst()
    bench.disk.fail()
    bench.collector().record([Reading(SHELLY, NOON, {"power": 5.0})], "webhook", 0.25)
    bench.disk.commit()
    assert bench.readings() == [{"power": 5}]


async def test_a_backlog_is_recorded_whatever_another_way_tells_now() -> None:
    """Values of the past that are those of now as well are no repetitions of them, and change nothing of now."""
    bench = Bench(backlog=True)
    bench.collector().record([Reading(SHELLY, None, {"power": 0.0})], "websocket", 1.0)
    for packet, power in enumerate((0.0, 100.0, 0.0), 1):
        bench.shelly(packet, NOON - (10 - packet) * SECOND, power=power)
    bench.burst()
    bench.disk.commit()
    assert [one["power"] for one in bench.readings()] == [0, 0, 100, 0]
    assert [entry.time for entry in bench.disk.entries[1:]] == [NOON - age * SECOND for age in (9, 8, 7)]
    assert bench.live.updates == 1


@pytest.mark.parametrize("apart", [-600 * SECOND, -LATE, LATE, 240 * SECOND])
async def test_a_shelly_whose_clock_is_wrong_is_live_at_the_time_of_arrival(apart: int) -> None:
    """As it is by its WebSocket: a notification says what has just happened."""
    bench = Bench()
    bench.shelly(at=NOON + apart)
    bench.burst()
    bench.disk.commit()
    assert [entry.time for entry in bench.disk.entries] == [NOON]
    assert bench.live.devices[SHELLY].time == NOON


async def test_more_devices_than_a_house_can_have_do_not_end_the_connection() -> None:
    """Somebody has invented names at this broker: one more is unreadable, and the others go on."""
    bench = Bench()
    for number in range(MOST_DEVICES):
        bench.ways.news(Reading(f"plug-{number}", None, {"power": 1.0}), bench.intake.name, 0)
    bench.shelly(1)
    bench.take(2)
    bench.burst()
    await bench.commit()
    assert bench.intake.unreadable.count == 1
    assert [entry.device for entry in bench.disk.entries] == ["plug"]


# -- everything together --------------------------------------------------------------------------------------------


class Broker:
    """Keeps a session: sends in order, again what was not acknowledged, with DUP, under the same ids."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.in_flight: list[tuple[int, tuple[str, dict[str, Any]]]] = []
        self.task = asyncio.create_task(self.bench.intake.acknowledge(self.bench.connection))

    def send(self, *contents: tuple[str, dict[str, Any]]) -> None:
        """Send messages that arrive together."""
        for content in contents:
            self.sent.append(content)
            packet = len(self.sent)
            self.in_flight.append((packet, content))
            self.bench.take(packet, content[0], **content[1])
        self.bench.burst()

    async def reconnect(self, acknowledgements_lost: int, *, restart: bool) -> None:
        """Lose the connection, and the newest acknowledgements on their way; send again what is in flight."""
        await turns()
        acknowledged = self.bench.acknowledged
        assert acknowledged == [packet for packet, _ in self.in_flight][: len(acknowledged)]
        del self.in_flight[: max(0, len(acknowledged) - acknowledgements_lost)]
        self.task.cancel()
        with suppress(asyncio.CancelledError, Unavailable):
            await self.task
        disk = self.bench.disk
        if restart:
            disk.fail()  # what was not durable is gone
            recalled = [((entry.origin or 0) & 65_535, entry.device, entry.body) for entry in reversed(disk.entries)]
            self.bench = Bench(disk, backlog=True)
            self.bench.intake.restore(0, recalled)
        await self.bench.reconnect()
        for packet, content in self.in_flight:
            self.bench.take(packet, content[0], dup=True, **content[1])
        self.bench.burst()
        self.task = asyncio.create_task(self.bench.intake.acknowledge(self.bench.connection))
        await turns()


contents = st.one_of(
    st.tuples(st.just("house/plug"), st.fixed_dictionaries({"power": st.integers(1, 2)})),
    st.tuples(st.just("count/meter"), st.fixed_dictionaries({"energy": st.integers(1, 2)})),
    st.tuples(st.just("house/clock"), st.fixed_dictionaries({"power": st.integers(1, 2), "time": st.just(0)})),
)
steps = st.one_of(
    st.tuples(st.just("send"), st.lists(contents, min_size=1, max_size=4)),
    st.tuples(st.just("commit"), st.none()),
    st.tuples(st.just("full"), st.integers(0, 3)),
    st.tuples(st.just("reconnect"), st.integers(0, 3)),
    st.tuples(st.just("restart"), st.integers(0, 3)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=12))
def test_every_message_is_recorded_exactly_once(story: list[tuple[str, Any]]) -> None:
    """Lost connections, acknowledgements and processes, and a full disk: each message is durable once, in order."""

    async def run() -> None:
        broker = Broker()
        broker.bench.disk.space.set()
        ticks = NOON // SECOND - 100_000
        for what, detail in [*story, ("commit", None), ("reconnect", 0), ("commit", None)]:
            if what == "send":
                for topic, values in detail:
                    ticks += 1
                    broker.send((topic, values | ({"time": ticks} if "time" in values else {})))
            elif what == "commit":
                await broker.bench.commit()
            elif what == "full":
                await broker.bench.fail()
                await broker.reconnect(detail, restart=False)
            else:
                await broker.reconnect(detail, restart=what == "restart")
        broker.task.cancel()
        with suppress(asyncio.CancelledError):
            await broker.task
        disk = broker.bench.disk
        assert [entry.origin for entry in disk.entries] == list(range(1, len(broker.sent) + 1))
        counted = sum(values.get("energy", 0) for _, values in broker.sent)
        assert disk.state.get("counter/meter", 0) == counted

    asyncio.run(run())
