"""What the brokers say, and what it means: each error against a real one."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from edge_energy.config import Kafka as Settings
from edge_energy.errors import Rejected, TooLarge, Unavailable
from edge_energy.interfaces import APPLIANCE, COMMAND, INCIDENT, READING
from edge_energy.kafka.session import Session
from edge_energy.messages import Messages
from edge_energy.sinks.kafka import KafkaSink
from tests.servers import kcat
from tests.servers.base import free_port
from tests.servers.certificates import make_certificates
from tests.servers.kafka_proxy import ProduceProxy
from tests.unit.samples import NOON, SECOND, entry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_energy.interfaces import Entry
    from tests.servers.kafka import Kafka

SOON = 8.0
"""Seconds within which a wrong setting is named, with a `timeout` of a minute."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believe sooner that a setting is wrong; tests without it hold us to `SOON` with what users wait."""
    monkeypatch.setattr("edge_energy.kafka.client.PATIENCE", 0.2)
    monkeypatch.setattr("edge_energy.kafka.session._PROPAGATION", 200)


def sink(kafka: Kafka, **settings: Any) -> KafkaSink:
    found = {"brokers": kafka.brokers, "timeout": "60s", **kafka.topics} | settings
    return KafkaSink(Settings.model_validate(found), Messages("house-1", "journal"), "edge-energy-house-1")


def secure(kafka: Kafka, **settings: Any) -> KafkaSink:
    return sink(
        kafka,
        **{
            "brokers": kafka.sasl_brokers,
            "tls": True,
            "ca_file": str(kafka.certificates.ca),
            "username": kafka.user,
            "password": kafka.password,
        }
        | settings,
    )


def with_certificate(kafka: Kafka, **settings: Any) -> KafkaSink:
    made = kafka.certificates
    files = {"ca_file": str(made.ca), "cert_file": str(made.client), "key_file": str(made.client_key)}
    return sink(kafka, **{"brokers": kafka.mtls_brokers, "tls": True} | files | settings)


async def write(sink: KafkaSink, *entries: Entry) -> None:
    async with asyncio.timeout(30), sink:
        await sink.write(entries)


async def written(writing: KafkaSink, *entries: Entry) -> None:
    """Write, again and again where the timeout is shorter than what a broker needs on a busy machine."""
    while True:
        try:
            return await writing.write(entries)
        except Unavailable:
            await asyncio.sleep(0.1)


def some(count: int, devices: int = 7) -> list[Entry]:
    return [entry(n, device=f"plug-{n % devices}", time=NOON + n * SECOND) for n in range(count)]


def positions(records: Sequence[kcat.Record]) -> list[int]:
    return [int(record.headers["ce_id"].removeprefix("journal/")) for record in records]


def readings(kafka: Kafka) -> list[kcat.Record]:
    return kcat.read(kafka, kafka.topics["readings_topic"])


async def test_a_message_is_what_was_promised(kafka: Kafka) -> None:
    """Key, headers, timestamp (ms) and body: kcat reads them as anybody would."""
    await write(sink(kafka), entry(7, device="salle à manger", time=NOON + 1_500_000, body={"power": 46.9}))
    (record,) = readings(kafka)
    assert record.key == "salle à manger"
    assert record.headers == {
        "ce_specversion": "1.0",
        "ce_id": "journal/7",
        "ce_source": "/edge-energy/house-1",
        "ce_type": "edge_energy.reading",
        "ce_time": "2026-09-21T14:13:20.001500Z",
        "content-type": "application/json",
    }
    assert record.timestamp == NOON // 10**6 + 1
    assert orjson.loads(record.payload) == {
        "device": "salle à manger",
        "timestamp": "2026-09-21T14:13:20.001500Z",
        "power": 46.9,
    }


async def test_each_kind_has_its_topic(kafka: Kafka) -> None:
    """And what is of no known kind goes where the appliance tells about itself."""
    kinds = {"reading": "readings", COMMAND: "commands", INCIDENT: "incidents", APPLIANCE: "appliance"}
    await write(sink(kafka), *[entry(n, kind=kind) for n, kind in enumerate([*kinds, "new"])])
    found = {topic: positions(kcat.read(kafka, kafka.topics[f"{topic}_topic"])) for topic in kinds.values()}
    assert found == {"readings": [0], "commands": [1], "incidents": [2], "appliance": [3, 4]}


@pytest.mark.parametrize("compression", ["zstd", "lz4", "gzip", "snappy", "none"])
async def test_each_compression_is_understood(kafka: Kafka, compression: str) -> None:
    """By librdkafka as we ship it, by the broker and by kcat; and it is one."""
    with ProduceProxy(kafka) as proxy:
        await write(sink(kafka, brokers=kafka.proxied_brokers, compression=compression), *some(500))
        assert (proxy.uploaded < 60_000) == (compression != "none")
    assert sorted(positions(readings(kafka))) == list(range(500))


@pytest.mark.parametrize("order", ["live_first", "strict"])
async def test_each_device_keeps_its_order(kafka: Kafka, order: str) -> None:
    """In one partition each, however many there are and however many batches."""
    kafka.fresh_topics(partitions=3)
    entries = some(9_000)
    async with asyncio.timeout(30), sink(kafka, order=order) as writing:
        for start in range(0, len(entries), 3_000):
            await writing.write(entries[start : start + 3_000])
    found = readings(kafka)
    assert sorted(positions(found)) == list(range(9_000))
    for device in range(7):
        mine = [record for record in found if record.key == f"plug-{device}"]
        assert len({record.partition for record in mine}) == 1
        assert positions(mine) == sorted(positions(mine))


async def test_a_device_is_where_java_s_clients_look_for_it(kafka: Kafka) -> None:
    """murmur2 of the key, modulo the partitions: `org.apache.kafka.common.utils.Utils.murmur2`."""
    kafka.fresh_topics(partitions=12)
    await write(sink(kafka), *[entry(n, device=f"plug-{n}") for n in range(40)])
    assert {r.key: r.partition for r in readings(kafka)} == {
        f"plug-{n}": (murmur2(f"plug-{n}".encode()) & 0x7FFFFFFF) % 12 for n in range(40)
    }


def murmur2(data: bytes) -> int:
    """Return MurmurHash2 with the seed and the byte order of Kafka's Java clients."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        h = (h * m & mask) ^ ((k ^ k >> 24) * m & mask)
    if tail := data[whole:]:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


# -- who we are ----------------------------------------------------------------------------------------------


async def test_a_password_opens(kafka: Kafka) -> None:
    """Each mechanism, over TLS."""
    mechanisms = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
    await asyncio.gather(*[write(secure(kafka, mechanism=each), entry(n)) for n, each in enumerate(mechanisms)])
    assert sorted(positions(readings(kafka))) == [0, 1, 2]


async def test_a_certificate_opens(kafka: Kafka) -> None:
    """Mutual TLS."""
    await write(with_certificate(kafka), entry(1))
    assert positions(readings(kafka)) == [1]


@pytest.mark.usefixtures("impatient")
async def test_a_wrong_password_is_named_soon(kafka: Kafka, capfd: pytest.CaptureFixture[str]) -> None:
    """Not after the timeout of a minute; nothing that is secret is shown, and librdkafka writes nothing itself."""

    async def attempt(mechanism: str, wrong: str) -> str:
        with pytest.raises(Unavailable, match=r"correct \[kafka\] username or password") as caught:
            await write(secure(kafka, **{"mechanism": mechanism, wrong: "not-the-right-one"}), entry(1))
        return str(caught.value)

    cases = itertools.product(("SCRAM-SHA-512", "PLAIN"), ("username", "password"))
    async with asyncio.timeout(SOON):
        errors = await asyncio.gather(*[attempt(*case) for case in cases])
    assert all(kafka.sasl_brokers in error for error in errors)
    shown = "".join([*errors, *capfd.readouterr()])
    assert kafka.password not in shown
    assert "not-the-right-one" not in shown


@pytest.mark.usefixtures("impatient")
async def test_a_certificate_that_we_do_not_trust_is_named_soon(kafka: Kafka, tmp_path: Path) -> None:
    """Somebody between us and the broker must not read the house."""
    other = make_certificates(tmp_path / "other")
    async with asyncio.timeout(SOON):
        with pytest.raises(Unavailable, match=r"correct \[kafka\] .*ca_file"):
            await write(secure(kafka, ca_file=str(other.ca)), entry(1))
    assert readings(kafka) == []


@pytest.mark.usefixtures("impatient")
async def test_a_certificate_that_they_want_is_named_soon(kafka: Kafka) -> None:
    """The broker ends the handshake."""
    async with asyncio.timeout(SOON):
        with pytest.raises(Unavailable, match=r"correct \[kafka\] .*cert_file") as caught:
            await write(with_certificate(kafka, cert_file=None, key_file=None), entry(1))
    assert kafka.mtls_brokers in str(caught.value)


async def test_a_file_that_is_no_certificate_is_named(kafka: Kafka, tmp_path: Path) -> None:
    """It was readable when the configuration was; what is in it shows when the session begins."""
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(Unavailable, match=r"\[kafka\] .*ca_file"):
        await write(secure(kafka, ca_file=str(tmp_path / "ca.pem")), entry(1))


async def test_tls_and_none_do_not_meet(kafka: Kafka) -> None:
    """Either way round: which broker, and that it may be encryption."""

    async def attempt(other: KafkaSink) -> None:
        with pytest.raises(Unavailable, match=r"cannot reach 127.0.0.1:\d+.*\[kafka\] tls and username"):
            await write(other, entry(1))

    await asyncio.gather(
        attempt(sink(kafka, brokers=kafka.mtls_brokers, timeout="4s")),
        attempt(with_certificate(kafka, brokers=kafka.brokers, timeout="4s")),
    )


async def test_a_listener_that_asks_for_no_password_is_named_soon(kafka: Kafka) -> None:
    """As is one that knows the mechanism by another name."""
    async with asyncio.timeout(SOON):
        with pytest.raises(Unavailable, match=r"correct \[kafka\] mechanism or username"):
            await write(sink(kafka, username="edge", password="any"), entry(1))


# -- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
async def test_a_missing_topic_is_named(kafka: Kafka) -> None:
    """With the command that makes it, and the setting."""
    async with asyncio.timeout(SOON):
        with pytest.raises(Unavailable, match=r"no topic 'nowhere'.*create-topics.*\[kafka\] incidents_topic"):
            await write(sink(kafka, incidents_topic="nowhere"), entry(1), entry(2, kind=INCIDENT))


async def test_a_topic_that_comes_later_is_found(kafka: Kafka) -> None:
    """The same sink goes on, once somebody has made it."""
    name = kafka.topics["readings_topic"] + "-later"
    async with asyncio.timeout(30), sink(kafka, readings_topic=name) as writing:
        with pytest.raises(Unavailable):
            await writing.write([entry(1)])
        kafka.create_topic(name)
        await writing.write([entry(1)])
    assert positions(kcat.read(kafka, name)) == [1]


async def test_a_topic_that_is_forbidden_is_named(kafka: Kafka) -> None:
    """Reading it does not help."""
    kafka.forbid_writing(kafka.topics["readings_topic"])
    async with asyncio.timeout(SOON):
        with pytest.raises(Unavailable, match=rf"user '{kafka.user}' may not .*\[kafka\] readings_topic"):
            await write(secure(kafka), entry(1))


BATCH = [entry(n, kind=INCIDENT if n in (3, 7) else READING) for n in range(10)]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("order", ["live_first", "strict"])
async def test_a_topic_that_takes_nothing_makes_no_duplicates_in_others(kafka: Kafka, order: str) -> None:
    """Missing or forbidden, however often a batch is tried, in a sink that is opened anew; others go meanwhile."""

    async def attempts(topics: dict[str, str]) -> KafkaSink:
        writing = secure(kafka, **topics, order=order)
        for number in (10, 11):
            with pytest.raises(Unavailable):
                await write(writing, *BATCH)
            await write(writing, entry(number))
        return writing

    forbidden, missing = kafka.topics, kafka.fresh_topics()
    missing["incidents_topic"] += "-missing"
    kafka.forbid_writing(forbidden["incidents_topic"])
    _, writing = await asyncio.gather(attempts(forbidden), attempts(missing))
    for topics in (forbidden, missing):
        found = positions(kcat.read(kafka, topics["readings_topic"]))
        assert len({*found}) == len(found)
        assert {10, 11} <= {*found}
    kafka.create_topic(missing["incidents_topic"])
    async with asyncio.timeout(30), writing:
        await writing.write(BATCH)
        await writing.write(BATCH)  # nothing goes ahead any more
    assert positions(kcat.read(kafka, missing["incidents_topic"])) == [3, 7, 3, 7]
    found = positions(kcat.read(kafka, missing["readings_topic"]))
    assert found[-17:] == [11, *2 * [0, 1, 2, 4, 5, 6, 8, 9]]


@pytest.mark.usefixtures("impatient")
async def test_after_an_outage_each_topic_goes_ahead_once(kafka: Kafka) -> None:
    """All were in doubt: one that takes its messages again does not get them at each attempt for another's sake."""
    writing = sink(kafka, incidents_topic=kafka.topics["incidents_topic"] + "-missing")
    writing._doubtful = {writing._settings.topic(kind) for kind in (READING, INCIDENT)}
    for _ in range(3):
        with pytest.raises(Unavailable):
            await write(writing, *BATCH)
    assert positions(readings(kafka)) == [0]


@pytest.mark.usefixtures("impatient")
async def test_what_went_ahead_was_accepted_whatever_becomes_of_the_rest(kafka: Kafka) -> None:
    """Or it would arrive again behind what followed it."""
    name = kafka.topics["incidents_topic"] + "-later"
    async with asyncio.timeout(30), sink(kafka, incidents_topic=name) as writing:
        with pytest.raises(Unavailable):
            await writing.write([entry(1, kind=INCIDENT)])
        kafka.create_topic(name)
        with pytest.raises(Rejected) as caught:
            await writing.write([entry(0), entry(1, kind=INCIDENT), entry(2, kind=INCIDENT), entry(3, body=HUGE)])
    assert caught.value.accepted == {0, 1, 2}
    assert positions(kcat.read(kafka, name)) == [1, 2]


async def test_a_user_who_may_not_write_is_named(kafka: Kafka) -> None:
    """Neither to the cluster as a producer, nor to the topics."""
    async with asyncio.timeout(SOON):
        with pytest.raises(Unavailable, match=rf"user '{kafka.reader}' may not .*correct \[kafka\]"):
            await write(secure(kafka, username=kafka.reader, password=kafka.reader_password), entry(1))


HUGE = {"text": "x" * 2_000_000}


async def test_a_record_that_no_topic_takes_is_refused_for_good(kafka: Kafka) -> None:
    """It never leaves the house; all others are accepted beside it, in order."""
    async with asyncio.timeout(30), sink(kafka) as writing:
        for batch, accepted in (([entry(1), entry(2, body=HUGE), entry(3)], {1, 3}), ([entry(2, body=HUGE)], set())):
            with pytest.raises(Rejected, match="more than 1000000 bytes") as caught:
                await writing.write(batch)
            assert caught.value.certain
            assert caught.value.accepted == accepted
        await writing.write([entry(4)])
    assert positions(readings(kafka)) == [1, 3, 4]


async def test_a_topic_that_takes_less_says_too_large(kafka: Kafka) -> None:
    """What it took is known; sent again in smaller batches, all but the large one arrive, in order where strict."""
    await asyncio.gather(one_is_too_large(kafka, "live_first"), one_is_too_large(kafka, "strict"))


async def one_is_too_large(kafka: Kafka, order: str) -> None:
    name = kafka.create_topic(f"{kafka.topics['readings_topic']}-{order}", max_message_bytes=3_000)
    incompressible = {"text": "".join(chr(48 + (n * n * 7919 + n // 3) % 75) for n in range(9_000))}
    pending = [entry(n, body=incompressible if n == 3 else {"power": 1.0}) for n in range(8)]
    async with asyncio.timeout(60), sink(kafka, order=order, readings_topic=name, compression="none") as writing:
        await writing.write([entry(1000)])
        alone = await halves(writing, pending)
    assert [e.position for e in alone] == [3]
    found = positions(kcat.read(kafka, name))
    assert sorted(found) == [0, 1, 2, 4, 5, 6, 7, 1000]
    if order == "strict":
        assert found == [1000, 0, 1, 2, 4, 5, 6, 7]


async def halves(sink: KafkaSink, entries: list[Entry]) -> list[Entry]:
    """Write as Delivery does; return what was refused even alone."""
    if not entries:
        return []
    try:
        await sink.write(entries)
    except (TooLarge, Rejected) as error:
        if len(entries) == 1:
            return entries
        left = [entry for entry in entries if entry.position not in error.accepted]
        if len(left) == 1:
            return await halves(sink, left)
        return await halves(sink, left[: len(left) // 2]) + await halves(sink, left[len(left) // 2 :])
    return []


async def test_a_time_that_the_topic_does_not_take_is_refused_for_good(kafka: Kafka) -> None:
    """As InfluxDB's retention: it names the data, and never counts towards a wrong far side."""
    name = kafka.create_topic(kafka.topics["readings_topic"] + "-young", message_timestamp_before_max_ms=3_600_000)
    now = time.time_ns()
    async with asyncio.timeout(30), sink(kafka, readings_topic=name) as writing:
        with pytest.raises(Rejected, match=r"(?i)timestamp") as caught:
            await writing.write([entry(1, time=NOON - 10**7 * SECOND)])
        assert caught.value.certain
        alone = await halves(writing, [entry(n, time=now - (n == 2) * 10**16) for n in range(4)])
        assert [e.position for e in alone] == [2]
    assert sorted(positions(kcat.read(kafka, name))) == [0, 1, 3]


# -- a broker that is away -----------------------------------------------------------------------------------


async def test_nobody_there_names_the_broker(kafka: Kafka) -> None:
    """Refused, and unknown."""

    async def attempt(brokers: str, reason: str) -> None:
        with pytest.raises(Unavailable, match=f"cannot reach {brokers}: .*{reason}"):
            await write(sink(kafka, brokers=brokers, timeout="1s"), entry(1))

    await asyncio.gather(attempt(f"127.0.0.1:{free_port()}", "refused"), attempt("nowhere.invalid:9092", "resolve"))


async def test_an_outage_within_the_timeout_is_bridged(kafka: Kafka) -> None:
    """The end of it is noticed within seconds, and nothing arrives twice."""
    with ProduceProxy(kafka) as proxy:
        async with asyncio.timeout(30), sink(kafka, brokers=kafka.proxied_brokers) as writing:
            await writing.write(some(10))
            proxy.refuse()
            pending = asyncio.create_task(writing.write([entry(n) for n in range(10, 20)]))
            await asyncio.wait([pending], timeout=1.5)  # so long until its attempts are as rare as they get
            assert not pending.done()
            proxy.ok()
            async with asyncio.timeout(5):
                await pending
    assert sorted(positions(readings(kafka))) == list(range(20))


@pytest.mark.parametrize(("answers", "cut"), [(3, True), (1, False)])
async def test_a_lost_answer_makes_no_duplicate(kafka: Kafka, answers: int, cut: bool) -> None:  # noqa: FBT001 - a parameter
    """In one session the broker knows what it has: with a connection that breaks, and with one that stays silent."""
    with ProduceProxy(kafka) as proxy:
        async with asyncio.timeout(40), sink(kafka, brokers=kafka.proxied_brokers, timeout="4s") as writing:
            await writing.write([entry(1000)])
            proxy.drop_responses(answers, cut=cut)
            await writing.write(some(300, devices=1))
        assert proxy.dropped == answers
    assert positions(readings(kafka)) == [1000, *range(300)]


async def test_a_broker_that_says_nothing_is_given_up(kafka: Kafka) -> None:
    """After the timeout; the same sink goes on when it answers again."""
    async with asyncio.timeout(30), sink(kafka, timeout="1s") as writing:
        await written(writing, entry(1))
        kafka.pause()
        began = time.monotonic()
        with pytest.raises(Unavailable, match=kafka.brokers):
            await writing.write([entry(2)])
        assert 0.9 <= time.monotonic() - began < 5
        kafka.resume()
        await written(writing, entry(2))
    assert {*positions(readings(kafka))} == {1, 2}


async def test_a_broker_that_was_killed_is_found_again(kafka: Kafka) -> None:
    """Also within one write."""
    async with asyncio.timeout(60), sink(kafka) as writing:
        await writing.write([entry(1)])
        kafka.kill()
        pending = asyncio.create_task(writing.write([entry(2)]))
        await asyncio.to_thread(kafka.start)
        await pending
    assert {*positions(readings(kafka))} == {1, 2}


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.5])
async def test_a_write_can_be_cancelled_at_any_moment(kafka: Kafka, moment: float) -> None:
    """And the end of the sink does not wait for the timeout either, whatever the broker does."""
    kafka.pause()
    began = 0.0
    async with asyncio.timeout(30):
        async with sink(kafka) as writing:
            pending = asyncio.create_task(writing.write(some(5_000)))
            await asyncio.wait([pending], timeout=moment)
            began = time.monotonic()
            pending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await pending
            assert time.monotonic() - began < 2
        assert time.monotonic() - began < 4


async def test_a_cancelled_write_holds_up_no_other(kafka: Kafka) -> None:
    """What was given up does not arrive later on, behind what followed."""
    kafka.pause()
    async with asyncio.timeout(30), sink(kafka) as writing:
        pending = asyncio.create_task(writing.write(some(100)))
        await asyncio.wait([pending], timeout=0.3)
        pending.cancel()
        await asyncio.wait([pending])
        kafka.resume()
        await writing.write([entry(n) for n in range(100, 200)])
    assert [p for p in positions(readings(kafka)) if p >= 100] == list(range(100, 200))


async def test_more_than_librdkafka_takes_at_once_goes_piece_by_piece(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded by what waits there, not by the batch."""
    monkeypatch.setattr("edge_energy.kafka.session._MOST_MESSAGES", 50)
    await write(sink(kafka), *some(2_000))
    assert sorted(positions(readings(kafka))) == list(range(2_000))


async def test_nothing_to_write_asks_nobody(kafka: Kafka) -> None:
    """No session is begun for it, and none by opening."""
    with ProduceProxy(kafka) as proxy:
        await write(sink(kafka, brokers=kafka.proxied_brokers))
        assert proxy.connections == 0


async def test_complaints_do_not_pile_up_while_nothing_is_written(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Librdkafka keeps them until somebody listens; the session goes on when the broker is back."""
    monkeypatch.setattr("edge_energy.kafka.line._LISTEN", 0.05)
    heard = asyncio.Event()
    loop = asyncio.get_running_loop()
    listen = Session.listen

    def notice(session: Session) -> None:
        listen(session)
        if session._trouble.last is not None:
            loop.call_soon_threadsafe(heard.set)

    monkeypatch.setattr(Session, "listen", notice)
    with ProduceProxy(kafka) as proxy:
        async with asyncio.timeout(30), sink(kafka, brokers=kafka.proxied_brokers) as writing:
            await writing.write([entry(1)])
            proxy.refuse()
            await heard.wait()
            proxy.ok()
            await writing.write([entry(2)])
    assert positions(readings(kafka)) == [1, 2]


def test_a_sink_shows_no_secret(kafka: Kafka) -> None:
    """Not even to a debugger's repr."""
    found = secure(kafka)
    assert kafka.password not in repr(found) + repr(vars(found))
