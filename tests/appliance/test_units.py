"""What systemd, udev and shellcheck say of the files that install.sh puts in place; nothing is installed for it."""

from __future__ import annotations

import re
import subprocess
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.conftest import skipped_if_missing
from tests.servers import shellcheck
from tests.servers.appliance import REPOSITORY, sources
from tests.servers.base import require
from tests.servers.debian import RELEASES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.container import Container

UNITS = sorted((REPOSITORY / "systemd").glob("*.service"))
RULES = REPOSITORY / "systemd/60-edge-energy-zigbee.rules"
# The most that `systemd-analyze security` may say, in tenths: 15 is the promise. Devices and databases in the
# network, mDNS and asking for the state of the clock are what the daemon is for.
EXPOSURE = {"edge-energy": 15, "edge-energy-simulator": 10, "zigbee2mqtt": 15}


@pytest.fixture(scope="module", params=RELEASES)
def machine(request: pytest.FixtureRequest, module_container: Callable[..., Container]) -> Container:
    """Give a Debian with the units, and something to execute where they name a program."""
    booted = module_container(request.param, network=False)
    for unit in UNITS:
        text = unit.read_text()
        booted.put(f"/etc/systemd/system/{unit.name}", text)
        for program in re.findall(r"/opt/\S+", "\n".join(re.findall(r"^Exec.*(?:\\\n.*)*", text, re.MULTILINE))):
            booted.put(program, "#!/bin/sh\n", 0o755)
    if request.param != "bookworm":  # where systemd is too old for it, install.sh leaves it out
        put_drop_in(booted, "backoff")
    booted.run("systemctl", "daemon-reload")
    return booted


def put_drop_in(machine: Container, name: str) -> None:
    text = (REPOSITORY / "systemd" / f"{name}.conf").read_text()
    machine.put(f"/etc/systemd/system/edge-energy.service.d/{name}.conf", text)


def test_systemd_has_nothing_to_say_of_the_units(machine: Container) -> None:
    said = machine.run("systemd-analyze", "verify", *(unit.name for unit in UNITS), check=False)
    assert said.stdout + said.stderr == ""
    assert said.returncode == 0


@pytest.mark.parametrize("unit", [unit.stem for unit in UNITS])
def test_the_units_are_confined(machine: Container, unit: str) -> None:
    said = machine.run("systemd-analyze", "security", f"--threshold={EXPOSURE[unit]}", f"{unit}.service", check=False)
    assert said.returncode == 0, said.stdout


def test_the_daemon_waits_for_no_database(machine: Container) -> None:
    """InfluxDB may take a quarter of an hour to open its files; meanwhile the house is measured into the journal."""
    after = machine.run("systemctl", "show", "--property=After", "--value", "edge-energy.service").stdout.split()
    assert "mosquitto.service" in after
    assert "influxdb.service" not in after


def test_a_unit_s_drop_in_for_a_newer_systemd_is_noticed(machine: Container) -> None:
    """`verify` is silent because all is known, not because it does not look."""
    machine.put("/etc/systemd/system/edge-energy.service.d/unknown.conf", "[Service]\nNoSuchThing=yes\n")
    try:
        assert "NoSuchThing" in machine.run("systemd-analyze", "verify", "edge-energy.service", check=False).stderr
    finally:
        machine.path("/etc/systemd/system/edge-energy.service.d/unknown.conf").unlink()


def test_journald_knows_every_line_about_the_log(machine: Container) -> None:
    drop_in = "/etc/systemd/journald.conf.d/10-edge-energy.conf"
    machine.put(drop_in, (REPOSITORY / "systemd/journald.conf").read_text())
    machine.run("systemctl", "restart", "systemd-journald")
    machine.run("journalctl", "--sync")
    assert "edge-energy.conf" not in machine.run("journalctl", "--boot", "--no-pager", "--output=cat").stdout


def test_udev_has_nothing_to_say_of_the_rules(machine: Container) -> None:
    machine.put(f"/etc/udev/rules.d/{RULES.name}", RULES.read_text())
    if machine.debian == "bookworm":
        pytest.skip("udevadm verify came with systemd 254")
    machine.run("udevadm", "verify", "--no-summary", f"/etc/udev/rules.d/{RULES.name}")


class Dongle(NamedTuple):
    """What a device on the USB says of itself."""

    vendor: str
    number: str
    product: str


ZIGBEE = [
    Dongle("1cf1", "0030", "ConBee II"),
    Dongle("0403", "6015", "ConBee III"),
    Dongle("10c4", "ea60", "Sonoff Zigbee 3.0 USB Dongle Plus"),
    Dongle("1a86", "55d4", "SONOFF Zigbee 3.0 USB Dongle Plus V2"),
    Dongle("10c4", "ea60", "SONOFF Zigbee 3.0 USB Dongle Plus V2"),
    Dongle("10c4", "ea60", "SkyConnect v1.0"),
    Dongle("10c4", "ea60", "Home Assistant Connect ZBT-1"),
    Dongle("303a", "4001", "ZBT-2"),
    Dongle("10c4", "ea60", "SMLIGHT SLZB-06"),
    Dongle("10c4", "ea60", "SLZB-07"),
]
OTHERS = [
    Dongle("10c4", "ea60", "CP2102 USB to UART Bridge Controller"),  # a P1 meter's cable, an ESP32 board
    Dongle("0403", "6015", "FT230X Basic UART"),
    Dongle("1a86", "55d4", "USB Single Serial"),
    Dongle("10c4", "ea60", "SONOFF Z-Wave Dongle Plus"),
    Dongle("303a", "4001", "USB JTAG_serial debug unit"),
]


@pytest.mark.parametrize("dongle", ZIGBEE, ids=lambda dongle: dongle.product)
def test_a_zigbee_dongle_gets_its_name(dongle: Dongle) -> None:
    assert is_named(dongle)


@pytest.mark.parametrize("dongle", OTHERS, ids=lambda dongle: dongle.product)
def test_another_serial_converter_keeps_away_from_it(dongle: Dongle) -> None:
    assert not is_named(dongle)


def is_named(dongle: Dongle) -> bool:
    """Match the rules' lines as udev does: every condition of a line, each a choice of patterns."""
    attributes = {"idVendor": dongle.vendor, "idProduct": dongle.number, "product": dongle.product}
    for line in RULES.read_text().splitlines():
        conditions = re.findall(r'ATTRS\{(\w+)\}=="([^"]*)"', line)
        if conditions and all(_matches(attributes[name], patterns) for name, patterns in conditions):
            return 'GOTO="edge_energy_dongle"' in line
    return False


def _matches(value: str, patterns: str) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in patterns.split("|"))


def shell_files() -> list[Path]:
    files = sources(all_of_them=True)
    return [file for file in files if file.suffix in {".sh", ""} and _is_shell(REPOSITORY / file)]


def _is_shell(file: Path) -> bool:
    first = file.read_bytes().partition(b"\n")[0]
    return file.suffix == ".sh" or re.match(rb"#!.*\b(ba|da)?sh\b", first) is not None


def test_shellcheck_has_nothing_to_say() -> None:
    with skipped_if_missing():
        program = require(shellcheck)
    files = shell_files()
    assert any(file.name == "install.sh" for file in files)
    command: list[Any] = [program, "--external-sources", "--source-path=SCRIPTDIR", *files]
    said = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert said.stdout + said.stderr == ""
