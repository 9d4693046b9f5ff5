"""What `interfaces.Sink` promises, held by every sink against its real far side behind a bad network."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import pkgutil
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import orjson
import pytest

from edge_energy import sinks
from edge_energy.config import Influxdb
from edge_energy.config import Kafka as KafkaSettings
from edge_energy.config import Pubsub as PubsubSettings
from edge_energy.config.values import duration
from edge_energy.errors import Rejected, TooLarge, Unavailable
from edge_energy.interfaces import APPLIANCE, INCIDENT
from edge_energy.messages import Messages
from edge_energy.sinks.influxdb import LARGEST_ANSWER, LONGEST_EXPLANATION, LONGEST_RETRY_AFTER, InfluxdbSink
from edge_energy.sinks.kafka import KafkaSink
from edge_energy.sinks.pubsub import PubsubSink
from tests.contract.grpc_proxy import GrpcProxy
from tests.servers import kcat
from tests.servers.kafka_proxy import ProduceProxy
from tests.servers.proxy import FaultProxy
from tests.unit.samples import NOON, SECOND, entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_energy.interfaces import Entry, Sink
    from tests.servers.influxdb import InfluxDB
    from tests.servers.kafka import Kafka
    from tests.servers.pubsub import Pubsub

SOON = 20.0
Stored = set[tuple[str, int, str, float | bool]]
"""(device, time, quantity, value)"""


class FarSide(Protocol):
    """One kind of far side, as the suite needs it. A new sink adds one of these, and an entry in `FAR_SIDES`."""

    proxy: FaultProxy
    conflict: dict[str, Any]
    """Values that it refuses for good once it has seen `entry(1)`, so that all others are still accepted."""

    def sink(self, **settings: Any) -> Sink:
        """Return a sink that writes through the proxy."""
        ...

    def stored(self) -> Stored:
        """Return all that has arrived, as often as it is there."""
        ...

    def contents(self, *entries: Entry) -> Stored:
        """Return what is stored of these entries."""
        ...

    def stop(self) -> None:
        """Let it be gone."""
        ...

    def start(self) -> None:
        """Let it be back."""
        ...


class InfluxdbFarSide:
    """InfluxDB 2.7."""

    def __init__(self, server: InfluxDB, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self.conflict = {"power": True}
        self.server = server

    def sink(self, **settings: Any) -> InfluxdbSink:
        """Return a sink that writes through the proxy."""
        where = {"url": self.proxy.url, "org": self.server.org, "bucket": self.server.bucket}
        found = Influxdb.model_validate({**where, "token": self.server.token, "timeout": "8s"} | settings)
        return InfluxdbSink(found, "house-1")

    def rows(self) -> list[dict[str, Any]]:
        """Return every field of every point."""
        return self.server.query(
            f'from(bucket: "{self.server.bucket}") |> range(start: 0, stop: 2200-01-01T00:00:00Z)'
            " |> map(fn: (r) => ({r with _time: int(v: r._time)}))"
        )

    def stored(self) -> Stored:
        """Return what is in the bucket."""
        return {(row["device"], row["_time"], row["_field"], row["_value"]) for row in self.rows()}

    def contents(self, *entries: Entry) -> Stored:
        """Return everything, to the nanosecond."""
        return {(e.device, e.time, name, value) for e in entries for name, value in e.body.items()}

    def stop(self) -> None:
        """Kill it."""
        self.server.kill()

    def start(self) -> None:
        """Start it on its data."""
        self.server.start()


class PubsubFarSide:
    """The Pub/Sub emulator."""

    def __init__(self, server: Pubsub, proxy: GrpcProxy) -> None:
        self.proxy = proxy
        self.conflict = {"text": "x" * 10_000_000}
        self.server = server
        self.events: dict[str, dict[str, Any]] = {}

    def sink(self, **settings: Any) -> PubsubSink:
        """Return a sink that publishes through the proxy."""
        timeout = max(1.0, duration(settings.get("timeout", "8s")))
        found = PubsubSettings.model_validate({"project": self.server.project, "timeout": timeout})
        return PubsubSink(found, Messages("house-1", "journal"))

    def stored(self) -> Stored:
        """Return what the topic's subscription has got; the same event twice must have the same id."""
        for message in self.server.pull("shelly_data"):
            event, body = message.attributes["ce_id"], orjson.loads(message.data)
            assert self.events.setdefault(event, body) == body
        found = {json.dumps(body) for body in self.events.values()}
        assert len(found) == len(self.events)
        return {
            (body["device"], nanoseconds(body["timestamp"]), name, value)
            for body in self.events.values()
            for name, value in body.items()
            if name not in ("device", "timestamp", "more")
        }

    def contents(self, *entries: Entry) -> Stored:
        """Return what a message can carry: microseconds, and a value under the name of its own field as another."""
        return {
            (e.device, e.time // 1000 * 1000, {"device": "device_"}.get(name, name), value)
            for e in entries
            for name, value in e.body.items()
        }

    def stop(self) -> None:
        """Kill it, with all that it has."""
        self.server.kill()

    def start(self) -> None:
        """Start it, empty."""
        self.server.start()
        self.server.create_topic("shelly_data")
        self.server.create_subscription("shelly_data", "shelly_data")


class KafkaProxy(ProduceProxy):
    """`requests` counts connections as well: a client that hangs does not come as far as its first message."""

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests += 1
        await super()._connected(reader, writer)

    def drop_answer(self, times: int | None = None) -> None:
        """Lose answers until the sink loses its patience: it asks again by itself after a third of its timeout."""
        self.drop_responses(3 * (times or 1), cut=False)


class KafkaFarSide:
    """Apache Kafka 3.9."""

    def __init__(self, server: Kafka, proxy: KafkaProxy) -> None:
        self.proxy = proxy
        self.conflict = {"text": "x" * 1_100_000}
        self.server = server

    def sink(self, **settings: Any) -> KafkaSink:
        """Return a sink that writes through the proxy."""
        where = {"brokers": self.server.proxied_brokers, **self.server.topics}
        timeout = max(2.0, duration(settings.get("timeout", "8s")))
        found = KafkaSettings.model_validate({**where, "timeout": timeout})
        return KafkaSink(found, Messages("house-1", "journal"), "edge-energy-house-1")

    def stored(self) -> Stored:
        """Return what is in the topic; the same event twice must have the same id, and another a different one."""
        events: dict[str, bytes] = {}
        for record in kcat.read(self.server, self.server.topics["readings_topic"]):
            assert events.setdefault(record.headers["ce_id"], record.payload) == record.payload
        assert len({*events.values()}) == len(events)
        return {
            (body["device"], nanoseconds(body["timestamp"]), name, value)
            for body in map(orjson.loads, events.values())
            for name, value in body.items()
            if name not in ("device", "timestamp")
        }

    def contents(self, *entries: Entry) -> Stored:
        """Return what a message can carry: microseconds, and a value under the name of its own field as another."""
        return {
            (e.device, e.time // 1000 * 1000, {"device": "device_"}.get(name, name), value)
            for e in entries
            for name, value in e.body.items()
        }

    def stop(self) -> None:
        """Kill it."""
        self.server.kill()

    def start(self) -> None:
        """Start it on its data."""
        self.server.start()


FAR_SIDES: dict[type, str] = {
    InfluxdbSink: "influxdb_far_side",
    KafkaSink: "kafka_far_side",
    PubsubSink: "pubsub_far_side",
}
"""Every sink, and the fixture that brings its far side."""


@pytest.fixture
def influxdb_far_side(influxdb: InfluxDB) -> Iterator[InfluxdbFarSide]:
    with FaultProxy(influxdb.port) as proxy:
        yield InfluxdbFarSide(influxdb, proxy)


@pytest.fixture
def kafka_far_side(kafka: Kafka) -> Iterator[KafkaFarSide]:
    with KafkaProxy(kafka) as proxy:
        yield KafkaFarSide(kafka, proxy)


@pytest.fixture
def pubsub_far_side(pubsub: Pubsub, monkeypatch: pytest.MonkeyPatch) -> Iterator[PubsubFarSide]:
    with GrpcProxy(pubsub.port) as proxy:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"{proxy.host}:{proxy.port}")
        yield PubsubFarSide(pubsub, proxy)


@pytest.fixture(params=FAR_SIDES.values())
def far_side(request: pytest.FixtureRequest) -> FarSide:
    found: FarSide = request.getfixturevalue(request.param)
    return found


def nanoseconds(timestamp: str) -> int:
    """Return UTC nanoseconds of what a message says."""
    moment = datetime.fromisoformat(timestamp)
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1000


def some(count: int) -> list[Entry]:
    return [
        entry(n, device=f"plug-{n % 7}", time=NOON + n, body={"power": float(n), "output": n % 2 == 0})
        for n in range(count)
    ]


async def write(sink: Sink, *entries: Entry) -> None:
    async with asyncio.timeout(SOON), sink:
        await sink.write(entries)


def test_every_sink_is_held_to_this_contract() -> None:
    """A sink without an entry in `FAR_SIDES` would be tested by nobody."""
    modules = [
        importlib.import_module(f"{sinks.__name__}.{module.name}") for module in pkgutil.iter_modules(sinks.__path__)
    ]
    found = {
        member
        for module in modules
        for _, member in inspect.getmembers(module, inspect.isclass)
        if member.__module__ == module.__name__ and hasattr(member, "write")
    }
    assert found == {*FAR_SIDES}


async def test_what_was_written_is_there(far_side: FarSide) -> None:
    """`write` returns when the far side has every entry, with its own time to the nanosecond."""
    entries = some(1_500)
    await write(far_side.sink(), *entries)
    assert far_side.stored() == far_side.contents(*entries)


async def test_writing_again_has_no_further_effect(far_side: FarSide) -> None:
    """At least once is harmless only if twice is once."""
    sink, entries = far_side.sink(), some(10)
    async with sink:
        for batch in (entries, entries[:5], entries[5:], entries):
            await sink.write(batch)
    await write(far_side.sink(), *entries)
    assert far_side.stored() == far_side.contents(*entries)


async def test_a_lost_answer_is_an_outage_and_repeating_is_safe(far_side: FarSide) -> None:
    """Whether the far side has the entries is unknown then: they are written again, and are there once."""
    far_side.proxy.drop_answer(times=1)
    entries = some(10)
    with pytest.raises(Unavailable):
        await write(far_side.sink(), *entries)
    await write(far_side.sink(), *entries)
    assert far_side.stored() == far_side.contents(*entries)


@pytest.mark.parametrize("fault", ["refuse", "hang", "cut", "stop"])
async def test_a_far_side_that_is_away_is_unavailable(far_side: FarSide, fault: str) -> None:
    """Opening is no error, writing is, soon, and with the reason; the same sink goes on when the far side is back."""
    sink = far_side.sink(timeout="300ms")
    if fault == "cut":
        async with sink:
            await gets_through(sink, entry(1))
            far_side.proxy.refuse()
            with pytest.raises(Unavailable):
                await sink.write([entry(2)])
            far_side.proxy.ok()
            await gets_through(sink, entry(2))
        assert far_side.stored() == far_side.contents(entry(1), entry(2))
        return
    disturb: Callable[[], None] = far_side.stop if fault == "stop" else getattr(far_side.proxy, fault)
    disturb()
    async with sink:
        async with asyncio.timeout(SOON):
            with pytest.raises(Unavailable) as caught:
                await sink.write([entry(1)])
        assert len(str(caught.value)) > 20
        (far_side.start if fault == "stop" else far_side.proxy.ok)()
        await gets_through(sink, entry(1))
    assert far_side.stored() == far_side.contents(entry(1))


async def gets_through(sink: Sink, *entries: Entry) -> None:
    """Write them again until they are taken: on a busy machine 300 ms are too short now and then."""
    async with asyncio.timeout(SOON):
        while True:
            with contextlib.suppress(Unavailable):
                await sink.write(entries)
                return


async def test_writing_can_be_cancelled(far_side: FarSide) -> None:
    """Stop means cancel: a far side that hangs holds up no stop."""
    far_side.proxy.hang()
    sink = far_side.sink(timeout="60s")
    async with asyncio.timeout(SOON):
        async with sink:
            writing = asyncio.create_task(sink.write([entry(1)]))
            while not far_side.proxy.requests:  # noqa: ASYNC110 - the proxy lives in another thread
                await asyncio.sleep(0.01)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing


async def test_a_bad_entry_is_rejected_and_the_others_can_go(far_side: FarSide) -> None:
    """What is refused for good says so, as a whole batch and alone; what is good is accepted beside it."""
    sink = far_side.sink()
    bad = entry(2, body=far_side.conflict)
    async with asyncio.timeout(SOON), sink:
        await sink.write([entry(1)])
        for batch in ([entry(3), bad, entry(4)], [bad]):
            with pytest.raises(Rejected):
                await sink.write(batch)
        await sink.write([entry(3), entry(4)])
    assert far_side.stored() == far_side.contents(entry(1), entry(3), entry(4))


NASTY_NAMES = [
    "a,b=c d",
    "a\\b",
    '"quoted"',
    "'",
    "#comment",
    " ",
    "salle/à manger",
    "\U0001f50c",
    "_field",
    "_time",
    "_measurement",
    "device",
    "true",
    "1",
    'a="',
    "x" * 128,
    "\u00a0",
    "{}",
    "%s",
    "$",
    "/",
    "../..",
    "-",
]


async def test_nasty_names_are_carried_as_they_are(far_side: FarSide) -> None:
    """Whatever devices and quantities are called, they arrive, under that name."""
    entries = [entry(n, device=name, body={name: 1.5, "power": float(n)}) for n, name in enumerate(NASTY_NAMES)]
    await write(far_side.sink(), *entries)
    assert far_side.stored() == far_side.contents(*entries)


IMPOSSIBLE_NAMES = ["", "a\nb", "a\r", "\t", "\0", "a\\", "\\", "a\\,b", "a\\ b", "a\\=b", "time", "\x7f", "a\\\\\\,"]


async def test_impossible_names_stop_nothing(far_side: FarSide) -> None:
    """What cannot be carried as it is arrives under a similar name: no entry is refused, no value lost."""
    entries = [
        entry(n, device=f"d{n}{name}", body={name: 1.5, "power": 2.5}) for n, name in enumerate(IMPOSSIBLE_NAMES)
    ]
    await write(far_side.sink(), *entries)
    stored = far_side.stored()
    assert len(stored) == 2 * len(entries)
    assert {value for _, _, _, value in stored} == {1.5, 2.5}


@pytest.mark.parametrize("value", [0.0, -0.0, 1e16, 1e22, 5e-324, 1.7976931348623157e308, 0.1, 1 / 3, True, False])
async def test_values_arrive_to_the_last_bit(far_side: FarSide, value: float | bool) -> None:  # noqa: FBT001
    """No number is rounded, and a relay's state stays a boolean."""
    await write(far_side.sink(), entry(1, body={"x": value}))
    assert far_side.stored() == far_side.contents(entry(1, body={"x": value}))


async def test_nothing_to_write_is_no_request(far_side: FarSide) -> None:
    """An empty batch, or entries without values, must not be an error of the far side."""
    await write(far_side.sink())
    await write(far_side.sink(), entry(1, body={}))
    assert far_side.proxy.requests == 0


async def test_compression_changes_nothing(far_side: FarSide) -> None:
    """What goes to another machine is compressed."""
    entries = some(2_000)
    await write(far_side.sink(gzip=True), *entries)
    assert far_side.stored() == far_side.contents(*entries)


# -- InfluxDB's own answers ----------------------------------------------------------------------------------


async def test_other_kinds_have_measurements_and_text(influxdb_far_side: InfluxdbFarSide) -> None:
    """A device's name, an incident and a span arrive where a query looks for them."""
    name = 'salle "é"\\ , = '
    await write(
        influxdb_far_side.sink(),
        entry(1, kind=APPLIANCE, body={"event": "device", "name": name}),
        entry(2, kind=INCIDENT, body={"event": "opened", "open": True, "count": 3}),
        entry(3, span=2 * SECOND),
    )
    found = {(row["_measurement"], row["_field"]): row["_value"] for row in influxdb_far_side.rows()}
    assert found == {
        ("device", "event"): "device",
        ("device", "name"): name,
        ("incident", "event"): "opened",
        ("incident", "open"): True,
        ("incident", "count"): 3.0,
        ("energy", "power"): 3.0,
        ("energy", "span"): 2.0,
    }
    assert {row["appliance"] for row in influxdb_far_side.rows()} == {"house-1"}


@pytest.mark.parametrize(
    ("status", "headers", "error", "wish"),
    [
        (503, {"Retry-After": "7"}, Unavailable, 7.0),
        (429, {"retry-after": "1.5"}, Unavailable, 1.5),
        (503, {"Retry-After": "999999"}, Unavailable, LONGEST_RETRY_AFTER),
        (503, {"Retry-After": "-5"}, Unavailable, 0.0),
        (503, {"Retry-After": "Fri, 20 Nov 2026 09:30:00 GMT"}, Unavailable, None),
        (500, {}, Unavailable, None),
        (502, {}, Unavailable, None),
        (504, {}, Unavailable, None),
        (200, {}, Unavailable, None),
        (302, {"Location": "/login"}, Unavailable, None),
        (413, {}, TooLarge, None),
        (400, {}, Rejected, None),
        (422, {}, Rejected, None),
    ],
)
async def test_each_answer_means_what_it_must(
    influxdb_far_side: InfluxdbFarSide,
    status: int,
    headers: dict[str, str],
    error: type[Exception],
    wish: float | None,
) -> None:
    """Who must act is decided by the status; a peer's wish is respected within reason."""
    influxdb_far_side.proxy.answer(status, '{"message": "because"}', headers)
    with pytest.raises(error) as caught:
        await write(influxdb_far_side.sink(), entry(1))
    assert getattr(caught.value, "retry_after", None) == wish
    if error is not Unavailable or status >= 400:
        assert "because" in str(caught.value)


async def test_the_token_follows_no_redirection(influxdb_far_side: InfluxdbFarSide) -> None:
    """Whoever stands in between and says "over there" does not get it there."""
    callers: list[object] = []
    async with await asyncio.start_server(lambda _, writer: callers.append(writer), "127.0.0.1", 0) as elsewhere:
        port = elsewhere.sockets[0].getsockname()[1]
        influxdb_far_side.proxy.answer(307, "", {"Location": f"http://127.0.0.1:{port}/api/v2/write"})
        with pytest.raises(Unavailable, match=r"does not answer as InfluxDB does: correct \[influxdb\] url"):
            await write(influxdb_far_side.sink(), entry(1))
    assert not callers


async def test_an_endless_explanation_is_not_read_to_its_end(influxdb_far_side: InfluxdbFarSide) -> None:
    """What stands in the log and in memory is bounded, whoever answers."""
    influxdb_far_side.proxy.answer(400, json.dumps({"message": "because " * 1000}))
    with pytest.raises(Rejected, match="because") as wordy:
        await write(influxdb_far_side.sink(), entry(1))
    influxdb_far_side.proxy.answer(400, json.dumps({"message": "x" * LARGEST_ANSWER}))
    with pytest.raises(Rejected, match=r"^Fault$"):
        await write(influxdb_far_side.sink(), entry(1))
    assert len(str(wordy.value)) == LONGEST_EXPLANATION


@pytest.mark.parametrize("body", ["", "<html>busy</html>", "[]", '{"message": null}', "\x00"])
async def test_an_answer_in_another_language_is_understood(influxdb_far_side: InfluxdbFarSide, body: str) -> None:
    """A reverse proxy in between speaks HTML, or nothing."""
    influxdb_far_side.proxy.answer(502, body)
    with pytest.raises(Unavailable, match="answered 502: it cannot serve now"):
        await write(influxdb_far_side.sink(), entry(1))


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
        ("token", "wrong", r"answered 401.*correct \[influxdb\] token"),
        ("bucket", "nowhere", r"answered 404.*no bucket 'nowhere'.*correct \[influxdb\] bucket or org"),
        ("org", "nobody", r"answered 404.*organisation 'nobody'.*correct \[influxdb\] bucket or org"),
    ],
)
async def test_a_wrong_setting_is_named(
    influxdb_far_side: InfluxdbFarSide, setting: str, value: str, named: str
) -> None:
    """It is the operator's to correct: nothing is lost meanwhile, and no secret is shown."""
    with pytest.raises(Unavailable, match=named) as caught:
        await write(influxdb_far_side.sink(**{setting: value}), entry(1))
    assert influxdb_far_side.server.token not in str(caught.value)
    assert setting != "token" or value not in str(caught.value)


async def test_refusals_that_name_the_data_are_certain(influxdb_far_side: InfluxdbFarSide) -> None:
    """A conflict of types, or an age beyond the bucket's retention, never counts towards a wrong far side."""
    sink = influxdb_far_side.sink()
    async with sink:
        await sink.write([entry(1)])
        with pytest.raises(Rejected, match="field type conflict") as conflict:
            await sink.write([entry(2, body={"power": True})])
    influxdb_far_side.server.fresh_bucket(retention_seconds=3600)
    with pytest.raises(Rejected, match="retention policy") as too_old:
        await write(influxdb_far_side.sink(), entry(1, time=10**9 * SECOND))
    assert (conflict.value.certain, too_old.value.certain) == (True, True)


async def test_what_is_not_understood_may_be_the_far_side_s_fault(influxdb_far_side: InfluxdbFarSide) -> None:
    """A plain 400 counts: a hundred in a row mean that something between here and there is broken."""
    influxdb_far_side.proxy.answer(400, '{"message": "unable to parse"}')
    with pytest.raises(Rejected) as caught:
        await write(influxdb_far_side.sink(), entry(1))
    assert not caught.value.certain


# -- Pub/Sub ---------------------------------------------------------------------------------------------------


async def test_what_is_published_twice_is_one_event(pubsub_far_side: PubsubFarSide) -> None:
    """An answer that was lost makes duplicates; they have the same id, and the first of each keep their order."""
    pubsub_far_side.proxy.drop_answer(times=1)
    entries = [entry(n) for n in range(1, 11)]
    sink = pubsub_far_side.sink()
    async with sink:
        with pytest.raises(Unavailable, match="cannot reach"):
            await sink.write(entries)
        await sink.write(entries)
    ids = [message.attributes["ce_id"] for message in pubsub_far_side.server.pull("shelly_data")]
    assert ids == [f"journal/{n}" for n in range(1, 11)] * 2
