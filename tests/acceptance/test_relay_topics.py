"""Relays over MQTT, as anybody uses them: mosquitto's own clients, the daemon, a simulated Shelly.

The device is heard and switched by MQTT only.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import pytest

from edge_energy.devices.shelly_rpc import device_id
from tests.servers.base import wait_until
from tests.servers.daemon import Daemon, mqtt_section
from tests.servers.shelly import SimulatedShelly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.mosquitto import Mosquitto

BOILER = "shelly-ec6260515763"  # as the simulator makes it from its first seed
TOPIC = f"edge-energy/house-1/relay/{BOILER}"
LONG = 7  # seconds for which a stopped process cannot have listened
GARBAGE = [
    "toggle",
    "1",
    "{",
    "[]",
    "null",
    '{"state": true}',
    '{"state": "ON", "for": "for ever"}',
    '{"state": "ON", "for": -1}',
    '{"state": "ON", "id": {"a": 1}}',
    '{"state": "ON", "expires": "tomorrow"}',
    '{"state": "ON", "expires": "2030-01-01T00:00:00"}',
    '{"state": "ON", "sudo": true}',
    "ON" + "x" * 100_000,
    '{"a":' * 1000,
    "\N{PILE OF POO}" * 100,
]


class Listener:
    """mosquitto_sub beside the test, whose lines are the messages so far."""

    def __init__(self, broker: Mosquitto, directory: Path, *topics: str) -> None:
        self._file = directory / f"heard-{time.monotonic_ns()}"
        filters = [part for topic in (*topics, "listener/ready") for part in ("-t", topic)]
        command = ["mosquitto_sub", "-h", broker.host, "-p", str(broker.port), "-q", "1", "-F", "%t %p", *filters]
        with self._file.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output)
        broker.publish("listener/ready", "yes", retain=True)

    def __enter__(self) -> Self:
        wait_until(lambda: "listener/ready yes" in self.lines(), 20, "mosquitto_sub")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    def lines(self) -> list[str]:
        """Return all messages: topic, payload."""
        return self._file.read_text(errors="replace").splitlines()

    def results(self) -> list[dict[str, Any]]:
        """Return what became of every message on `…/set`."""
        return [json.loads(line.partition(" ")[2]) for line in self.lines() if line.startswith(f"{TOPIC}/result ")]


class Rig:
    """A broker, the device on it, and the daemon."""

    def __init__(self, broker: Mosquitto, shelly: SimulatedShelly, daemon: Daemon, results: Listener) -> None:
        self.broker = broker
        self.device = shelly["pro1pm"]
        self.daemon = daemon
        self.heard = results

    def start(self) -> None:
        """Start the daemon, and wait until the load is in its safe state and known to be."""
        self.daemon.start()
        self.daemon.wait_connected()
        self.daemon.wait_for(lambda status: status["relays"][0]["state"] == "OFF", 30, "the safe state at the start")
        wait_until(lambda: self.state() == "OFF", 30, "its state at the broker")

    def state(self) -> str:
        """Return what the broker retains."""
        return self.broker.receive(f"{TOPIC}/state", 1)[0]

    def output(self) -> bool:
        """Return the truth."""
        return bool(self.device.state()["output"])

    def send(self, payload: str, **options: Any) -> None:
        """Publish a command, as anybody would."""
        self.broker.publish(f"{TOPIC}/set", payload, **options)

    def ask(self, payload: str, **options: Any) -> dict[str, Any]:
        """Publish a command and return its result."""
        before = len(self.heard.results())
        self.send(payload, **options)
        return self.result(before)

    def result(self, number: int) -> dict[str, Any]:
        """Wait for so many results and one more; return it."""
        wait_until(lambda: len(self.heard.results()) > number, 20, "a result")
        return self.heard.results()[number]

    def answer(self, command: str) -> dict[str, Any]:
        """Wait for the result of the command with this id; return it."""

        def found() -> list[dict[str, Any]]:
            return [each for each in self.heard.results() if each["id"] == command]

        return wait_until(found, 20, f"the result of {command}")[0]

    def trail(self) -> list[dict[str, Any]]:
        """Return how the commands that came by MQTT ended, from the journal."""
        entries = self.daemon.ask("/journal/tail?count=1000")
        bodies = [entry["body"] for entry in entries if entry["kind"] == "command"]
        return [body for body in bodies if body["event"] == "outcome" and body["origin"] == "mqtt"]

    def wait_trail(self, command: str) -> None:
        """Wait until it has how a command ended."""
        wait_until(lambda: command in {body["command"] for body in self.trail()}, 10, "the audit trail")


@contextmanager
def rig(broker: Mosquitto, directory: Path, more: str = "", mqtt: str = "") -> Iterator[Rig]:
    """Make a rig whose daemon is not started yet; at the end nothing may have broken."""
    configuration = mqtt_section(broker.port, f'commit_interval = "200ms"\n{mqtt}')
    configuration += f'[[relay]]\ndevice = "{BOILER}"\nsafe_state = "off"\n{more}'
    options = ("--mqtt-port", str(broker.port))
    daemon = Daemon(directory / "daemon", configuration)
    with (
        SimulatedShelly(directory, "pro1pm", options=options) as shelly,
        Listener(broker, directory, f"{TOPIC}/result") as results,
    ):
        wait_until(lambda: shelly["pro1pm"].state()["mqtt_connected"], 20, "the device")
        assert device_id(shelly["pro1pm"].id) == BOILER
        try:
            yield Rig(broker, shelly, daemon, results)
            assert daemon.status()["sources"][0]["unreadable"] == 0
        finally:  # before the device, whose safe state it would wait for
            daemon.__exit__()
    log = daemon.log.read_text(errors="replace")
    assert "Traceback" not in log, log


@pytest.fixture(params=["5", "3.1.1"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Give the version of MQTT that the daemon speaks."""
    return f'protocol = "{request.param}"'


def test_on_is_confirmed_and_true(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """And the state that is retained is that of the device, whoever switched it."""
    with rig(mosquitto(), tmp_path) as house:
        house.start()
        assert house.ask('{"state": "ON", "id": "mine-1"}') == {"id": "mine-1", "outcome": "confirmed", "reason": ""}
        assert house.output()
        wait_until(lambda: house.state() == "ON", 20, "the state")
        assert house.ask("off")["outcome"] == "confirmed"
        assert not house.output()
        wait_until(lambda: house.state() == "OFF", 20, "the state")
        house.device.press()
        wait_until(lambda: house.state() == "ON", 20, "the state after a hand at the switch")
        wait_until(lambda: [body["outcome"] for body in house.trail()] == ["confirmed"] * 2, 10, "the trail")
        house.daemon.stop()
        wait_until(lambda: not house.output(), 20, "the safe state at the stop")
        house.daemon.start()


def test_a_time_is_kept(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """ON for two seconds is over after two seconds; what has expired is not begun."""
    with rig(mosquitto(), tmp_path) as house:
        house.start()
        assert house.ask('{"state": "ON", "for": 2}')["outcome"] == "confirmed"
        wait_until(lambda: not house.output(), 10, "the end of two seconds")
        edges = house.device.state()["edges"]
        assert house.ask(json.dumps({"state": "ON", "expires": time.time() - 1}))["outcome"] == "expired"
        assert house.ask(json.dumps({"state": "OFF", "expires": time.time() + 60}))["outcome"] == "confirmed"
        assert house.device.state()["edges"] == edges


def test_what_was_retained_never_fires(mosquitto: Callable[..., Mosquitto], tmp_path: Path, protocol: str) -> None:
    """Neither at the first connect nor at any later one; it is in the audit trail, and its sender is told."""
    with rig(mosquitto(), tmp_path, mqtt=protocol) as house:
        house.send("ON", retain=True)
        edges = house.device.state()["edges"]
        house.start()
        refused = house.result(0)
        assert refused["outcome"] == "refused"
        assert "retain" in refused["reason"]
        house.daemon.restart()
        house.daemon.wait_connected()
        house.send('{"state": "OFF", "id": "later"}')  # what was retained may be answered once more before it
        assert house.answer("later")["outcome"] == "confirmed"  # everything that came before is through
        assert not house.output()
        assert house.device.state()["edges"] in (edges, edges + 1)  # the safe state at the start
        wait_until(lambda: {body["outcome"] for body in house.trail()} == {"refused", "confirmed"}, 10, "the trail")


def test_who_retains_a_command_is_told_not_to(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """Even where somebody listens: at the next new session it would be there again. Only MQTT 5 can tell."""
    with rig(mosquitto(), tmp_path) as house:
        house.start()
        assert "without retain" in house.ask("ON", retain=True)["reason"]
        assert not house.output()
        house.broker.publish(f"{TOPIC}/set", "", retain=True)  # deleted, and no command
        assert house.ask("ON")["outcome"] == "confirmed"
        assert len(house.heard.results()) == 2


def test_what_was_sent_while_nobody_listened_never_fires(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, protocol: str
) -> None:
    """The broker keeps it for the daemon, which was stopped or killed meanwhile."""
    with rig(mosquitto(), tmp_path, mqtt=protocol) as house:
        house.start()
        edges = house.device.state()["edges"]
        for number, end in enumerate((house.daemon.stop, house.daemon.kill)):
            end()
            house.send(f'{{"state": "ON", "id": "away-{number}"}}')
            house.start()
            assert house.answer(f"away-{number}")["outcome"] == "refused"
            house.wait_trail(f"away-{number}")
        assert house.device.state()["edges"] == edges
        assert house.ask('{"state": "ON", "id": "away-0"}')["outcome"] == "confirmed"  # nothing was done before


def test_what_waited_in_the_network_never_fires(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """A process that stood still finds a command that it cannot date: the connection was never lost."""
    with rig(mosquitto(), tmp_path, mqtt='keepalive = "60s"') as house:
        house.start()
        house.daemon.pause()
        try:
            house.send("ON")
            time.sleep(LONG)
        finally:
            house.daemon.resume()
        assert house.result(0)["outcome"] == "refused"
        assert not house.output()
        wait_until(lambda: house.ask("ON")["outcome"] == "confirmed", 20, "commands to count again")
        assert house.output()


def test_the_same_command_is_executed_once(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """Whoever sends it twice gets the same answer twice, also from the next process."""
    with rig(mosquitto(), tmp_path) as house:
        house.start()
        edges = house.device.state()["edges"]
        first = house.ask('{"state": "ON", "id": "once"}')
        assert first["outcome"] == "confirmed"
        assert house.ask('{"state": "OFF", "id": "off"}')["outcome"] == "confirmed"
        assert house.ask('{"state": "ON", "id": "once"}') == first
        assert not house.output()
        house.daemon.kill()
        house.start()
        assert house.ask('{"state": "ON", "id": "once"}') == first
        assert not house.output()
        assert house.device.state()["edges"] == edges + 2


def test_garbage_is_refused_in_words(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """Each message of it, also for relays that do not exist; and nothing moves."""
    with rig(mosquitto(), tmp_path) as house:
        house.start()
        edges = house.device.state()["edges"]
        for payload in GARBAGE:
            result = house.ask(payload)
            assert result["outcome"] == "refused", payload[:50]
            assert "expected" in result["reason"] or "JSON" in result["reason"], result
        other = "edge-energy/house-1/relay/other"
        with Listener(house.broker, tmp_path, f"{other}/result") as heard:
            house.broker.publish(f"{other}/set", "ON")
            wait_until(lambda: any(BOILER in line for line in heard.lines()), 20, "the relays that there are")
        for topic in (f"{TOPIC}/set/x", f"{TOPIC}/", "edge-energy/house-1/relay//set"):
            house.broker.publish(topic, "ON")
        assert house.ask("OFF")["outcome"] == "confirmed"
        assert house.device.state()["edges"] == edges


def test_a_flood_is_bounded(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """Each of a thousand commands at once has an outcome, and the last one is the truth."""
    with rig(mosquitto(), tmp_path) as house:
        house.start()
        payloads = [("ON", "OFF")[number % 2] for number in range(1000)]
        house.broker.publish(f"{TOPIC}/set", *payloads)
        wait_until(lambda: len(house.heard.results()) == 1000, 60, "all outcomes")
        outcomes = [result["outcome"] for result in house.heard.results()]
        assert set(outcomes) <= {"confirmed", "refused", "superseded", "failed"}
        assert house.ask("ON")["outcome"] == "confirmed"
        assert house.output()


def test_what_is_retained_after_a_stop_is_true(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """The stop switches loads off; nobody may read ON there until the next start."""
    with rig(mosquitto(), tmp_path) as house:
        house.start()
        assert house.ask("ON")["outcome"] == "confirmed"
        wait_until(lambda: house.state() == "ON", 20, "its state at the broker")
        house.daemon.stop()
        assert not house.output()
        assert house.state() == "OFF"
        house.daemon.start()


def test_without_relays_nobody_listens(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """And Home Assistant is offered no switch there that would do nothing."""
    with rig(mosquitto(), tmp_path, more="[homeassistant]\n", mqtt="relays = false") as house:
        house.daemon.start()
        house.daemon.wait_connected()
        topic = f"homeassistant/device/edge-energy-house-1-{BOILER}/config"
        components = json.loads(house.broker.receive(topic, 1)[0])["components"]
        offered = {each["platform"] for each in components.values() if each.keys() != {"platform"}}
        assert "binary_sensor" in offered
        assert "switch" not in offered
        assert not [topic for topic in house.daemon.status()["sources"][0]["granted_qos"] if topic.endswith("/set")]


def test_home_assistant_finds_and_switches_everything(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """With nothing but what the messages say: the device appears, its values are true, its switch switches."""
    with rig(mosquitto(), tmp_path, more='[homeassistant]\nprefix = "ha"\n') as house:
        house.start()
        topic = f"ha/device/edge-energy-house-1-{BOILER}/config"

        def about() -> dict[str, Any]:
            found: dict[str, Any] = json.loads(house.broker.receive(topic, 1)[0])
            return found

        wait_until(lambda: "power" in about()["components"], 30, "discovery")
        found = about()
        assert re.fullmatch(r"ha/device/[a-zA-Z0-9_-]+/config", topic)
        assert found["device"]["identifiers"]
        assert found["origin"]["name"] == "edge-energy"
        components = {key: each for key, each in found["components"].items() if each.keys() != {"platform"}}
        assert len({each["unique_id"] for each in components.values()}) == len(components)
        energy = components["energy"]
        assert (energy["unit_of_measurement"], energy["state_class"]) == ("Wh", "total_increasing")
        (switch,) = (each for each in components.values() if each["platform"] == "switch")
        values = json.loads(house.broker.receive(found["state_topic"], 1)[0])
        sensors = {key for key, each in components.items() if each["platform"] == "sensor"}
        assert {"power", "voltage", "energy"} <= sensors <= values.keys()
        assert json.loads(house.broker.receive(switch["availability"][0]["topic"], 1)[0]) == {"status": "online"}
        house.broker.publish(switch["command_topic"], "ON")
        wait_until(lambda: house.broker.receive(switch["state_topic"], 1) == ["ON"], 20, "the switch")
        assert house.output()
        house.device.load(1234.0)
        wait_until(
            lambda: json.loads(house.broker.receive(found["state_topic"], 1)[0])["power"] == 1234.0, 30, "its power"
        )
