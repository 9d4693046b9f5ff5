"""Zigbee2MQTT as install.sh sets it up: the real program, from its lock file, under its unit."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.conftest import skipped_if_missing
from tests.servers.appliance import REPOSITORY
from tests.servers.base import ServerError
from tests.servers.container import Container
from tests.servers.steps import take_steps

if TYPE_CHECKING:
    from collections.abc import Iterator

UNIT = "zigbee2mqtt.service"
DATA = "/var/lib/zigbee2mqtt"
DONGLE = "/dev/edge-energy-zigbee"
PAGE = 8080  # where Zigbee2MQTT would ask anybody for its first configuration
MOST_EXPOSED = 1.5


def test_the_lock_file_pins_everything_and_names_no_server() -> None:
    """Whoever serves the packages, they are those that were tested."""
    lock = (REPOSITORY / "zigbee2mqtt/package-lock.json").read_text()
    packages = {name: package for name, package in json.loads(lock)["packages"].items() if name}
    assert packages.keys() >= {"node_modules/zigbee2mqtt"}
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not any("resolved" in package for package in packages.values())
    node = (REPOSITORY / "zigbee2mqtt/node.txt").read_text()
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", node)) == 2  # arm64 and amd64


@pytest.fixture(scope="module")
def machine() -> Iterator[Container]:
    """Give a machine on which Zigbee2MQTT is installed, and has no dongle."""
    with contextlib.ExitStack() as stack:
        with skipped_if_missing():
            container = Container("bookworm")
        stack.enter_context(container)
        # What needs half a minute on a machine of its own needs less here.
        container.put(
            "/etc/systemd/system/zigbee2mqtt.service.d/test.conf",
            "[Service]\nRestartSec=1\nEnvironment=EVERY=1\nDeviceAllow=char-pts rw\n",
        )
        install(container)
        yield container


def install(machine: Container) -> str:
    steps = ("make_users", "setup_mosquitto", "setup_zigbee2mqtt")
    return take_steps(machine, *steps, MODE="hardware", WITH_ZIGBEE2MQTT="yes")


def log(machine: Container) -> str:
    return machine.run("journalctl", "--unit", UNIT, "--no-pager", "--output", "cat").stdout


def test_without_a_dongle_it_says_so_and_waits(machine: Container) -> None:
    """Once, and with what to do; nothing is started again and again meanwhile."""
    machine.wait(lambda: f"there is no {DONGLE}" in log(machine), what="a word about the dongle")
    assert log(machine).count("no Zigbee dongle") == 1
    assert machine.active(UNIT)
    assert machine.run("pgrep", "-c", "-u", "zigbee2mqtt", "node", check=False).stdout.strip() == "0"
    assert "NRestarts=0" in machine.run("systemctl", "show", "--property=NRestarts", UNIT).stdout


def test_its_files_are_not_its_own_but_its_data_are(machine: Container) -> None:
    """The program cannot be changed by itself; secrets are in files of 0600, and not in the unit."""
    foreign = machine.run(
        "find", "/opt/zigbee2mqtt", "(", "-not", "-user", "root", "-o", "-perm", "/022", ")", "-not", "-type", "l"
    )
    assert foreign.stdout == ""
    assert machine.run("stat", "-c", "%a %U", DATA).stdout == "700 zigbee2mqtt\n"
    password = machine.path("/etc/edge-energy/secrets/mqtt-zigbee2mqtt.password").read_text().strip()
    found = machine.run(
        "grep", "-rl", password, DATA, "/etc/systemd", "/opt/zigbee2mqtt/start.sh", check=False
    ).stdout
    assert found == f"{DATA}/edge-energy.yaml\n"
    assert machine.run("stat", "-c", "%a %U", f"{DATA}/edge-energy.yaml").stdout == "600 zigbee2mqtt\n"


def test_the_unit_is_sound_and_confined(machine: Container) -> None:
    """To systemd there is nothing to say about it, and its exposure is low."""
    assert machine.run("systemd-analyze", "verify", f"/etc/systemd/system/{UNIT}").stderr == ""
    report = machine.run("systemd-analyze", "security", "--no-pager", UNIT).stdout
    exposure = re.search(r"exposure level for \S+: ([0-9.]+)", report)
    assert exposure
    assert float(exposure[1]) <= MOST_EXPOSED


def test_a_second_run_changes_nothing(machine: Container) -> None:
    """Neither files nor the process."""
    process = machine.run("systemctl", "show", "--property=MainPID", UNIT).stdout
    said = install(machine)
    assert not re.search("wrote|made|install|restart", said)
    assert machine.run("systemctl", "show", "--property=MainPID", UNIT).stdout == process


def test_with_a_dongle_it_starts_and_goes_on_trying(machine: Container) -> None:
    """The real program takes our configuration, names what is no coordinator, and tries again. No page opens."""
    machine.run("mkfifo", DONGLE)
    machine.wait(lambda: "Starting zigbee-herdsman" in log(machine), 240, "the start")
    machine.wait(lambda: log(machine).count("Starting Zigbee2MQTT version") >= 3, 240, "further tries")
    assert "the Zigbee dongle is there" in log(machine)
    assert "configuration is not valid" not in log(machine)
    assert "No valid USB adapter found" in log(machine)
    assert not machine.run("ss", "-Hltn", f"sport = :{PAGE}").stdout
    machine.run("systemctl", "stop", UNIT)


def test_with_a_coordinator_it_is_online(machine: Container) -> None:
    """Our keys form the network, our user speaks at the broker; at its end the broker says that it is gone."""
    configuration = machine.path(f"{DATA}/configuration.yaml").read_text()
    with_adapter = configuration.replace(f"port: {DONGLE}", f"port: {DONGLE}\n  adapter: deconz")
    machine.put(f"{DATA}/configuration.yaml", with_adapter, 0o600)
    machine.run("rm", DONGLE)
    machine.put("/root/conbee.py", (REPOSITORY / "tests/servers/conbee.py").read_text())
    machine.run("systemd-run", "--unit=conbee", "python3", "/root/conbee.py", DONGLE)
    machine.run("systemctl", "start", UNIT)
    try:
        assert heard(machine, "zigbee2mqtt/bridge/state") == '{"state":"online"}'
    except ServerError as error:
        raise AssertionError(log(machine)) from error
    info = json.loads(heard(machine, "zigbee2mqtt/bridge/info"))
    assert info["network"]["pan_id"] == info["config"]["advanced"]["pan_id"]
    assert info["config"]["device_options"] == {"qos": 1}
    assert info["config"]["advanced"]["last_seen"] == "ISO_8601"
    assert not machine.run("ss", "-Hltn", f"sport = :{PAGE}").stdout
    machine.run("systemctl", "kill", "--signal=KILL", UNIT)
    machine.wait(lambda: heard(machine, "zigbee2mqtt/bridge/state") == '{"state":"offline"}', 120, "the last will")
    machine.run("systemctl", "stop", UNIT)


def heard(machine: Container, topic: str) -> str:
    """Return what is retained, or comes within two minutes, as the daemon's user hears it."""
    login = 'mosquitto_sub -u edge-energy -P "$(cat /etc/edge-energy/secrets/mqtt-edge-energy.password)"'
    return machine.run("sh", "-c", f"{login} -t {topic} -C 1 -W 120", timeout=150).stdout.strip()


def test_the_key_of_the_network_outlives_a_damaged_configuration(machine: Container) -> None:
    """Zigbee2MQTT writes its file in place: a power cut may leave it empty. install.sh does not touch it again."""
    written = machine.path(f"{DATA}/configuration.yaml").read_text()
    assert "GENERATE" not in written
    assert "network_key:" in written
    machine.put(f"{DATA}/configuration.yaml", "", 0o600)
    install(machine)
    machine.wait(lambda: machine.path(f"{DATA}/configuration.yaml").read_text() == written, 30, "the configuration")
    assert "is damaged" in log(machine)
    assert machine.run("stat", "-c", "%a %U", f"{DATA}/configuration.yaml").stdout.split()[1] in (
        "root",
        "zigbee2mqtt",
    )


def test_it_goes_away_and_keeps_its_data(machine: Container) -> None:
    """In simulation it only stops; not wanted at all, the program goes. Pairing everything again is never needed."""
    take_steps(machine, "remove_zigbee2mqtt", MODE="simulation", WITH_ZIGBEE2MQTT="yes")
    assert not machine.active(UNIT)
    assert machine.path("/opt/zigbee2mqtt/start.sh").exists()
    take_steps(machine, "remove_zigbee2mqtt", MODE="hardware", WITH_ZIGBEE2MQTT="no")
    assert not machine.path("/opt/zigbee2mqtt").exists()
    assert not machine.path(f"/etc/systemd/system/{UNIT}").exists()
    assert machine.path(f"{DATA}/configuration.yaml").exists()


def test_purging_takes_what_is_left_of_ours(machine: Container) -> None:
    """Also what an interrupted removal has left; the data, and the user that was made for it."""
    machine.put("/opt/.zigbee2mqtt.old/node_modules/half", "")
    take_steps(machine, "remove_zigbee2mqtt", "purge_zigbee2mqtt", MODE="hardware", WITH_ZIGBEE2MQTT="no")
    assert machine.run("sh", "-c", f"ls -d /opt/*zigbee2mqtt* /opt/.zigbee2mqtt* {DATA}", check=False).stdout == ""
    assert machine.run("id", "zigbee2mqtt", check=False).returncode


@pytest.mark.parametrize(
    ("place", "content"),
    [
        (f"/etc/systemd/system/{UNIT}", "[Service]\nExecStart=/usr/bin/npm start\nWorkingDirectory=/home/pi/z\n"),
        (f"{DATA}/configuration.yaml", "mqtt:\n  server: mqtt://localhost\n"),
        ("/opt/zigbee2mqtt/index.js", "their program"),
    ],
    ids=["unit", "data", "program"],
)
def test_that_of_another_is_refused_and_left_alone(machine: Container, place: str, content: str) -> None:
    """A unit, data or a program made by hand: the remedy is told, and neither removing nor purging touches them."""
    machine.put(place, content)
    with pytest.raises(ServerError, match="that was not installed by this") as stopped:
        take_steps(machine, "check_zigbee2mqtt", MODE="hardware", WITH_ZIGBEE2MQTT="yes")
    assert place.startswith(re.findall(r"not installed by this: (\S+)", str(stopped.value))[0])
    take_steps(
        machine, "remove_zigbee2mqtt", "purge_zigbee2mqtt", MODE="hardware", WITH_ZIGBEE2MQTT="no", ACTION="uninstall"
    )
    assert machine.path(place).read_text() == content
    machine.path(place).unlink()


def test_root_writes_nothing_where_that_user_lays_traps(machine: Container) -> None:
    """A link of the user's in its own directory does not give it a file of root's."""
    machine.put("/root/victim", "root's\n", 0o600)
    take_steps(machine, "_zigbee2mqtt_user", MODE="hardware")
    machine.run("mkdir", "-p", DATA)
    for name in ("configuration.yaml.new", ".configuration.yaml.new", "edge-energy.yaml"):
        machine.run("ln", "-s", "/root/victim", f"{DATA}/{name}")
    machine.run("chown", "-h", "-R", "zigbee2mqtt:", DATA)
    with pytest.raises(ServerError, match=r"configuration.yaml cannot be written"):
        take_steps(machine, "_zigbee2mqtt_data", MODE="hardware")
    assert machine.path("/root/victim").read_text() == "root's\n"
    assert machine.run("stat", "-c", "%a %U", "/root/victim").stdout == "600 root\n"
