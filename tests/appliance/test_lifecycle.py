"""An installed appliance is stopped, killed, frozen and cut off from its power: it recovers, and has lost nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.appliance.numbered import SENSOR, Numbered
from tests.servers.debian import RELEASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.container import Container

DAEMON = "edge-energy.service"
CONFIGURATION = "/etc/edge-energy/edge-energy.toml"
LEASE = 3
WATCHDOG = 15
CHARGING_POST = "shelly-ec6260515763"
CHARGING_POST_SAYS = "http://127.0.0.1:8001/rpc/Switch.GetStatus?id=0"
HEATER = f"""
[[shelly]]
host = "127.0.0.1"
port = 8001
[[relay]]
device = "{CHARGING_POST}"
safe_state = "off"
lease = "{LEASE}s"
"""
IMPATIENT = f"[Service]\nWatchdogSec={WATCHDOG}\nRestartSec=1\n"


class House:
    """An appliance with a load that must not stay on by itself, to which numbered measurements are sent."""

    def __init__(self, machine: Container) -> None:
        self.machine = machine
        with machine.path(CONFIGURATION).open("a") as file:
            file.write(SENSOR + HEATER)
        machine.put(f"/etc/systemd/system/{DAEMON}.d/impatient.conf", IMPATIENT)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "restart", DAEMON)
        self.numbered = Numbered(machine)

    @property
    def pid(self) -> int:
        """The daemon's process."""
        return int(self.machine.run("systemctl", "show", "--property=MainPID", "--value", DAEMON).stdout)

    def signal(self, name: str) -> None:
        """Send the daemon a signal."""
        self.machine.run("kill", f"-{name}", str(self.pid))

    def heat(self) -> None:
        """Switch the load on."""
        self.machine.wait(self._switched_on, what="the load is on")
        assert self.is_hot()

    def is_hot(self) -> bool:
        """Ask the device whether the load is on."""
        answer = json.loads(self.machine.run("curl", "--silent", "--fail", CHARGING_POST_SAYS).stdout)
        return bool(answer["output"])

    def wait_cold(self, within: float) -> None:
        """Wait until the load is in its safe state."""
        self.machine.wait(lambda: not self.is_hot(), within, "the load is in its safe state")

    def wait_restarted(self, old: int, within: float) -> None:
        """Wait until systemd has started another daemon."""
        self.machine.wait(lambda: self.pid not in {0, old}, within, "a new daemon")
        self.machine.wait_active(DAEMON)

    def is_well_and_has_lost_nothing(self) -> None:
        """Wait until both ways are acknowledged again, and everything acknowledged until then is in the journal."""
        numbered = self.numbered
        assert not numbered.complaints
        before = {way: numbered.newest(way) for way in ("mqtt", "http")}
        self.machine.wait(
            lambda: all(numbered.newest(way) > newest for way, newest in before.items()), what="both ways go on"
        )
        acknowledged = {way: set(numbers) for way, numbers in numbered.acknowledged.items()}
        self.machine.wait(lambda: not self.lost(acknowledged), 30, "all that was acknowledged is recorded")

    def lost(self, acknowledged: dict[str, set[int]]) -> set[int]:
        """Return which of these numbers are not in the journal."""
        recorded = self.numbered.recorded()
        return (acknowledged["mqtt"] - recorded["mqtt"]) | (acknowledged["http"] - recorded["http"])

    def log(self, *options: str) -> str:
        """Return what journald has of the unit."""
        return self.machine.run("journalctl", "--unit", DAEMON, "--no-pager", "--output=cat", *options).stdout

    def _switched_on(self) -> bool:
        return self.machine.run("edge-energy", "switch", CHARGING_POST, "on", check=False).returncode == 0


@pytest.fixture(scope="module", params=RELEASES)
def house(
    request: pytest.FixtureRequest,
    module_container: Callable[..., Container],
    installed: Callable[..., Path],
) -> Iterator[House]:
    house = House(module_container(request.param, on=installed(request.param), network=False))
    with house.numbered:
        yield house


def test_a_stop_makes_loads_safe_and_a_start_takes_what_the_broker_has_kept(house: House) -> None:
    house.heat()
    house.machine.run("systemctl", "stop", DAEMON)
    assert not house.is_hot()
    assert not house.machine.active(DAEMON)
    house.machine.run("systemctl", "start", DAEMON)
    house.is_well_and_has_lost_nothing()


def test_a_restart_loses_nothing(house: House) -> None:
    old = house.pid
    house.machine.run("systemctl", "restart", DAEMON)
    assert house.pid != old
    house.is_well_and_has_lost_nothing()


def test_a_reload_takes_the_new_configuration_in_the_same_process(house: House) -> None:
    old, file = house.pid, house.machine.path(CONFIGURATION)
    file.write_text(file.read_text().replace('#log_level = "info"', 'log_level = "debug"'))
    house.machine.run("systemctl", "reload", DAEMON)
    house.machine.wait(lambda: '"why": "configuration changed"' in house.log(), what="the new configuration counts")
    house.is_well_and_has_lost_nothing()
    assert house.pid == old


def test_a_reload_of_a_wrong_configuration_says_so_and_changes_nothing(house: House) -> None:
    old, file = house.pid, house.machine.path(CONFIGURATION)
    right = file.read_text()
    try:
        file.write_text(right + "wrong\n")
        assert house.machine.run("systemctl", "reload", DAEMON, check=False).returncode != 0
        assert "not valid TOML" in house.log("--priority=warning")
        house.is_well_and_has_lost_nothing()
        assert house.pid == old
    finally:
        file.write_text(right)


def test_after_a_kill_it_comes_back_and_loads_are_safe(house: House) -> None:
    house.heat()
    old = house.pid
    house.signal("KILL")
    house.wait_cold(within=LEASE + 6)
    house.wait_restarted(old, within=30)
    house.is_well_and_has_lost_nothing()


def test_while_it_hangs_loads_become_safe_and_the_watchdog_starts_it_again(house: House) -> None:
    house.heat()
    old = house.pid
    house.signal("STOP")
    house.wait_cold(within=LEASE + 6)
    assert house.pid == old  # nobody has helped
    house.wait_restarted(old, within=WATCHDOG + 20)
    log = house.log()
    assert "Watchdog timeout" in log
    assert "Fatal Python error: Aborted" in log  # and where every thread was
    house.is_well_and_has_lost_nothing()


def test_a_reboot_loses_nothing(house: House) -> None:
    house.machine.reboot()
    house.numbered.stop()
    house.machine.wait_active(DAEMON)
    house.numbered.start()
    house.is_well_and_has_lost_nothing()


def test_a_power_cut_loses_nothing_that_the_daemon_has_acknowledged(house: House) -> None:
    """What mosquitto had not yet handed over goes with its memory: it writes that every few minutes."""
    before = house.numbered.recorded()
    house.machine.kill()
    house.numbered.stop()
    acknowledged = {"mqtt": before["mqtt"], "http": set(house.numbered.acknowledged["http"])}
    house.numbered.acknowledged["mqtt"] = before["mqtt"]
    house.machine.start_again()
    house.machine.wait_active(DAEMON)
    assert not house.lost(acknowledged)
    house.numbered.start()
    house.is_well_and_has_lost_nothing()


def test_an_invalid_configuration_ends_it_for_good_with_the_reason_in_the_log(house: House) -> None:
    file = house.machine.path(CONFIGURATION)
    right = file.read_text()
    try:
        file.write_text(right.replace("port = 8000", "port = 0"))
        assert house.machine.run("systemctl", "restart", DAEMON, check=False).returncode != 0
        shown = house.machine.run("systemctl", "show", "--property=ExecMainStatus,NRestarts,SubState", DAEMON).stdout
        assert sorted(shown.split()) == ["ExecMainStatus=78", "NRestarts=0", "SubState=failed"]
        assert CONFIGURATION in house.log("--priority=warning", "--lines=5")
    finally:
        file.write_text(right)
    house.machine.run("systemctl", "restart", DAEMON)
    house.is_well_and_has_lost_nothing()
