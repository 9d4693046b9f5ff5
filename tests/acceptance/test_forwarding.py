"""Everything reaches Kafka and Pub/Sub, whatever dies on the way: what is new first, nothing under another's id."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.acceptance.conftest import LONG, PLUGS
from tests.servers import kcat
from tests.servers.base import wait_until
from tests.servers.daemon import Daemon, influxdb_section, kafka_section, mqtt_section, pubsub_section
from tests.servers.kafka_proxy import ProduceProxy
from tests.servers.proxy import FaultProxy
from tests.servers.publisher import Plan, Publisher, announce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from tests.servers.influxdb import InfluxDB
    from tests.servers.kafka import Kafka
    from tests.servers.mosquitto import Mosquitto
    from tests.servers.publisher import Sent
    from tests.servers.pubsub import Pubsub

SEED = 20_261_121
UNPACED = "replay_rate = 0"
COMMIT_INTERVAL = 1.0


class Arrived(NamedTuple):
    """One message of a plug as a far side holds it; `time` is when (UTC s) the far side took it."""

    seq: int
    id: str
    device: str
    payload: bytes
    time: float

    @property
    def position(self) -> int:
        """Where it is in the journal."""
        return int(self.id.rpartition("/")[2])


def from_kafka(kafka: Kafka) -> list[Arrived]:
    """Return what the topic of readings holds, by partition and offset."""
    records = kcat.read(kafka, kafka.topics["readings_topic"])
    return [_arrived(record.headers, record.payload, record.timestamp / 1000) for record in records]


def from_pubsub(pubsub: Pubsub) -> list[Arrived]:
    """Return what waits in the subscription to the topic of readings, those of a device in order."""
    messages = pubsub.pull("shelly_data")
    return [_arrived(message.attributes, message.data, message.published_at) for message in messages]


def _arrived(attributes: dict[str, str], payload: bytes, taken: float) -> Arrived:
    body = json.loads(payload)
    return Arrived(int(body["seq"]), attributes["ce_id"], body["device"], payload, taken)


def lost(sent: Iterable[Sent], arrived: Iterable[Arrived]) -> list[int]:
    """Return the sequence numbers of messages that never arrived."""
    found = {each.seq for each in arrived}
    return [message.seq for message in sent if message.seq not in found]


def confused(arrived: Iterable[Arrived]) -> list[str]:
    """Return ids that two events share, and events that have two ids."""
    by_id: dict[str, set[bytes]] = defaultdict(set)
    ids: dict[int, set[str]] = defaultdict(set)
    for each in arrived:
        by_id[each.id].add(each.payload)
        ids[each.seq].add(each.id)
    return [name for name, events in by_id.items() if len(events) > 1] + [
        f"seq {seq}: {names}" for seq, names in ids.items() if len(names) > 1
    ]


def out_of_order(arrived: Sequence[Arrived]) -> list[tuple[int, int]]:
    """Return pairs of positions of one device whose first arrivals are not in the order of the journal."""
    newest: dict[str, int] = {}
    seen: set[str] = set()
    wrong = []
    for each in arrived:
        if each.id in seen:
            continue
        seen.add(each.id)
        if each.position < newest.get(each.device, 0):
            wrong.append((newest[each.device], each.position))
        newest[each.device] = max(each.position, newest.get(each.device, 0))
    return wrong


class Home:
    """A broker that knows the plugs, and the daemon beside it."""

    def __init__(self, broker: Mosquitto, directory: Path, sinks: str) -> None:
        self.broker = broker
        self.daemon = Daemon(directory, "")
        self.configure(sinks)
        for topic, payload in announce(PLUGS).items():
            broker.publish(topic, payload, retain=True)

    def configure(self, sinks: str) -> None:
        """Write the configuration."""
        mqtt = mqtt_section(self.broker.port, f'commit_interval = "{COMMIT_INTERVAL:g}s"')
        self.daemon.configure(mqtt + sinks)

    def start(self) -> None:
        """Start the daemon, or start it again."""
        self.daemon.start()
        self.daemon.wait_connected()

    def sink(self, name: str) -> dict[str, Any]:
        """Return how a sink does."""
        report: dict[str, Any] = next(each for each in self.daemon.status()["sinks"] if each["name"] == name)
        return report

    def wait_recorded(self, timeout: float = 60) -> None:
        """Wait until the daemon has acknowledged everything."""
        self.daemon.wait_for(
            lambda status: all(not s["unacknowledged"] and not s["in_backlog"] for s in status["sources"]), timeout
        )

    def forward(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `edge-energy forward …`."""
        command = self.daemon.command("forward", *arguments)
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@pytest.fixture
def home(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> Iterator[Callable[..., Home]]:
    """Make a home: call it with its sinks' tables, and parameters of `Mosquitto`."""
    homes: list[Home] = []

    def make(sinks: str, **parameters: Any) -> Home:
        homes.append(
            Home(mosquitto(max_queued_messages=200_000, **parameters), tmp_path / f"home-{len(homes)}", sinks)
        )
        return homes[-1]

    yield make
    for made in homes:
        made.daemon.stop()
        assert "Traceback" not in made.daemon.log.read_text(errors="replace"), made.daemon.log.read_text()


# -- nothing is lost, nothing is confused --------------------------------------------------------------------


def _disturb(kafka: Kafka, publisher: Publisher) -> None:
    publisher.wait_sent(1_500)
    kafka.kill()
    publisher.wait_sent(3_500)
    kafka.start()
    publisher.wait_sent(5_000)
    kafka.pause()
    publisher.wait_sent(6_500)
    kafka.resume()


@pytest.mark.parametrize("order", ["strict", "live_first"] if LONG else ["strict"])
def test_whatever_is_killed_everything_arrives_under_its_own_id(
    kafka: Kafka, home: Callable[..., Home], tell: Callable[[str], None], order: str
) -> None:
    """Kafka dies and hangs, the daemon is killed: nothing is missing, and what comes twice has one id."""
    chance = random.Random(SEED)
    kills = sorted(chance.sample(range(500, 8_000), 3))
    plan = Plan(8_000, 1_000, PLUGS, seed=SEED)
    tell(f"{plan}, daemon killed at messages {kills}, Kafka away 1,500 to 3,500, hanging 5,000 to 6,500, {order}")
    pace = f'order = "{order}"\ntimeout = "4s"\n' + (UNPACED if order == "live_first" else "")
    house = home(kafka_section(kafka.brokers, kafka.topics, pace))
    house.start()
    with ThreadPoolExecutor(1) as pool, Publisher(house.broker.port, plan) as publisher:
        outages = pool.submit(_disturb, kafka, publisher)
        for moment in kills:
            publisher.wait_sent(moment)
            house.daemon.kill()
            house.daemon.start()
        sent = publisher.wait()
        outages.result()
    house.wait_recorded()
    house.daemon.wait_delivered()
    arrived = from_kafka(kafka)
    tell(
        f"{len(sent)} sent, {len(arrived)} arrived, {len(arrived) - len({each.id for each in arrived})} of them twice"
    )
    assert not lost(sent, arrived)
    assert not confused(arrived)
    assert order != "strict" or not out_of_order(arrived)


def test_a_journal_that_was_lost_never_shares_an_id_with_its_successor(
    kafka: Kafka, home: Callable[..., Home]
) -> None:
    """The same positions come again, of other events: the random id of the file tells them apart."""
    house = home(kafka_section(kafka.brokers, kafka.topics, UNPACED))
    for first in (0, 100):
        house.start()
        with Publisher(house.broker.port, Plan(100, 0, PLUGS, seed=SEED, first=first)) as publisher:
            publisher.wait()
        house.wait_recorded()
        house.daemon.wait_delivered()
        house.daemon.stop()
        shutil.rmtree(house.daemon.state)
    arrived = from_kafka(kafka)
    assert {each.seq for each in arrived} == {*range(200)}
    assert not confused(arrived)
    positions = [each.position for each in arrived]
    assert len(set(positions)) < len(positions), "positions come again, so it is the journal's id that counts"


@pytest.mark.alone
@pytest.mark.skipif(not LONG, reason="three minutes; `make torture` runs it")
def test_a_line_that_is_dead_for_minutes_with_everything_at_its_default(
    kafka: Kafka, home: Callable[..., Home], tell: Callable[[str], None]
) -> None:
    """No packet comes back, and nobody says why: nothing is missing, and what is new is there when the line is."""
    topic = kafka.create_topic(f"{kafka.topics['readings_topic']}-timed", message_timestamp_type="LogAppendTime")
    kafka.topics["readings_topic"] = topic
    with ProduceProxy(kafka) as proxy:
        house = home(kafka_section(kafka.proxied_brokers, kafka.topics))
        house.start()
        with Publisher(house.broker.port, Plan(3_600, 20, PLUGS, seed=SEED)) as publisher:
            publisher.wait_sent(200)
            proxy.hang()
            publisher.wait_sent(2_800, 200)  # 130 s
            proxy.ok()
            back = time.time()
            sent = publisher.wait()
        house.wait_recorded()
        report = house.sink("kafka")
        house.daemon.stop()
        house.configure(kafka_section(kafka.proxied_brokers, kafka.topics, UNPACED))
        house.start()
        house.daemon.wait_delivered()
    arrived = from_kafka(kafka)
    first: dict[int, float] = {}
    for each in arrived:
        first.setdefault(each.seq, each.time)
    # The broker finds out by itself that the line is there again: at the latest when the next attempt begins.
    late = [first[message.seq] - message.time / 1e9 for message in sent if message.time / 1e9 > back + 5]
    tell(f"{report['backlog_entries']} of the outage were still waiting, the slowest new one took {max(late):.1f} s")
    assert not lost(sent, arrived)
    assert not confused(arrived)
    assert max(late) <= COMMIT_INTERVAL + 5


@pytest.mark.parametrize("cut", [True, False] if LONG else [True])  # else the answer is swallowed: also a unit test
def test_lost_answers_make_no_duplicates_in_one_session(
    kafka: Kafka, home: Callable[..., Home], tell: Callable[[str], None], *, cut: bool
) -> None:
    """The broker has it, its answer is lost: the producer sends again, and the broker knows it."""
    with ProduceProxy(kafka) as proxy:
        house = home(
            kafka_section(kafka.proxied_brokers, kafka.topics, f'{UNPACED}\nbatch_size = 200\ntimeout = "20s"')
        )
        house.start()
        plan = Plan(3_000, 1_000, PLUGS, seed=SEED)
        with Publisher(house.broker.port, plan) as publisher:
            for moment in (500, 1_500):
                publisher.wait_sent(moment)
                proxy.drop_responses(2, cut=cut)
            sent = publisher.wait()
        house.wait_recorded()
        house.daemon.wait_delivered()
        report = house.sink("kafka")
        arrived = from_kafka(kafka)
        tell(f"{proxy.dropped} answers lost, {len(arrived)} of {len(sent)} messages arrived; {report['last_error']}")
    assert proxy.dropped >= 2
    assert report["last_error"] is None, "one session"
    assert not lost(sent, arrived)
    assert len(arrived) == len(sent)


def test_pubsub_gets_everything_too_each_device_in_its_order(
    pubsub: Pubsub, home: Callable[..., Home], tell: Callable[[str], None]
) -> None:
    """The way to it is cut, the service hangs, the daemon is killed: nothing is missing, nothing confused."""
    line = FaultProxy(pubsub.port, http=False)
    with line:
        house = home(pubsub_section(pubsub.project, 'order = "strict"\ntimeout = "2s"'))
        house.daemon.environment["PUBSUB_EMULATOR_HOST"] = f"127.0.0.1:{line.port}"
        house.start()
        with Publisher(house.broker.port, Plan(4_000, 800, PLUGS, seed=SEED)) as publisher:
            publisher.wait_sent(800)
            line.refuse()
            publisher.wait_sent(1_600)
            line.ok()
            publisher.wait_sent(2_000)
            house.daemon.kill()
            house.daemon.start()
            publisher.wait_sent(2_800)
            pubsub.pause()
            publisher.wait_sent(3_400)
            pubsub.resume()
            sent = publisher.wait()
        house.wait_recorded()
        house.daemon.wait_delivered()
    arrived = from_pubsub(pubsub)
    tell(
        f"{len(sent)} sent, {len(arrived)} arrived, {len(arrived) - len({each.id for each in arrived})} of them twice"
    )
    assert not lost(sent, arrived)
    assert not confused(arrived)
    assert not out_of_order(arrived)


# -- secured listeners ---------------------------------------------------------------------------------------


OTHERS = ["SCRAM-SHA-256", "PLAIN"] if LONG else []  # which the unit tests of the sink have, too


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "certificate", *OTHERS])
def test_kafka_is_reached_over_tls_with_a_password_or_a_certificate(
    kafka: Kafka, home: Callable[..., Home], mechanism: str
) -> None:
    """And the password is neither in the log nor in what `status` says."""
    made = kafka.certificates
    secure = f'tls = true\nca_file = "{made.ca}"\n'
    if mechanism == "certificate":
        brokers, secure = kafka.mtls_brokers, f'{secure}cert_file = "{made.client}"\nkey_file = "{made.client_key}"\n'
    else:
        brokers = kafka.sasl_brokers
        secure += f'mechanism = "{mechanism}"\nusername = "{kafka.user}"\npassword = "{kafka.password}"\n'
    house = home(kafka_section(brokers, kafka.topics, secure))
    house.start()
    result = house.forward("test", "kafka")
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    assert kafka.password not in house.daemon.log.read_text() + json.dumps(house.daemon.status())


def test_a_wrong_password_is_told_by_the_hop_that_failed(kafka: Kafka, home: Callable[..., Home]) -> None:
    made = kafka.certificates
    secure = f'tls = true\nca_file = "{made.ca}"\nusername = "{kafka.user}"\npassword = "wrong-of-a-test"\n'
    house = home(kafka_section(kafka.sasl_brokers, kafka.topics, secure))
    house.start()
    result = house.forward("test", "kafka", "--timeout", "8")
    assert result.returncode == 1
    journal, kafka_hop = result.stdout.splitlines()
    assert journal.split()[:2] == ["journal", "passed"]
    assert kafka_hop.split()[:2] == ["kafka", "FAILED"]
    assert "correct [kafka] username or password" in kafka_hop
    assert "wrong-of-a-test" not in house.daemon.log.read_text()


# -- one sink's trouble is nobody else's ---------------------------------------------------------------------


@pytest.mark.alone
def test_a_dead_kafka_and_a_hanging_pubsub_change_nothing_for_influxdb(
    kafka: Kafka, pubsub: Pubsub, influxdb: InfluxDB, home: Callable[..., Home], tell: Callable[[str], None]
) -> None:
    """Its lag and its throughput are the same with them and without them."""
    sinks = influxdb_section(influxdb.url, influxdb.bucket, influxdb.token)
    sinks += kafka_section(kafka.brokers, kafka.topics) + pubsub_section(pubsub.project)
    house = home(sinks)
    house.start()
    lags: list[list[int]] = []
    seconds: list[float] = []
    for first in (0, 10_000):
        if first:
            kafka.kill()
            pubsub.pause()
        lag: list[int] = []
        with Publisher(house.broker.port, Plan(10_000, 2_000, PLUGS, seed=SEED, first=first)) as publisher:
            while publisher.acknowledged < 10_000:
                lag.append(house.sink("influxdb")["lag_entries"])
                time.sleep(0.02)  # so often it is looked at
            publisher.wait()
        began = time.monotonic()
        house.wait_recorded()
        wait_until(lambda: not house.sink("influxdb")["lag_entries"], 30, "InfluxDB has everything")
        assert influxdb.count("seq") == first + 10_000
        seconds.append(publisher.seconds + time.monotonic() - began)
        lags.append(sorted(lag))
    middle, worst = ([lag[len(lag) // 2] for lag in lags], [lag[len(lag) * 95 // 100] for lag in lags])
    tell(
        f"lag of InfluxDB with both: {middle[0]} (p95 {worst[0]}), without both: {middle[1]} (p95 {worst[1]}) entries"
    )
    tell(f"10,000 messages in {seconds[0]:.1f} s with both, {seconds[1]:.1f} s without both")
    assert house.sink("kafka")["lag_entries"] >= 10_000
    assert house.sink("pubsub")["lag_entries"] >= 5_000, "it hung all the time"
    assert worst[1] <= worst[0] * 1.5 + 500
    assert seconds[1] <= seconds[0] * 1.1 + 0.5


# -- live first, then the backlog ----------------------------------------------------------------------------


@pytest.mark.alone
def test_after_an_outage_what_is_new_arrives_at_once_and_the_backlog_behind_it(
    kafka: Kafka, home: Callable[..., Home], tell: Callable[[str], None]
) -> None:
    """A day by volume (100,000 entries), and a second outage in it: what is new is there within 5 s of its commit.

    The broker itself says when it took each message.
    """
    topic = kafka.create_topic(f"{kafka.topics['readings_topic']}-timed", message_timestamp_type="LogAppendTime")
    kafka.topics["readings_topic"] = topic
    paced = 'order = "live_first"\nreplay_rate = 1500\nbatch_age = "200ms"\ntimeout = "2s"\n'
    house = home(kafka_section(kafka.brokers, kafka.topics, paced))
    house.start()
    assert house.forward("test", "kafka").returncode == 0
    kafka.kill()
    with Publisher(house.broker.port, Plan(100_000, 0, PLUGS, seed=SEED)) as publisher:
        old = publisher.wait()
    house.wait_recorded()
    # What is seconds old only would go at once, as new: on a quick machine that is most of it.
    house.daemon.wait_for(lambda status: status["sinks"][0]["backlog_entries"] >= len(old), 30, "a backlog")
    limit = COMMIT_INTERVAL + 5
    windows: list[tuple[float, float]] = []
    with Publisher(house.broker.port, Plan(720, 30, PLUGS, seed=SEED, first=100_000)) as publisher:
        for last in (300, 720):
            kafka.start()
            back = time.time()
            publisher.wait_sent(last)
            windows.append((back, time.time() - limit))  # what is sent later may meet the next outage
            if last < 720:
                kafka.kill()
                publisher.wait_sent(last + 60)
        new = publisher.wait()
    house.wait_recorded()
    house.daemon.wait_for(lambda status: status["sinks"][0]["lag_entries"] == status["sinks"][0]["backlog_entries"])
    assert house.sink("kafka")["backlog_entries"] > 10_000, "the backlog is still there"
    arrived = {each.seq: each.time for each in from_kafka(kafka)}
    late = [
        arrived[message.seq] - message.time / 1e9
        for message in new
        for first, last in windows
        if first <= message.time / 1e9 <= last
    ]
    tell(f"{len(late)} new messages after two outages, the slowest was there {max(late):.1f} s after it was sent")
    assert max(late) <= limit
    house.daemon.stop()
    house.configure(kafka_section(kafka.brokers, kafka.topics, UNPACED))
    house.start()
    house.daemon.wait_delivered()
    everything = from_kafka(kafka)
    assert not lost([*old, *new], everything)
    assert not confused(everything)
