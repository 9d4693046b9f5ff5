"""The whole simulator as a process, in front of a real broker."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import orjson
import pytest

from tests.servers.base import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers.mosquitto import Mosquitto


@pytest.fixture
def simulator() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start simulators with the given options; whatever still runs is killed after the test."""
    running: list[subprocess.Popen[str]] = []

    def start(broker: Mosquitto, *options: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "simulator", "--port", str(broker.port), "--seed", "1", *options]
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_publishes_and_says_goodbye(
    mosquitto: Callable[..., Mosquitto], simulator: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    """A newcomer sees the house at once; a signal ends it cleanly, and who comes next finds the bridge offline."""
    broker = mosquitto()
    process = simulator(broker)
    (device,) = broker.receive("zigbee2mqtt/cuisine/frigo", 1)
    assert orjson.loads(device)["voltage"] > 200
    assert broker.receive("zigbee2mqtt/bridge/state", 1) == ['{"state":"online"}']
    process.send_signal(number)
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "seed 1" in output
    assert broker.receive("zigbee2mqtt/bridge/state", 1) == ['{"state":"offline"}']


def test_a_killed_simulator_leaves_its_will(
    mosquitto: Callable[..., Mosquitto], simulator: Callable[..., subprocess.Popen[str]]
) -> None:
    """The broker publishes what the bridge no longer can."""
    broker = mosquitto()
    process = simulator(broker)
    broker.receive("zigbee2mqtt/bureau", 1)
    process.kill()
    process.wait()
    assert broker.receive("zigbee2mqtt/bridge/state", 1) == ['{"state":"offline"}']


def test_a_command_reaches_the_relay(
    mosquitto: Callable[..., Mosquitto], simulator: Callable[..., subprocess.Popen[str]]
) -> None:
    """What is published to <name>/set comes back as the new state."""
    broker = mosquitto()
    simulator(broker)
    broker.receive("zigbee2mqtt/bureau", 1)
    broker.publish("zigbee2mqtt/bureau/set", '{"state":"OFF"}')
    wait_until(lambda: orjson.loads(broker.receive("zigbee2mqtt/bureau", 1, timeout=30)[0])["state"] == "OFF")


def test_the_charging_post_is_a_shelly(
    mosquitto: Callable[..., Mosquitto], simulator: Callable[..., subprocess.Popen[str]]
) -> None:
    """It stands beside the Zigbee devices, on an HTTP port of its own, and is none of theirs."""
    broker = mosquitto()
    process = simulator(broker, "--start", "2026-06-21T22:00:00")
    assert process.stdout is not None
    line = next(line for line in process.stdout if line.startswith("shelly pro1pm"))
    connection = http.client.HTTPConnection("127.0.0.1", int(line.rpartition(":")[2]))
    connection.request("GET", "/rpc/Switch.GetStatus?id=0")
    assert orjson.loads(connection.getresponse().read())["output"] is True
    connection.close()
    (devices,) = broker.receive("zigbee2mqtt/bridge/devices", 1)
    assert "bureau" in devices
    assert "borne de recharge" not in devices


def test_without_shelly_devices_there_is_no_further_port(
    mosquitto: Callable[..., Mosquitto], simulator: Callable[..., subprocess.Popen[str]]
) -> None:
    """And a load test has none either."""
    for option in (("--no-shelly",), ("--rate", "10")):
        process = simulator(mosquitto(), "--duration", "1", *option)
        output, _ = process.communicate(timeout=15)
        assert (process.returncode, "shelly" in output) == (0, False)


def test_it_gets_in_with_tls_and_a_password_and_says_when_it_does_not(
    mosquitto: Callable[..., Mosquitto], simulator: Callable[..., subprocess.Popen[str]]
) -> None:
    """A wrong password ends it with a message; the right one, from the environment, lets it in."""
    broker = mosquitto(user="edge", password="right", tls=True)
    assert broker.certificates is not None
    options = ("--username", "edge", "--ca-file", str(broker.certificates.ca), "--duration", "1")
    refused = simulator(broker, *options, SIMULATOR_PASSWORD="wrong")
    output, _ = refused.communicate(timeout=15)
    assert (refused.returncode, "refuses" in output) == (1, True)
    admitted = simulator(broker, *options, SIMULATOR_PASSWORD="right")
    output, _ = admitted.communicate(timeout=15)
    assert (admitted.returncode, "connected" in output) == (0, True)
    assert "right" not in output


def test_a_barrage_survives_the_death_of_the_broker(
    mosquitto: Callable[..., Mosquitto], simulator: Callable[..., subprocess.Popen[str]]
) -> None:
    """It waits while there is no broker and goes on counting; it never needs starting again."""
    broker = mosquitto()
    process = simulator(broker, "--rate", "200")
    broker.receive("zigbee2mqtt/bureau", 5)
    broker.kill()
    broker.start()
    assert "seq" in orjson.loads(broker.receive("zigbee2mqtt/bureau", 1, timeout=20)[0])
    process.terminate()
    output, _ = process.communicate(timeout=10)
    assert "connection lost" in output
    assert process.returncode == 0


def test_an_impossible_rate_is_refused(
    mosquitto: Callable[..., Mosquitto], simulator: Callable[..., subprocess.Popen[str]]
) -> None:
    """last_seen would have to run ahead of the clock."""
    process = simulator(mosquitto(), "--rate", "100000")
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 2
    assert "--devices" in output
