"""The dongle, and what Zigbee2MQTT says of its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edge_energy.doctor import zigbee
from edge_energy.doctor.finding import Verdict
from edge_energy.doctor.machine import Machine
from tests.unit.doctor.tree import holds, machine, process

if TYPE_CHECKING:
    from pathlib import Path

WANTED = {"systemctl show zigbee2mqtt.service": "LoadState=loaded\nActiveState=failed\nUnitFileState=enabled\n"}
SYSTEMD = {"/run/systemd/system/x": ""}
GROUP = "dialout:x:20:pi,zigbee2mqtt\n"


def plugged(root: Path, files: dict[str, str] | None = None, mode: int = 0o660) -> Machine:
    """Return a machine with a dongle under our name."""
    here = machine(root, {"/dev/ttyACM0": "", "/etc/group": GROUP} | (files or {}))
    (root / "dev/ttyACM0").chmod(mode)
    (root / "dev/edge-energy-zigbee").symlink_to(root / "dev/ttyACM0")
    return here


def test_no_dongle_is_wrong_only_where_one_is_wanted(tmp_path: Path) -> None:
    assert zigbee.dongle(machine(tmp_path / "a")).verdict is Verdict.NOT_APPLICABLE
    found = zigbee.dongle(machine(tmp_path / "b", SYSTEMD, WANTED))
    assert (found.verdict, "plug it in" in found.remedy) == (Verdict.FAILURE, True)
    unknown = SYSTEMD | {"/dev/serial/by-id/usb-Acme_Stick-if00": "", zigbee.OWN_SETTINGS: "serial:\n  port: x\n"}
    unknown[zigbee.OWN_SETTINGS] = f"serial:\n  port: {zigbee.DONGLE}\n"
    found = zigbee.dongle(machine(tmp_path / "c", unknown, WANTED))
    assert (found.verdict, "usb-Acme_Stick-if00" in found.remedy) == (Verdict.FAILURE, True)


def test_a_dongle_in_the_network_is_none_of_ours(tmp_path: Path) -> None:
    files = SYSTEMD | {zigbee.OWN_SETTINGS: "version: 5\nserial:\n  port: 'tcp://10.0.0.7:6638'\n"}
    found = zigbee.dongle(machine(tmp_path, files, WANTED))
    assert (found.verdict, found.found) == (Verdict.OK, "Zigbee2MQTT uses tcp://10.0.0.7:6638")


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("frontend:\n  enabled: true\n  port: 8080\nserial:\n  port: /dev/x\n", "/dev/x"),
        ("serial:\n  adapter: ember\n\n  # port: /dev/old\n  port: '/dev/x'\nfrontend:\n  port: 8080\n", "/dev/x"),
        ("serial: {adapter: ember, port: 'tcp://10.0.0.7:6638'}\n", "tcp://10.0.0.7:6638"),
        ("serial:\n  adapter: ember\nfrontend:\n  port: 8080\n", zigbee.DONGLE),
        ("mqtt:\n  serial:\n    port: 1\n", zigbee.DONGLE),
        ("", zigbee.DONGLE),
    ],
)
def test_the_port_is_the_one_of_the_dongle(text: str, port: str) -> None:
    """Other parts of the configuration have ports, too."""
    assert zigbee.serial_port(text) == port


@pytest.mark.parametrize(
    ("port", "there", "verdict", "words"),
    [
        ("/dev/serial/by-id/usb-Acme", True, Verdict.OK, "uses /dev/serial/by-id/usb-Acme"),
        ("/dev/serial/by-id/usb-Acme", False, Verdict.FAILURE, "/dev/serial/by-id/usb-Acme is not there"),
        ("mdns://slzb-06", False, Verdict.OK, "uses mdns://slzb-06"),
        ("/dev/ttyUSB0", False, Verdict.FAILURE, f"{zigbee.DONGLE} is not there"),
    ],
)
def test_a_dongle_of_another_name(
    tmp_path: Path,
    port: str,
    there: bool,  # noqa: FBT001 - whether it is plugged in
    verdict: Verdict,
    words: str,
) -> None:
    """It has to be there, unless it is in the network; the kernel's names stand for ours, as at each start."""
    files = SYSTEMD | {zigbee.OWN_SETTINGS: f"frontend:\n  port: 8080\nserial:\n  port: {port}\n"}
    found = zigbee.dongle(machine(tmp_path, files | ({port: ""} if there else {}), WANTED))
    assert found.verdict is verdict
    assert words in found.found


def test_two_programs_at_one_dongle(tmp_path: Path) -> None:
    node = process(7, "node", "node /opt/zigbee2mqtt/index.js")
    here = plugged(tmp_path, node | process(8, "python", "python -m edge_energy run"))
    device = str(here.path("/dev/ttyACM0").resolve())
    holds(tmp_path, 7, device)
    found = zigbee.dongle(here)
    assert (found.verdict, "Zigbee2MQTT (process 7)" in found.found) == (Verdict.OK, True)
    holds(tmp_path, 8, device)
    found = zigbee.dongle(Machine(tmp_path))
    assert found.verdict is Verdict.FAILURE
    assert "two programs" in found.cause


def test_a_dongle_that_may_not_be_used(tmp_path: Path) -> None:
    assert zigbee.dongle(plugged(tmp_path / "a")).verdict is Verdict.OK
    found = zigbee.dongle(plugged(tmp_path / "b", mode=0o600))
    assert (found.verdict, "0600" in found.cause) == (Verdict.FAILURE, True)
    found = zigbee.dongle(plugged(tmp_path / "c", {"/etc/group": "dialout:x:20:pi\n"}))
    assert (found.verdict, "usermod -aG dialout" in found.remedy) == (Verdict.WARNING, True)


@pytest.mark.parametrize(
    ("qos", "advanced", "wrong"),
    [
        (1, {"last_seen": "ISO_8601", "cache_state": False}, 0),
        (0, {"last_seen": "ISO_8601", "cache_state": False}, 1),
        (None, {"last_seen": "disable"}, 3),
        (1, {"last_seen": "epoch", "cache_state": True}, 1),
    ],
)
def test_settings_that_cost_readings(qos: int | None, advanced: dict[str, Any], wrong: int) -> None:
    found = {key: advanced.get(key) for key in ("last_seen", "cache_state")}
    assert len(list(zigbee._wrong(qos, found))) == wrong


def test_states_of_new_and_old_versions() -> None:
    for payload, state in (
        (b'{"state":"online"}', "online"),
        (b"offline", "offline"),
        (b'{"other":1}', "None"),
        (b"[1]", "[1]"),
        (b"\xff", "\ufffd"),
    ):
        assert zigbee._state(payload) == state
