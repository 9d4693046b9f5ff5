"""The daemon and a real broker that restarts, forgets, refuses, speaks old MQTT or passes on rubbish."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers.base import ServerError, accepts, free_port, wait_until
from tests.servers.certificates import make_certificates
from tests.servers.daemon import ROOT, Daemon, influxdb_section, mqtt_section
from tests.servers.process import Process
from tests.servers.proxy import FaultProxy
from tests.servers.publisher import Plan, Publisher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.influxdb import InfluxDB
    from tests.servers.mosquitto import Mosquitto


STATUS = "edge-energy/house-1/status"
QUEUE = 100_000
ONLINE, OFFLINE = '{"status":"online"}', '{"status":"offline"}'


def sensor(topic: str, device: str, more: str = 'time = "time"') -> str:
    return f'[[mqtt.sensors]]\ntopic = "{topic}"\ndevice = "{device}"\n{more}\n'


PLUGS = sensor("plug/+", "{1}")


def broker_section(port: int, more: str = "") -> str:
    """Return a [[mqtt]] table that commits often: nobody wants to wait for the five seconds of the default."""
    return mqtt_section(port, f'commit_interval = "200ms"\n{more}')


def numbered(count: int, first: int = 0, *, timed: bool = True) -> list[str]:
    """Return payloads with a sequence number and, unless they shall be dated on arrival, their own nanosecond."""
    now = time.time_ns()
    return [
        json.dumps({"seq": seq, "power": 1.5} | ({"time": now + seq} if timed else {}))
        for seq in range(first, first + count)
    ]


def numbers(influxdb: InfluxDB) -> list[int]:
    """Return the sequence numbers of all points, as often as they are there."""
    return sorted(int(point["seq"]) for point in influxdb.points() if point.get("seq") is not None)


def database(influxdb: InfluxDB) -> str:
    return influxdb_section(influxdb.url, influxdb.bucket, influxdb.token, 'batch_age = "100ms"')


def source(daemon: Daemon) -> dict[str, Any]:
    first: dict[str, Any] = daemon.status()["sources"][0]
    return first


def wait_for_source(daemon: Daemon, condition: Callable[[dict[str, Any]], bool], timeout: float = 30) -> None:
    daemon.wait_for(lambda status: condition(status["sources"][0]), timeout, "the source")


def wait_for_numbers(daemon: Daemon, influxdb: InfluxDB, count: int) -> list[int]:
    """Wait until so many messages are in the database; it is asked only while the daemon owes nothing."""

    def there() -> bool:
        return not daemon.status()["sinks"][0]["lag_entries"] and len(set(numbers(influxdb))) >= count

    wait_until(there, 30, f"{count} messages in InfluxDB")
    return numbers(influxdb)


def reload(daemon: Daemon, configuration: str) -> None:
    """Change the configuration of a running daemon, and wait until it has started again with it."""
    changed = 'why="configuration changed"'
    before = daemon.log.read_text().count(changed)
    daemon.configure(configuration)
    daemon._send(signal.SIGHUP)
    wait_until(lambda: daemon.log.read_text().count(changed) > before and daemon._answers(), 20, "the reload")


def test_a_broker_restarted_under_load_loses_nothing(
    mosquitto: Callable[..., Mosquitto], influxdb: InfluxDB, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    """What the broker acknowledged before, between and after its restarts is in InfluxDB."""
    plan = Plan(count=2_000, rate=500, last_seen=True, seed=3)
    broker = mosquitto(max_queued_messages=QUEUE)
    tell(f"{plan}, broker restarted twice, max_queued_messages {QUEUE}")
    acknowledged = restarts = 0
    with Daemon(tmp_path, broker_section(broker.port) + database(influxdb)) as daemon:
        daemon.wait_connected()
        while acknowledged < plan.count:
            rest = Plan(plan.count - acknowledged, plan.rate, last_seen=True, seed=3, first=acknowledged)
            with Publisher(broker.port, rest) as publisher:
                if restarts < 2:
                    publisher.wait_sent(600)
                    broker.restart()
                    restarts += 1
                    with pytest.raises(ServerError):
                        publisher.wait()
                else:
                    publisher.wait()
            acknowledged += publisher.acknowledged
        assert set(wait_for_numbers(daemon, influxdb, plan.count)) == set(range(plan.count))
        assert source(daemon)["sessions_lost"] == 0


def numbers_are_exactly(daemon: Daemon, influxdb: InfluxDB, count: int) -> bool:
    return wait_for_numbers(daemon, influxdb, count) == list(range(count))


@pytest.mark.alone
def test_a_window_of_twenty_does_not_slow_mqtt_3_down(
    mosquitto: Callable[..., Mosquitto], influxdb: InfluxDB, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    """A broker that sends 20 messages at a time is asked for more long before the commit interval is over.

    With Debian's settings it would otherwise drop what comes faster than 20 messages in 5 s.
    """
    queued, count, rate = 900, 1_500, 500
    broker = mosquitto()
    tell(f"MQTT 3.1.1, mosquitto's own settings, {queued} messages queued, then {count} at {rate}/s")
    configuration = mqtt_section(broker.port, 'protocol = "3.1.1"\ncommit_interval = "5s"')
    with Daemon(tmp_path, configuration + database(influxdb)) as daemon:
        daemon.wait_connected()
        daemon.stop()
        with Publisher(broker.port, Plan(queued, rate=0)) as publisher:
            publisher.wait()
        daemon.start()
        wait_for_source(daemon, lambda source: source["recorded"] == queued)
        began = time.monotonic()
        with Publisher(broker.port, Plan(count, rate, first=queued)) as publisher:
            publisher.wait()
        wait_for_source(daemon, lambda source: source["recorded"] == queued + count)
        seconds = time.monotonic() - began
        tell(f"{count} messages in {seconds:.1f} s: {count / seconds:.0f}/s")
        assert count / seconds >= 200
        assert source(daemon)["protocol"] == "3.1.1"
        assert numbers_are_exactly(daemon, influxdb, queued + count)


def test_a_lost_session_is_noticed_and_a_new_one_begins(
    mosquitto: Callable[..., Mosquitto], influxdb: InfluxDB, tmp_path: Path
) -> None:
    """The status and the log say that the broker forgot us, and what comes afterwards is recorded."""
    broker = mosquitto()
    with Daemon(tmp_path, broker_section(broker.port, PLUGS) + database(influxdb)) as daemon:
        daemon.wait_connected()
        broker.publish("plug/a", *numbered(50))
        wait_for_source(daemon, lambda source: source["recorded"] == 50)
        broker.stop()
        (broker.directory / "mosquitto.db").unlink()
        broker.start()
        wait_for_source(daemon, lambda source: source["connected"] and source["sessions_lost"] == 1)
        assert "the broker lost our session" in daemon.log.read_text()
        # The packet ids begin at 1 again: none of these may be taken for one of the fifty before.
        broker.publish("plug/a", *numbered(50, first=50))
        assert numbers_are_exactly(daemon, influxdb, 100)


@pytest.mark.parametrize("how", ["SIGHUP", "restart"])
def test_a_sensor_that_left_the_configuration_is_unsubscribed(
    mosquitto: Callable[..., Mosquitto], influxdb: InfluxDB, tmp_path: Path, how: str
) -> None:
    """A filter lives in the broker's session; one that is no longer configured must not deliver from there."""
    broker = mosquitto()
    old, new = sensor("old/sensor", "old"), sensor("new/sensor", "new")
    with Daemon(tmp_path, broker_section(broker.port, old + new) + database(influxdb)) as daemon:
        daemon.wait_connected()
        broker.publish("old/sensor", *numbered(1))
        wait_for_source(daemon, lambda source: source["recorded"] == 1)
        wait_for_numbers(daemon, influxdb, 1)
        configuration = broker_section(broker.port, new) + database(influxdb)
        if how == "restart":
            daemon.configure(configuration)
            daemon.restart()
        else:
            reload(daemon, configuration)
        wait_for_source(daemon, lambda source: source["connected"] and "old/sensor" not in source["granted_qos"])
        broker.publish("old/sensor", *numbered(5, first=100))
        broker.publish("new/sensor", *numbered(1, first=1))
        assert numbers_are_exactly(daemon, influxdb, 2)
        daemon.stop()
        broker.publish("old/sensor", *numbered(5, first=200))
        broker.publish("new/sensor", *numbered(1, first=2))
        daemon.start()
        assert numbers_are_exactly(daemon, influxdb, 3)
        now = source(daemon)
        assert (now["unreadable"], now["sessions_lost"]) == (0, 0)
        assert "unsubscribed what the configuration no longer names" in daemon.log.read_text()


def test_two_daemons_with_one_client_id_are_told_so(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """A broker throws the older of two out; the operator must read why and what to change."""
    broker = mosquitto()
    said = "another daemon uses this client id"
    with Daemon(tmp_path / "one", mqtt_section(broker.port)) as one:
        one.wait_connected()
        with Daemon(tmp_path / "two", mqtt_section(broker.port)):
            one.wait_for(lambda status: said in str(status["sources"][0]["last_error"]))
        assert said in one.log.read_text()
        assert "[appliance] id or [[mqtt]] client_id" in one.log.read_text()
        one.wait_connected()


def test_messages_delivered_again_after_a_kill_are_recognised(
    mosquitto: Callable[..., Mosquitto], influxdb: InfluxDB, tmp_path: Path
) -> None:
    """Killed between commit and acknowledgement, the daemon gets the messages again and records none twice."""
    count = 200
    broker = mosquitto()
    with FaultProxy(broker.port, http=False) as line:
        port = line.port
        configuration = mqtt_section(port, f'commit_interval = "2s"\n{PLUGS}') + database(influxdb)
        daemon = Daemon(tmp_path, configuration)
        with daemon:
            daemon.wait_connected()
            wait_for_source(daemon, lambda source: not source["in_backlog"])
            line.mute()  # the acknowledgements will never arrive
            broker.publish("plug/a", *numbered(count, timed=False))
            wait_for_source(daemon, lambda source: source["recorded"] == count)
            wait_until(lambda: daemon.status()["journal"]["newest_position"] >= count, 10, "the commit")
            daemon.kill()
    again = FaultProxy(broker.port, http=False)  # the first line has died with what it held back
    again.port = port
    with again, daemon:
        daemon.wait_connected()
        wait_for_source(daemon, lambda source: source["redelivered"] == count)
        broker.publish("plug/a", *numbered(1, first=count, timed=False))
        assert numbers_are_exactly(daemon, influxdb, count + 1)
        assert source(daemon)["recorded"] == 1


def tls(broker: Mosquitto, password: str, **files: Path) -> str:
    made = broker.certificates
    assert made is not None
    files = {"ca_file": made.ca, "cert_file": made.client, "key_file": made.client_key} | files
    lines = ["tls = true", *(f'{key} = "{file}"' for key, file in files.items())]
    lines += [f'username = "{broker.user}"', f'password = "{password}"', PLUGS]
    return broker_section(broker.port, "\n".join(lines))


def test_tls_with_a_client_certificate_and_a_password(
    mosquitto: Callable[..., Mosquitto], influxdb: InfluxDB, tmp_path: Path
) -> None:
    """An encrypted broker that wants a certificate and a password is served; what is wrong with them is named."""
    broker = mosquitto(user="edge", password="broker-password", tls=True, require_certificate=True)
    other = make_certificates(tmp_path / "other")

    def says(words: str) -> None:
        wait_for_source(daemon, lambda source: not source["connected"] and words in str(source["last_error"]))

    with Daemon(tmp_path, tls(broker, "wrong-password") + database(influxdb)) as daemon:
        says("(correct [[mqtt]] username and password)")
        reload(daemon, tls(broker, "broker-password") + database(influxdb))
        wait_for_source(daemon, lambda source: source["connected"])
        broker.publish("plug/a", *numbered(500))
        assert numbers_are_exactly(daemon, influxdb, 500)
        reload(daemon, tls(broker, "broker-password", ca_file=other.ca) + database(influxdb))
        says("(correct [[mqtt]] ca_file or host)")
        reload(daemon, tls(broker, "broker-password", key_file=other.client_key) + database(influxdb))
        says("correct [[mqtt]] ca_file, cert_file and key_file")
        reload(
            daemon,
            tls(broker, "broker-password", cert_file=other.client, key_file=other.client_key) + database(influxdb),
        )
        says(f"{broker.port}: ")
        log = daemon.log.read_text()
        assert not [word for word in ("broker-password", "wrong-password", "Traceback") if word in log]


@pytest.fixture
def old_broker(tmp_path: Path) -> Iterator[tuple[Process, int]]:
    """Start a broker that knows MQTT 3.1.1 only."""
    port = free_port()
    arguments = [sys.executable, "-m", "edge_energy.embedded_broker", str(port)]
    with Process(arguments, tmp_path, lambda: accepts(port), {"PYTHONPATH": str(ROOT)}) as broker:
        yield broker, port


def test_a_broker_that_only_speaks_mqtt_3_is_found_out(
    old_broker: tuple[Process, int], influxdb: InfluxDB, tmp_path: Path
) -> None:
    """Without configuration the daemon falls back from MQTT 5 to 3.1.1, also where the broker just says nothing."""
    _, port = old_broker
    with Daemon(tmp_path / "daemon", broker_section(port, PLUGS) + database(influxdb)) as daemon:
        wait_for_source(daemon, lambda source: source["connected"] and not source["in_backlog"])
        assert source(daemon)["protocol"] == "3.1.1"
        publish = ["mosquitto_pub", "-p", str(port), "-t", "plug/a", "-q", "1", "-l"]
        text = "".join(f"{payload}\n" for payload in numbered(100))
        subprocess.run(publish, input=text, text=True, check=True, timeout=30)
        assert numbers_are_exactly(daemon, influxdb, 100)


def test_a_broker_that_stumbles_once_is_not_taken_for_an_old_one(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    """Connections that break before an answer (a broker being restarted) do not cost MQTT 5 for ever."""
    broker = mosquitto()
    with (
        FaultProxy(broker.port, http=False) as line,
        Daemon(tmp_path, mqtt_section(line.port)) as daemon,
    ):
        daemon.wait_connected()
        line.refuse()
        seen = line.connections
        wait_until(lambda: line.connections > seen, 20, "an attempt")
        line.ok()
        daemon.wait_connected()
        line.cut()
        wait_for_source(daemon, lambda source: source["connected"] and source["protocol"] == "5")


def test_the_broker_knows_whether_the_daemon_is_there(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """The retained status says online while it runs, offline after a crash (the will) and after a stop (itself)."""
    broker = mosquitto()

    def says(wanted: str) -> None:
        wait_until(lambda: broker.receive(STATUS, 1) == [wanted], 20, wanted)

    with Daemon(tmp_path, mqtt_section(broker.port)) as daemon:
        says(ONLINE)
        daemon.kill()
        says(OFFLINE)
        daemon.start()
        says(ONLINE)
        daemon.stop()
        says(OFFLINE)
    # A broker keeps the will to itself after a DISCONNECT, so the last word was the daemon's own.
    last = [line for line in broker.log.read_text().splitlines() if "edge-energy-house-1" in line][-1]
    assert last.endswith("disconnected.")


DEEP = 100_000
HOSTILE = {
    "empty": b"",
    "text": b"hello",
    "cut": b'{"power": 1',
    "array": b"[1, 2, 3]",
    "number": b"42",
    "null": b"null",
    "nan": b'{"power": NaN}',
    "infinity": b'{"power": 1e999}',
    "nothing": b'{"name": "plug", "power": null, "list": [1]}',
    "latin": b'{"n\xe4me": 1}',
    "binary": bytes(range(256)),
    "surrogate": b'{"\\ud800": 1}',
    "deep": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "nested": b'{"a":' * 20 + b"1" + b"}" * 20,
    "wide": json.dumps({f"value{number}": number for number in range(10_000)}).encode(),
    "large": b'{"power": 1, "text": "' + b"x" * (2 << 20) + b'"}',
}


def test_hostile_payloads_are_counted_kept_and_acknowledged(
    mosquitto: Callable[..., Mosquitto], influxdb: InfluxDB, tmp_path: Path
) -> None:
    """Whatever a message contains, it is counted and kept under its topic, comes once, and stops nobody."""
    broker = mosquitto()

    def send(topic: str, payload: bytes, *options: str) -> None:
        command = [
            "mosquitto_pub",
            "-p",
            str(broker.port),
            "-t",
            topic,
            "-q",
            "1",
            "-s" if payload else "-n",
            *options,
        ]
        subprocess.run(command, input=payload, check=True, timeout=30)

    with Daemon(tmp_path, broker_section(broker.port, PLUGS) + database(influxdb)) as daemon:
        daemon.wait_connected()
        for seq, (name, payload) in enumerate(HOSTILE.items()):
            send(f"plug/{name}", payload)
            broker.publish("plug/good", *numbered(1, first=seq))
        send("zigbee2mqtt/bridge/devices", names("a/#/b", "a/\0b", "+", "x/" * 40_000, "fine/one"), "-r")
        send("zigbee2mqtt/bridge/info", b"[]")
        send("zigbee2mqtt/bridge/state", b"\xff")
        send("zigbee2mqtt/fine/one", numbered(1, first=len(HOSTILE))[0].encode())
        assert numbers_are_exactly(daemon, influxdb, len(HOSTILE) + 1)
        topics = source(daemon)["unreadable_topics"]
        assert {topic: told["count"] for topic, told in topics.items() if topic.startswith("plug/")} == {
            f"plug/{name}": 1 for name in HOSTILE
        }
        kept = daemon.ask("/journal/rejections?count=1000")["unreadable"]
        assert {row["origin"].split()[-1] for row in kept} >= {f"plug/{name}" for name in HOSTILE}
        wait_for_source(daemon, lambda source: source["unacknowledged"] == 0)
        assert "a defect" not in daemon.log.read_text()
        daemon.restart()
        wait_for_source(daemon, lambda source: source["connected"] and not source["in_backlog"])
        assert source(daemon)["unreadable_topics"].keys() <= {"zigbee2mqtt/bridge/info"}
        assert source(daemon)["redelivered"] == 0


def names(*friendly: str) -> bytes:
    devices = [{"ieee_address": f"0x{number}", "friendly_name": name} for number, name in enumerate(friendly)]
    return json.dumps(devices).encode()
