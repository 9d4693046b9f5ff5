"""The harness itself: servers keep what they should, faults are what they are called, slow disks are slow."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest

from tests.conftest import skipped_if_missing
from tests.servers import java, kafka_jars, kcat
from tests.servers import pubsub as emulator
from tests.servers.base import MissingError, ServerError, accepts, require
from tests.servers.kafka_proxy import ProduceProxy
from tests.servers.process import Process
from tests.servers.proxy import FaultProxy
from tests.servers.slow_fsync import slow_fsync
from tests.servers.small_disk import small_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.base import ServerModule
    from tests.servers.influxdb import InfluxDB
    from tests.servers.kafka import Kafka
    from tests.servers.mosquitto import Mosquitto
    from tests.servers.pubsub import Pubsub

LINE = "energy,device=a power=1.5,output=true 1000000001"


@pytest.fixture
def proxy(influxdb: InfluxDB) -> Iterator[FaultProxy]:
    with FaultProxy(influxdb.port) as proxy:
        yield proxy


def post(influxdb: InfluxDB, proxy: FaultProxy, timeout: float = 10) -> int:
    with closing(HTTPConnection(proxy.host, proxy.port, timeout=timeout)) as connection:
        where = f"/api/v2/write?org={influxdb.org}&bucket={influxdb.bucket}"
        connection.request("POST", where, LINE, {"Authorization": f"Token {influxdb.token}"})
        return connection.getresponse().status


def test_a_process_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    broken = Process([sys.executable, "-c", "raise SystemExit('no such luck')"], tmp_path, lambda: False)
    with pytest.raises(ServerError, match=r"(?s)ended with 1.*no such luck"):
        broken.start()


def test_a_restarted_broker_keeps_its_queue(mosquitto: Callable[..., Mosquitto]) -> None:
    broker = mosquitto()
    session = ["mosquitto_sub", "-p", str(broker.port), "-i", "away", "-c", "-q", "1", "-t", "plug/#"]
    subprocess.run([*session, "-E"], check=True)  # subscribes and leaves
    broker.publish("plug/a", "1", "2", "3")
    broker.restart()
    kept = subprocess.run([*session, "-C", "3", "-W", "10"], check=True, capture_output=True, text=True)
    assert kept.stdout.split() == ["1", "2", "3"]


def test_a_killed_broker_is_gone_at_once_and_forgets_what_it_did_not_save(
    mosquitto: Callable[..., Mosquitto],
) -> None:
    broker = mosquitto()
    broker.publish("plug/a", "1", retain=True)
    broker.kill()
    assert not accepts(broker.port)
    broker.start()
    with pytest.raises(subprocess.CalledProcessError):
        broker.receive("plug/a", 1, timeout=1)


def test_a_broker_asks_for_passwords_and_certificates(mosquitto: Callable[..., Mosquitto]) -> None:
    broker = mosquitto(user="edge", password="secret", tls=True, require_certificate=True)
    broker.publish("plug/a", "1", retain=True)
    assert broker.receive("plug/a", 1) == ["1"]
    broker.password = "wrong"
    with pytest.raises(subprocess.CalledProcessError):
        broker.publish("plug/a", "2")


def test_influxdb_keeps_its_points_over_a_kill(influxdb: InfluxDB) -> None:
    influxdb.write(f"{LINE}\nenergy,device=b power=2.5 2000000002")
    influxdb.kill()
    influxdb.start()
    assert (influxdb.count(), influxdb.count("power"), influxdb.count(measurement="other")) == (3, 2, 0)
    first, second = influxdb.points()
    assert (first["_time"], first["device"], first["power"], first["output"]) == (1000000001, "a", 1.5, True)
    assert (second["_time"], second["power"], second["output"]) == (2000000002, 2.5, None)


def test_each_test_has_a_bucket_of_its_own(influxdb: InfluxDB) -> None:
    assert influxdb.count() == 0


def test_a_failing_query_says_why(influxdb: InfluxDB) -> None:
    with pytest.raises(ServerError, match="could not find bucket"):
        influxdb.query('from(bucket: "nowhere") |> range(start: 0)')


def test_proxy_passes_and_counts(influxdb: InfluxDB, proxy: FaultProxy) -> None:
    assert [post(influxdb, proxy), post(influxdb, proxy)] == [204, 204]
    assert (proxy.requests, influxdb.count("power")) == (2, 1)


def test_proxy_answers_in_the_servers_place(influxdb: InfluxDB, proxy: FaultProxy) -> None:
    proxy.answer(503, headers={"Retry-After": "7"}, times=2)
    assert [post(influxdb, proxy) for _ in range(3)] == [503, 503, 204]
    influxdb.kill()
    proxy.answer(429)
    assert post(influxdb, proxy) == 429


def test_proxy_loses_an_answer_but_not_the_request(influxdb: InfluxDB, proxy: FaultProxy) -> None:
    proxy.drop_answer(times=1)
    with pytest.raises(ConnectionResetError):
        post(influxdb, proxy)
    assert influxdb.count("power") == 1
    assert post(influxdb, proxy) == 204


def test_proxy_refuses(influxdb: InfluxDB, proxy: FaultProxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        post(influxdb, proxy)
    proxy.ok()
    assert post(influxdb, proxy) == 204


def test_proxy_hangs_without_passing_the_request(influxdb: InfluxDB, proxy: FaultProxy) -> None:
    proxy.hang(times=1)
    with pytest.raises(TimeoutError):
        post(influxdb, proxy, timeout=0.2)
    assert proxy.requests == 1
    assert influxdb.count() == 0
    assert post(influxdb, proxy) == 204


def test_proxy_delays(influxdb: InfluxDB, proxy: FaultProxy) -> None:
    proxy.ok(delay=0.3)
    begin = time.monotonic()
    assert post(influxdb, proxy) == 204
    assert time.monotonic() - begin >= 0.3


def test_proxy_of_bytes_is_silent_then_goes_on_then_cuts(mosquitto: Callable[..., Mosquitto]) -> None:
    broker = mosquitto()
    with (
        FaultProxy(broker.port, http=False) as proxy,
        socket.create_connection((proxy.host, proxy.port)) as client,
    ):
        proxy.hang()
        client.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a")  # CONNECT of client "a"
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(4)
        client.settimeout(10)
        proxy.ok()
        assert client.recv(4) == b"\x20\x02\x00\x00"  # CONNACK
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def as_user(kafka: Kafka, user: str, password: str, mechanism: str = "SCRAM-SHA-512") -> list[str]:
    """Return kcat's options for the listener with TLS and passwords."""
    settings = {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": kafka.certificates.ca,
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": password,
    }
    return ["-b", kafka.sasl_brokers, "-m", "5", *(f"-X{name}={value}" for name, value in settings.items())]


def test_kafka_keeps_its_records_over_a_kill(kafka: Kafka) -> None:
    topic = kafka.topics["readings_topic"]
    kcat.write(kafka, topic, b"before", key="a")
    kafka.kill()
    assert not accepts(kafka.port)
    kafka.start()
    kcat.write(kafka, topic, b"after", key="a")
    records = kcat.read(kafka, topic, count=2)
    assert [(record.offset, record.payload) for record in records] == [(0, b"before"), (1, b"after")]


def test_each_test_has_topics_of_its_own(kafka: Kafka) -> None:
    assert [kcat.read(kafka, topic) for topic in kafka.topics.values()] == [[]] * 5
    before = set(kafka.topics.values())
    assert not before & set(kafka.fresh_topics().values())


def test_a_frozen_kafka_says_nothing_then_goes_on(kafka: Kafka) -> None:
    topic = kafka.topics["commands_topic"]
    kafka.pause()
    with pytest.raises(ServerError, match=r"no end within 0\.5 s"):
        kcat.read(kafka, topic, timeout=0.5)
    kafka.resume()
    assert kcat.read(kafka, topic) == []


def test_kcat_shows_what_the_broker_holds_byte_by_byte(kafka: Kafka) -> None:
    topic, any_bytes = kafka.topics["readings_topic"], bytes(range(256))
    kcat.write(kafka, topic, any_bytes, key='pl\u00fcg "a", b=c', headers={"ce_id": 'a,b=c "d"', "unit": "\u00b0C"})
    (record,) = kcat.read(kafka, topic)
    assert (record.key, record.payload) == ('pl\u00fcg "a", b=c', any_bytes)
    assert record.headers == {"ce_id": 'a,b=c "d"', "unit": "\u00b0C"}
    assert abs(record.timestamp / 1000 - time.time()) < 60


def test_kcat_says_what_is_wrong(kafka: Kafka) -> None:
    with pytest.raises(ServerError, match="Unknown topic or partition"):
        kcat.read(kafka, "nowhere")


def test_kafka_asks_for_passwords(kafka: Kafka) -> None:
    topic = kafka.topics["readings_topic"]
    for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"):
        kcat.write(kafka, topic, b"1", options=as_user(kafka, kafka.user, kafka.password, mechanism))
    assert len(kcat.read(kafka, topic)) == 3
    with pytest.raises(ServerError, match="Authentication failed"):
        kcat.read(kafka, topic, options=as_user(kafka, kafka.user, "wrong"))


def test_kafka_asks_for_certificates(kafka: Kafka) -> None:
    topic, made = kafka.topics["readings_topic"], kafka.certificates
    tls = ["-b", kafka.mtls_brokers, "-m", "5", "-Xsecurity.protocol=SSL", f"-Xssl.ca.location={made.ca}"]
    own = [f"-Xssl.certificate.location={made.client}", f"-Xssl.key.location={made.client_key}"]
    kcat.write(kafka, topic, b"1", options=[*tls, *own])
    assert len(kcat.read(kafka, topic)) == 1
    with pytest.raises(ServerError, match="SSL alert"):
        kcat.read(kafka, topic, options=tls)


def test_kafka_forbids(kafka: Kafka) -> None:
    topic = kafka.topics["readings_topic"]
    reader, user = as_user(kafka, kafka.reader, kafka.reader_password), as_user(kafka, kafka.user, kafka.password)
    assert kcat.read(kafka, topic, options=reader) == []
    with pytest.raises(ServerError, match="Topic authorization failed"):
        kcat.write(kafka, topic, b"1", options=reader)
    kafka.forbid_writing(topic)
    with pytest.raises(ServerError, match="Topic authorization failed"):
        kcat.write(kafka, topic, b"1", options=user)
    kcat.write(kafka, kafka.topics["commands_topic"], b"1", options=user)
    assert kcat.read(kafka, topic, options=user) == []


def test_kafka_takes_settings_of_a_topic(kafka: Kafka) -> None:
    topic = kafka.create_topic("small", partitions=3, max_message_bytes=1000)
    with pytest.raises(ServerError, match="too large"):
        kcat.write(kafka, topic, bytes(2000))


@pytest.mark.parametrize(("idempotent", "cut"), [(True, True), (True, False), (False, True)])
def test_produce_proxy_loses_answers_but_not_requests(kafka: Kafka, *, idempotent: bool, cut: bool) -> None:
    topic = kafka.topics["readings_topic"]
    # Whoever is cut off knows that at once; otherwise patience must end some time, on a slow machine once too often.
    patience = [] if cut else ["-Xsocket.timeout.ms=1000", "-Xtopic.request.timeout.ms=900"]
    # A topic that has just been made refuses what comes before its leader is ready: an answer like another.
    kcat.write(kafka, topic, b"0")
    with ProduceProxy(kafka) as proxy:
        proxy.drop_responses(2, cut=cut)
        settings = ["-Xreconnect.backoff.ms=10", f"-Xenable.idempotence={str(idempotent).lower()}", *patience]
        options = ["-E", "-b", kafka.proxied_brokers, *settings]
        kcat.write(kafka, topic, b"1", options=options)
    assert proxy.dropped == 2
    assert proxy.requests == 3 if cut else proxy.requests >= 3
    assert len(kcat.read(kafka, topic)) == 1 + (1 if idempotent else proxy.requests)
    assert proxy.uploaded > 0


def test_produce_proxy_refuses_and_passes_again(kafka: Kafka) -> None:
    topic = kafka.topics["readings_topic"]
    with ProduceProxy(kafka) as proxy:
        proxy.refuse()
        with pytest.raises(ServerError):
            kcat.read(kafka, topic, options=["-b", kafka.proxied_brokers, "-m", "1"])
        proxy.ok()
        kcat.write(kafka, topic, b"1", options=["-b", kafka.proxied_brokers])
    assert len(kcat.read(kafka, topic)) == 1


def test_pubsub_delivers_in_order_until_acknowledged(pubsub: Pubsub) -> None:
    sent = [pubsub.publish("shelly_data", bytes([n]), {"n": str(n)}, "plug") for n in range(3)]
    first = pubsub.pull("shelly_data", acknowledge=False)
    assert [(each.id, each.data, each.attributes["n"]) for each in first] == [
        (id_, bytes([n]), str(n)) for n, id_ in enumerate(sent)
    ]
    assert {each.ordering_key for each in first} == {"plug"}
    assert abs(first[0].published_at - time.time()) < 60
    pubsub.give_back("shelly_data", *first)
    assert [each.id for each in pubsub.pull("shelly_data")] == sent
    assert pubsub.pull("shelly_data") == []


def test_each_test_has_a_project_of_its_own(pubsub: Pubsub) -> None:
    assert os.environ["PUBSUB_EMULATOR_HOST"] == pubsub.host
    assert [pubsub.pull(topic) for topic in pubsub.subscriptions()] == [[]] * 5
    pubsub.fresh_project(topics=False)
    with pytest.raises(ServerError, match="NOT_FOUND"):
        pubsub.publish("shelly_data", b"1")


def test_a_killed_pubsub_forgets(pubsub: Pubsub) -> None:
    pubsub.publish("shelly_data", b"1")
    pubsub.kill()
    assert not accepts(pubsub.port)
    pubsub.start()
    assert pubsub.subscriptions() == []


def test_a_frozen_pubsub_says_nothing_then_goes_on(pubsub: Pubsub) -> None:
    pubsub.pause()
    assert not pubsub.answers()
    pubsub.resume()
    pubsub.publish("shelly_data", b"1")
    assert len(pubsub.pull("shelly_data")) == 1


@pytest.mark.parametrize("server", [java, kcat, kafka_jars, emulator])
def test_a_server_that_lacks_skips_its_tests_but_fails_in_ci(
    server: ServerModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "find", lambda: None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="make servers"), skipped_if_missing():
        require(server)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="make servers"), skipped_if_missing():
        require(server)


def test_without_the_cloud_sdk_it_is_said_how_to_get_the_emulator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with skipped_if_missing():
        (tmp_path / "java").symlink_to(require(java).resolve())
    monkeypatch.setenv("PATH", str(tmp_path))  # neither gcloud nor apt-get
    monkeypatch.delenv("PUBSUB_EMULATOR_JAR", raising=False)
    with pytest.raises(MissingError, match="gcloud components install pubsub-emulator"):
        emulator.make()


def test_a_slow_disk_delays_every_sync(tmp_path: Path) -> None:
    with skipped_if_missing():
        environment = {**os.environ, **slow_fsync(150)}
    program = "import os, sys; f = open(sys.argv[1], 'wb'); os.fsync(f); os.fdatasync(f)"
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", program, tmp_path / "file"], check=True, env=environment)
    assert time.monotonic() - begin >= 0.3


def test_a_small_disk_is_soon_full() -> None:
    with skipped_if_missing(), small_disk(16) as directory:
        file = directory / "file"
        file.write_bytes(bytes(8 << 20))
        with pytest.raises(OSError, match="No space left"):
            file.write_bytes(bytes(16 << 20))
    assert not directory.exists()
