"""The harness itself: brokers keep their queues, faults are what they are called, slow disks are slow."""

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
from tests.servers.base import ServerError, accepts
from tests.servers.process import Process
from tests.servers.proxy import FaultProxy
from tests.servers.slow_fsync import slow_fsync
from tests.servers.small_disk import small_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.influxdb import InfluxDB
    from tests.servers.mosquitto import Mosquitto

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
