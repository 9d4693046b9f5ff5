"""`edge-energy doctor` beside a real daemon, broker and database: all well, then one thing after another is not."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.patient import GOOD, PASSWORD, USER, Appliance, doctor
from tests.conftest import skipped_if_missing
from tests.servers.base import HOST, free_port
from tests.servers.daemon import ROOT, kafka_section, pubsub_section
from tests.servers.mosquitto import Mosquitto
from tests.servers.small_disk import small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.influxdb import InfluxDB
    from tests.servers.kafka import Kafka
    from tests.servers.pubsub import Pubsub


@pytest.fixture(scope="module")
def appliance(influxdb_server: InfluxDB, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    influxdb_server.fresh_bucket()
    with skipped_if_missing():
        broker = Mosquitto(user=USER, password=PASSWORD, autosave_interval=300, max_queued_messages=100_000)
    with broker:
        found = Appliance(broker, influxdb_server, tmp_path_factory.mktemp("doctor"))
        with found.daemon:
            found.daemon.wait_connected()
            found.tell("state", {"state": "online"})
            found.tell("info", {"version": "2.14.0", "config": GOOD})
            yield found


def test_a_healthy_appliance_is_found_healthy(appliance: Appliance) -> None:
    """Nothing failed, every real server was really asked, and that has left nothing behind."""
    appliance.daemon.wait_connected()
    found = appliance.examine()
    assert (found.code, found.wrong()) == (0, {})
    asked = ["passes messages on", "keeps sessions", "refuses strangers", "mosquitto's settings", "Zigbee2MQTT,"]
    asked += ["Zigbee2MQTT's settings", "answers", "token and bucket", f"port {appliance.http}", "configuration file"]
    for part in (*asked, "daemon", "state directory", "space for the journal", "bytes written a day"):
        assert found.one(part)["verdict"] == "ok", found.one(part)
    assert re.fullmatch(r"a message came back at QoS 1 after [0-9.]+ ms", found.one("passes messages on")["found"])
    assert "the daemon" in found.one("bytes written a day")["found"]
    assert appliance.influxdb.count() == appliance.influxdb.count("version")  # the daemon's own start, nothing else
    for source in appliance.daemon.status()["sources"]:
        assert source["connected"], "the doctor threw the daemon out"


def test_people_get_one_line_for_each_check(appliance: Appliance) -> None:
    """The verdict is first; without a terminal there are no colours."""
    command = appliance.daemon.command("doctor", "--config", str(appliance.daemon.config))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert re.search(
        r"^MQTT\n  ok +127\.0\.0\.1:[0-9]+ passes messages on: a message came back", done.stdout, re.MULTILINE
    )
    assert PASSWORD not in done.stdout


def test_a_wrong_token_and_a_missing_bucket(appliance: Appliance) -> None:
    """InfluxDB is asked without anything being written."""
    found = appliance.examine(token="token-of-somebody-else")
    assert found.code == 1
    found.explained(
        "token and bucket", "failure", "InfluxDB does not know it", "/etc/credstore/edge-energy.influxdb.token"
    )
    found = appliance.examine(bucket="nowhere")
    assert found.code == 1
    found.explained("token and bucket", "failure", '"nowhere" not found', "influx bucket create --org home")


def test_a_broker_without_passwords(appliance: Appliance) -> None:
    """Who may connect without a login may switch."""
    with Mosquitto(persistence=False) as broker:
        found = appliance.examine(port=broker.port, login=False)
    found.explained("refuses strangers", "warning", "switch relays", "allow_anonymous false")
    found.explained("mosquitto's settings", "failure", "is lost when mosquitto", "persistence true in")


def test_a_broker_that_refuses_us_or_is_down(appliance: Appliance) -> None:
    """One check tells; the others of that broker do not repeat it."""
    found = appliance.examine(login=False)
    found.explained("passes messages on", "failure", "Not authorized", "username and password")
    found = appliance.examine(port=free_port())
    assert found.code == 1
    found.explained("passes messages on", "failure", "Connection refused", "sudo systemctl restart mosquitto")
    assert list(found.wrong()) == [name for name in found.checks if "passes messages on" in name]


def test_a_broker_whose_certificate_nobody_vouches_for(appliance: Appliance) -> None:
    """The same check with the right authority passes, strangers included, who need a certificate there."""
    with Mosquitto(tls=True, require_certificate=True) as broker:
        made = broker.certificates
        assert made is not None
        shown = f'cert_file = "{made.client}"\nkey_file = "{made.client_key}"\ntls = true\n'
        found = appliance.examine(port=broker.port, login=False, more=shown)
        found.explained("passes messages on", "failure", "self", "correct [[mqtt]] ca_file")
        found = appliance.examine(port=broker.port, login=False, more=f'{shown}ca_file = "{made.ca}"\n')
    assert found.one("passes messages on")["verdict"] == "ok"
    assert found.one("refuses strangers")["verdict"] == "ok"


def test_kafka_and_pubsub_are_asked_for_their_topics(kafka: Kafka, pubsub: Pubsub, tmp_path: Path) -> None:
    """All are there; then one is not, and it is said which command makes it."""
    there = kafka_section(f"{kafka.host}:{kafka.port}", kafka.topics) + pubsub_section(pubsub.project)
    file = tmp_path / "edge-energy.toml"
    file.write_text(there)
    found = doctor(file, tmp_path / "no.sock")
    assert [found.one(name)["verdict"] for name in ("Kafka", "Pub/Sub")] == ["ok", "ok"]
    pubsub.delete_topic("incidents")
    file.write_text(there.replace(kafka.topics["incidents_topic"], "nobody-made-it"))
    found = doctor(file, tmp_path / "no.sock")
    found.explained("Kafka", "failure", "no topic nobody-made-it", "edge-energy forward create-topics")
    found.explained("Pub/Sub", "failure", "no topic incidents", "edge-energy forward create-topics")


def test_a_cluster_that_is_down_fills_no_screen(tmp_path: Path) -> None:
    """What its client says while it tries again and again is no part of the report; nor is it JSON."""
    file = tmp_path / "edge-energy.toml"
    file.write_text(f'[kafka]\nbrokers = "{HOST}:{free_port()}"\ntimeout = "1s"\n')
    doctor(file, tmp_path / "no.sock").explained("Kafka", "failure", "cannot reach", "correct [kafka]")


def test_zigbee2mqtt_at_qos_0_and_offline(appliance: Appliance) -> None:
    """What it publishes at QoS 0 is lost while the daemon is away."""
    appliance.tell("info", {"version": "2.14.0", "config": {"advanced": {"last_seen": "disable"}}})
    appliance.tell("state", {"state": "offline"})
    found = appliance.examine()
    appliance.tell("info", {"version": "2.14.0", "config": GOOD})
    appliance.tell("state", {"state": "online"})
    found.explained("Zigbee2MQTT's settings", "failure", "at QoS 0", "device_options: {qos: 1}")
    found.explained("Zigbee2MQTT's settings", "failure", "last_seen", "last_seen: ISO_8601")
    found.explained("Zigbee2MQTT,", "failure", "it is stopped", "sudo systemctl restart zigbee2mqtt")


def test_a_port_that_another_program_has(appliance: Appliance) -> None:
    """It is named, and how to end it."""
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        found = appliance.examine(http=port)
    found.explained(f"port {port}", "failure", "taken by another program", f"sudo kill {os.getpid()}")


def test_a_nearly_full_disk(appliance: Appliance) -> None:
    """It is told before the journal stops."""
    with contextlib.ExitStack() as stack:
        with skipped_if_missing():
            disk = stack.enter_context(small_disk(24))
        found = appliance.examine(state=disk)
        found.explained("space for the journal", "failure", "nearly full", "state_dir")


def test_without_the_daemon_and_with_a_broken_configuration(appliance: Appliance, tmp_path: Path) -> None:
    """The doctor is needed most when nothing works: it looks at what is left."""
    nowhere = tmp_path / "nowhere.sock"
    found = appliance.examine(at=nowhere)
    assert found.code == 1
    found.explained("daemon", "failure", "No daemon listens", "sudo systemctl start edge-energy")
    assert found.one("passes messages on")["verdict"] == "ok"
    broken = tmp_path / "broken.toml"
    broken.write_text('[appliance]\nid = "two words"\n[influxdb]\ntokn = "token-of-a-typo"\n')
    found = doctor(broken, nowhere)
    assert found.code == 78
    found.explained("configuration", "failure", "did you mean token?", "edge-energy check")
    assert found.one("memory")["verdict"] in ("ok", "warning")
