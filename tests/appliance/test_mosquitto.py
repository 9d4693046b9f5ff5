"""The broker as install.sh sets it up, of both Debians: nobody does what is not theirs to do, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING

import orjson
import pytest

from tests.conftest import skipped_if_missing
from tests.servers.appliance import CHECKOUT
from tests.servers.base import HOST, ServerError, wait_until
from tests.servers.certificates import make_certificates
from tests.servers.container import Container
from tests.servers.daemon import ROOT, Daemon
from tests.servers.installed_broker import TLS_PORT, WEBSOCKET_PORT, InstalledBroker, Talker
from tests.servers.process import Process
from tests.servers.shelly import SimulatedShelly
from tests.servers.steps import take_steps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


USERS = ("edge-energy", "zigbee2mqtt", "devices", "homeassistant", "simulator")
OWNER = "alice"
"""A user that the owner has made, and may do everything."""
NOT_AUTHORIZED = {0x86, 0x87}
LONG = bool(os.environ.get("LONG_TESTS"))
SUCCESS = {0x00, 0x10}  # 0x10: nobody listens
QUEUED = 10_000
SEED = 1
PLUG = "zigbee-0x842e14210760fba8"
"""The office of the simulated house with that seed."""

# By topic: who may write there, and who may hear it. d: edge-energy, the daemon; z: zigbee2mqtt; s: simulator;
# e: devices; h: homeassistant.
LETTERS = {"d": "edge-energy", "z": "zigbee2mqtt", "s": "simulator", "e": "devices", "h": "homeassistant"}
RIGHTS = {
    "zigbee2mqtt/fridge": ("zs", "dzs"),
    "zigbee2mqtt/garden/pump/availability": ("zs", "dzs"),
    "zigbee2mqtt/bridge/devices": ("zs", "dzs"),
    "zigbee2mqtt/fridge/set": ("dzs", "dzs"),
    "zigbee2mqtt/garden/pump/get": ("dzs", "dzs"),
    "zigbee2mqtt/bridge/request/permit_join": ("zs", "dzs"),
    "zigbee2mqtt/status/fridge": ("zs", "dzs"),  # a friendly name that looks like a Shelly's topic
    "shellyplus1pm-a8032ab12345/online": ("e", "d"),
    "shellyplus1pm-a8032ab12345/events/rpc": ("e", "d"),
    "shellyplus1pm-a8032ab12345/status/switch:0": ("e", "d"),
    "shellyplus1pm-a8032ab12345/rpc": ("d", "de"),
    "shellyplus1pm-a8032ab12345/command/switch:0": ("", "de"),
    "edge-energy/house-1/edge-energy-house-1/rpc": ("de", "dh"),
    "edge-energy/house-1/edge-energy-house-1/statuses/rpc": ("de", "dh"),
    "shellies/announce": ("e", "d"),
    "shellies/shelly1pm-b929cc/online": ("e", "d"),
    "shellies/shelly1pm-b929cc/relay/0": ("e", "d"),
    "shellies/shelly1pm-b929cc/relay/0/power": ("e", "d"),
    "shellies/shellyem-b929cd/emeter/0/total_returned": ("e", "d"),
    "shellies/shelly1pm-b929cc/command": ("d", "de"),
    "shellies/shelly1pm-b929cc/relay/0/command": ("d", "de"),
    "dht11/sensor/data": ("es", "d"),
    "sensors/cellar": ("e", "d"),
    "edge-energy/house-1/status": ("d", "dh"),
    "edge-energy/house-1/marker/edge-energy-house-1": ("d", "dh"),
    "edge-energy/house-1/device/fridge": ("d", "dh"),
    "edge-energy/house-1/relay/boiler/set": ("dh", "dh"),
    "edge-energy/house-1/relay/boiler/state": ("d", "dh"),
    "edge-energy/house-1/relay/boiler/result": ("d", "dh"),
    "homeassistant/device/edge-energy-house-1-fridge/config": ("d", "dh"),
    "homeassistant/sensor/phantom/config": ("", "dh"),
    "homeassistant/status": ("h", "dh"),
    "simulator/fridge/deaf": ("s", "ds"),
    "something/else": ("", "d"),
}


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def broker(request: pytest.FixtureRequest) -> Iterator[InstalledBroker]:
    with contextlib.ExitStack() as stack:
        with skipped_if_missing():
            container = Container(request.param)
        stack.enter_context(container)
        yield stack.enter_context(InstalledBroker(container))


# -- who may do what ------------------------------------------------------------------------------------------------


def test_nobody_without_the_right_password_is_let_in(broker: InstalledBroker) -> None:
    """Anonymous and wrong passwords are refused, by the port in clear text; nobody's secret can be read by others."""
    for user, password in ((None, None), ("edge-energy", "wrong"), ("edge-energy", None), ("root", "root")):
        with Talker(broker.port, user, password) as stranger:
            assert stranger.refused in NOT_AUTHORIZED, user
    with broker.client("devices") as known:
        assert known.refused is None
    modes = broker.container.run(
        *("stat", "-c", "%a %U %n", "/etc/mosquitto/edge-energy.passwd", "/etc/mosquitto/edge-energy.acl"),
        *("/etc/edge-energy/tls/ca.key", "/etc/edge-energy/tls/server.key", "/etc/edge-energy/secrets"),
    ).stdout.splitlines()
    assert [mode.split()[:2] for mode in modes] == [
        ["600", "mosquitto"],
        ["600", "mosquitto"],
        ["600", "root"],
        ["640", "root"],
        ["700", "root"],
    ]


def test_each_user_is_confined(broker: InstalledBroker) -> None:
    """Every user, every topic, both directions; and a user of the owner's own outlives another run."""
    add_owner(broker)
    with contextlib.ExitStack() as stack:
        users = {name: stack.enter_context(broker.client(name)) for name in USERS}
        owner = stack.enter_context(broker.client(OWNER, "hers"))
        for user in users.values():
            user.subscribe("#")
        owner.publish(*RIGHTS)
        for user in users.values():
            user.subscribe("nothing")
        hear = {topic: {name for name, user in users.items() if topic in user.heard} for topic in RIGHTS}
        assert hear == {topic: {LETTERS[letter] for letter in readers} for topic, (_, readers) in RIGHTS.items()}

        codes = {name: user.publish(*RIGHTS) for name, user in users.items()}
        assert {code for answers in codes.values() for code in answers.values()} <= SUCCESS | NOT_AUTHORIZED
        write = {topic: {name for name in USERS if codes[name][topic] in SUCCESS} for topic in RIGHTS}
        assert write == {topic: {LETTERS[letter] for letter in writers} for topic, (writers, _) in RIGHTS.items()}


def add_owner(broker: InstalledBroker) -> None:
    """Do what the first lines of the file with the rights tell the owner to do."""
    broker.container.put("/etc/mosquitto/edge-energy-local.acl", f"user {OWNER}\ntopic readwrite #\n")
    broker.container.run("mosquitto_passwd", "-b", "/etc/mosquitto/edge-energy.passwd", OWNER, "hers")
    before = broker.container.path("/etc/mosquitto/edge-energy.passwd").read_text()
    said = take_steps(broker.container, "setup_mosquitto", MODE="simulation")
    assert "wrote /etc/mosquitto/edge-energy.acl" in said
    assert broker.container.path("/etc/mosquitto/edge-energy.passwd").read_text() == before


def test_a_second_run_changes_nothing(broker: InstalledBroker) -> None:
    """Neither a file nor the running broker."""
    take_steps(broker.container, "setup_mosquitto", MODE="simulation")
    process = broker.container.run("systemctl", "show", "--property=MainPID", "mosquitto").stdout
    said = take_steps(broker.container, "setup_mosquitto", MODE="simulation")
    assert "wrote" not in said
    assert broker.container.run("systemctl", "show", "--property=MainPID", "mosquitto").stdout == process


def test_what_was_interrupted_before_the_restart_gets_it(broker: InstalledBroker) -> None:
    """Files that are as they should be do not mean a broker that has read them."""
    broker.container.run("rm", "/etc/mosquitto/conf.d/edge-energy.conf")
    broker.restart()
    assert not broker.listens(TLS_PORT)
    broker.container.run("cp", f"{CHECKOUT}/mosquitto/edge-energy.conf", "/etc/mosquitto/conf.d/")
    broker.container.run("touch", "/etc/edge-energy/.unfinished")
    take_steps(broker.container, "setup_mosquitto", MODE="simulation")
    assert broker.listens(TLS_PORT)


def test_the_simulated_house_has_no_user_where_it_is_none(broker: InstalledBroker) -> None:
    """In hardware mode nobody can pass for Zigbee devices but Zigbee2MQTT; nothing is left of simulated ones."""
    retained = ["zigbee2mqtt/bridge/devices", "zigbee2mqtt/garden/pump", "sensors/cellar"]
    for topic, user in zip(retained, ("simulator", "simulator", "devices"), strict=True):
        with broker.client(user) as talker:
            talker.publish(topic, retain=True)
    said = take_steps(broker.container, "setup_mosquitto", MODE="hardware", CLEARING="1")
    assert "did not let itself be cleared" not in said
    with broker.client("simulator") as simulator:
        assert simulator.refused in NOT_AUTHORIZED
    with broker.client("edge-energy") as daemon:
        daemon.subscribe("#")
        daemon.subscribe("nothing")
        assert [topic for topic in daemon.heard if topic in retained] == ["sensors/cellar"]
    assert "clearing" not in take_steps(broker.container, "setup_mosquitto", MODE="hardware")
    take_steps(broker.container, "setup_mosquitto", MODE="simulation")
    with broker.client("simulator") as simulator:
        assert simulator.refused is None


# -- encryption -----------------------------------------------------------------------------------------------------


def test_the_certificate_is_ours_and_no_other(broker: InstalledBroker, tmp_path: Path) -> None:
    """Under each of the machine's names; with another authority there is no connection."""
    host = broker.container.run("uname", "-n").stdout.strip()
    trusted = ssl.create_default_context(cafile=broker.ca(tmp_path))
    for name in ("localhost", HOST, host, f"{host}.local"):
        assert handshake(broker, trusted, name) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match=r"doesn't match|not valid for"):
        handshake(broker, trusted, "elsewhere.local")
    stranger = ssl.create_default_context(cafile=make_certificates(tmp_path / "other").ca)
    with pytest.raises(ssl.SSLCertVerificationError, match="verify failed"):
        handshake(broker, stranger, "localhost")


def handshake(broker: InstalledBroker, context: ssl.SSLContext, name: str) -> str | None:
    with (
        socket.create_connection((HOST, broker.tls_port), 10) as connection,
        context.wrap_socket(connection, server_hostname=name) as encrypted,
    ):
        return encrypted.version()


def test_a_certificate_near_its_end_is_renewed(broker: InstalledBroker, tmp_path: Path) -> None:
    """The authority stays: whoever was given ca.pem goes on. So after a half-written pair of files."""
    ca = broker.ca(tmp_path).read_bytes()
    first = certificate(broker)
    take_steps(broker.container, "setup_mosquitto", MODE="simulation", TLS_RENEW_DAYS="99999")
    renewed = certificate(broker)
    assert renewed != first
    broker.container.run("rm", "/etc/edge-energy/tls/server.key")
    take_steps(broker.container, "setup_mosquitto", MODE="simulation")
    assert certificate(broker) not in (first, renewed)
    assert broker.ca(tmp_path).read_bytes() == ca
    assert handshake(broker, ssl.create_default_context(cafile=broker.ca(tmp_path)), "localhost")
    for name in ("ca.pem", "ca.key"):
        broker.container.put(f"/etc/edge-energy/tls/{name}", "damaged\n")
    take_steps(broker.container, "setup_mosquitto", MODE="simulation")
    assert handshake(broker, ssl.create_default_context(cafile=broker.ca(tmp_path)), "localhost")


def test_an_address_that_a_router_lends_restarts_nothing(broker: InstalledBroker) -> None:
    """The certificate follows the machine's names and fixed addresses, not those that come and go."""
    before = certificate(broker)
    lent, fixed = "192.0.2.7", "198.51.100.7"
    broker.container.run(*f"ip address add {lent}/24 dev lo valid_lft 3600 preferred_lft 3600".split())
    assert "certificate" not in take_steps(broker.container, "setup_mosquitto", MODE="simulation")
    broker.container.run(*f"ip address add {fixed}/24 dev lo".split())
    take_steps(broker.container, "setup_mosquitto", MODE="simulation")
    assert certificate(broker) != before
    for address in (lent, fixed):
        broker.container.run("ip", "address", "del", f"{address}/24", "dev", "lo")
    assert "certificate" not in take_steps(broker.container, "setup_mosquitto", MODE="simulation")


def certificate(broker: InstalledBroker) -> bytes:
    return broker.container.path("/etc/edge-energy/tls/server.pem").read_bytes()


# -- nothing lost ---------------------------------------------------------------------------------------------------


def test_ten_thousand_messages_wait_for_the_daemon(broker: InstalledBroker, tmp_path: Path) -> None:
    """Even if the broker is restarted meanwhile. The daemon's connection is encrypted."""
    if broker.container.debian != "trixie" and not LONG:
        pytest.skip("slow, and of one Debian enough: LONG_TESTS=1")
    configuration = mqtt(broker, broker.tls_port, f'tls = true\nca_file = "{broker.ca(tmp_path)}"')
    with Daemon(tmp_path / "daemon", configuration, appliance="queue") as daemon:
        daemon.wait_connected()
        daemon.stop()
        half = QUEUED // 2
        publish_numbers(broker, range(half))
        broker.restart()
        publish_numbers(broker, range(half, QUEUED))
        daemon.start()
        daemon.wait_connected()
        wait_until(lambda: len(numbers(daemon)) >= QUEUED, 60, f"{QUEUED} messages")
        assert sorted(numbers(daemon)) == list(range(QUEUED))


def publish_numbers(broker: InstalledBroker, which: range) -> None:
    with broker.client("zigbee2mqtt") as zigbee2mqtt:
        sent = [zigbee2mqtt.client.publish("zigbee2mqtt/plug", f'{{"seq":{n}}}', qos=1) for n in which]
        for info in sent:
            info.wait_for_publish(60)


def numbers(daemon: Daemon) -> list[int]:
    """Return what the journal has of them: a reading's body is the number of its shape and a list of values."""
    with contextlib.closing(sqlite3.connect(f"file:{daemon.state}/journal.db?mode=ro", uri=True)) as journal:
        bodies = journal.execute("SELECT body FROM entries WHERE kind = 0").fetchall()
    return [int(orjson.loads(body[body.index("[") :])[0]) for (body,) in bodies]


# -- the daemon's whole work ----------------------------------------------------------------------------------------


def test_the_daemon_works_within_its_rights(broker: InstalledBroker, tmp_path: Path) -> None:
    """Zigbee, a sensor, a Shelly, switching, Home Assistant: the broker denies nobody anything."""
    broker.container.put("/etc/mosquitto/conf.d/zz-test.conf", "log_type all\n")
    broker.restart()
    before = len(broker.log())
    with (
        broker.client("homeassistant") as homeassistant,
        simulated_house(tmp_path, broker),
        SimulatedShelly(tmp_path, "plus1pm") as shelly,
    ):
        homeassistant.subscribe("homeassistant/#")
        homeassistant.subscribe("edge-energy/#")
        device = shelly["plus1pm"]
        boiler = f"shelly-{device.mac.lower()}"
        relays = "".join(f'[[relay]]\ndevice = "{name}"\nsafe_state = "off"\n' for name in (boiler, PLUG))
        sensor = '[[mqtt.sensors]]\ntopic = "dht11/sensor/data"\ndevice = "dht11"\n'
        configuration = mqtt(broker, broker.port, sensor) + relays + "[homeassistant]\n"
        with Daemon(tmp_path / "daemon", configuration) as daemon:
            daemon.wait_connected()
            adopt(broker, daemon, device.port)
            wait_until(lambda: {boiler, PLUG, "dht11"} <= devices(daemon), 60, "readings of all devices")
            for relay in (boiler, PLUG):
                for state in ("on", "off"):
                    command(daemon, "switch", relay, state)
            wait_until(lambda: any(topic.endswith("/config") for topic in homeassistant.heard), 30, "discovery")
            told = homeassistant.publish(f"edge-energy/house-1/relay/{PLUG}/set", payload="ON")
            assert set(told.values()) <= SUCCESS
            wait_until(lambda: f"edge-energy/house-1/relay/{PLUG}/result" in homeassistant.heard, 30, "a result")
            granted = daemon.status()["sources"][0]["granted_qos"]
            assert "refused" not in granted.values()
            stranger = homeassistant.publish("zigbee2mqtt/nobody", payload="shows what a denial looks like")
            assert set(stranger.values()) <= NOT_AUTHORIZED
    denied = [line for line in broker.log()[before:] if "Denied" in line]
    broker.container.run("rm", "/etc/mosquitto/conf.d/zz-test.conf")
    broker.restart()
    assert len(denied) == 1
    assert "zigbee2mqtt/nobody" in denied[0]


def mqtt(broker: InstalledBroker, port: int, more: str) -> str:
    password = broker.password("edge-energy")
    return f'[[mqtt]]\nport = {port}\nusername = "edge-energy"\npassword = "{password}"\n{more}\n'


def simulated_house(directory: Path, broker: InstalledBroker) -> Process:
    """Give the house as edge-energy-simulator.service starts it, but for the Shelly devices."""
    house = directory / "house"
    house.mkdir()
    environment = {"SIMULATOR_USERNAME": "simulator", "SIMULATOR_PASSWORD": broker.password("simulator")}
    arguments = [sys.executable, "-m", "simulator", "--no-shelly", "--seed", str(SEED), "--port", str(broker.port)]
    connected = f"connected to {HOST}"
    return Process(
        arguments, house, lambda: connected in (house / "log").read_text(), environment | {"PYTHONPATH": str(ROOT)}
    )


def adopt(broker: InstalledBroker, daemon: Daemon, port: int) -> None:
    command(
        daemon,
        *("shelly", "adopt", f"{HOST}:{port}", "--via", "mqtt", "--mqtt-user", "devices"),
        SHELLY_MQTT_PASSWORD=broker.password("devices"),
    )


def command(daemon: Daemon, *arguments: str, **environment: str) -> None:
    ran = subprocess.run(
        daemon.command(*arguments), check=False, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def devices(daemon: Daemon) -> set[str]:
    return {device["device"] for device in daemon.ask("/devices")}


# -- what was there before ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["listener 1883 0.0.0.0", "allow_anonymous true", "per_listener_settings true"])
def test_an_owners_settings_are_not_contradicted(broker: InstalledBroker, line: str) -> None:
    """The error names file, line and both ways out; nothing of the owner's broker has changed."""
    broker.container.put("/etc/mosquitto/conf.d/own.conf", f"# mine\n{line}\n")
    try:
        with pytest.raises(ServerError) as stopped:
            take_steps(broker.container, "setup_mosquitto", MODE="simulation")
        for words in (f"/etc/mosquitto/conf.d/own.conf:2:{line}", "MQTT_BROKER=own", "Take those lines away"):
            assert words in str(stopped.value)
        said = take_steps(broker.container, "setup_mosquitto", MODE="simulation", MQTT_BROKER="own")
        assert "make the users edge-energy zigbee2mqtt devices homeassistant simulator there" in said
        assert "wrote /etc/mosquitto" not in said
        assert not broker.container.path("/etc/mosquitto/conf.d/edge-energy.conf").exists(), "ours is out of force"
        assert not broker.listens(TLS_PORT)
    finally:
        broker.container.run("rm", "/etc/mosquitto/conf.d/own.conf")
        take_steps(broker.container, "setup_mosquitto", MODE="simulation")


def test_websockets_are_there_when_they_are_wanted(broker: InstalledBroker) -> None:
    """By the same users and passwords."""
    assert not broker.listens(WEBSOCKET_PORT)
    take_steps(broker.container, "setup_mosquitto", MODE="simulation", MQTT_WEBSOCKETS="yes")
    for password, welcome in ((broker.password("homeassistant"), True), ("wrong", False)):
        with Talker(broker.websocket_port, "homeassistant", password, "websockets") as page:
            assert (page.refused is None) == welcome
    take_steps(broker.container, "setup_mosquitto", MODE="simulation")
    assert not broker.listens(WEBSOCKET_PORT)


def test_it_goes_away_without_a_trace(broker: InstalledBroker) -> None:
    """Debian's broker is left, for this machine only. Uninstalling keeps users for the next time, purging none."""
    take_steps(broker.container, "setup_mosquitto", "remove_mosquitto", MODE="simulation")
    with Talker(broker.port, None, None) as anybody:
        assert anybody.refused is None
    listening = broker.container.run("ss", "-Hltn", "sport = :1883").stdout.split()
    assert "127.0.0.1:1883" in listening
    assert "0.0.0.0:1883" not in listening
    kept = broker.container.run("find", "/etc/mosquitto", "-name", "edge-energy*").stdout.splitlines()
    assert {path.rpartition(".")[2] for path in kept} == {"passwd", "acl"}
    take_steps(broker.container, "purge_mosquitto", MODE="simulation")
    assert not broker.container.run("find", "/etc/mosquitto", "-name", "edge-energy*").stdout
