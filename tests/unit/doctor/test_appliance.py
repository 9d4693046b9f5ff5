"""The daemon, its units, its release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edge_energy import __version__
from edge_energy.doctor import appliance, clock
from edge_energy.doctor.case import Case
from edge_energy.doctor.finding import Verdict
from tests.unit.doctor.tree import case, machine

if TYPE_CHECKING:
    from pathlib import Path

SYSTEMD = {"/run/systemd/system/x": ""}
RUNNING = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "NRestarts": "0",
    "WatchdogUSec": "30s",
    "MemoryCurrent": str(80 << 20),
    "MemoryMax": str(400 << 20),
}


@pytest.mark.parametrize(
    ("change", "verdict", "words"),
    [
        ({}, Verdict.OK, "80.0 MiB of memory of at most 400.0 MiB"),
        ({"MemoryCurrent": "[not set]", "MemoryMax": "infinity"}, Verdict.OK, "active, 0 restarts"),
        ({"NRestarts": "4"}, Verdict.WARNING, "4 times"),
        ({"WatchdogUSec": "0"}, Verdict.WARNING, "no watchdog"),
        ({"ActiveState": "failed", "Result": "watchdog"}, Verdict.FAILURE, "result watchdog"),
        ({"ActiveState": "failed", "ExecMainStatus": "78"}, Verdict.FAILURE, "the configuration is invalid"),
        ({"LoadState": "not-found"}, Verdict.NOT_APPLICABLE, ""),
    ],
)
def test_how_systemd_sees_the_daemon(tmp_path: Path, change: dict[str, str], verdict: Verdict, words: str) -> None:
    shown = "".join(f"{name}={value}\n" for name, value in (RUNNING | change).items())
    known = case(machine(tmp_path, SYSTEMD, {"systemctl show": shown}))
    found = appliance.service(known, appliance.DAEMON_UNIT)
    assert found.verdict is verdict
    assert words in f"{found.found} {found.cause}"


def test_a_unit_that_is_not_enabled_need_not_run(tmp_path: Path) -> None:
    shown = "LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n"
    known = case(machine(tmp_path, SYSTEMD, {"systemctl show": shown}))
    assert appliance.service(known, "zigbee2mqtt.service").verdict is Verdict.NOT_APPLICABLE
    assert appliance.service(known, appliance.DAEMON_UNIT).verdict is Verdict.FAILURE


def test_releases(tmp_path: Path) -> None:
    known = case(machine(tmp_path, {"/opt/edge-energy/releases/1.2.0+abcdef01/x": ""}))
    assert appliance.release(known).verdict is Verdict.NOT_APPLICABLE
    (tmp_path / "opt/edge-energy/current").symlink_to("releases/1.2.0+abcdef01")
    assert appliance.release(known).found == "1.2.0+abcdef01, none before it"
    (tmp_path / "opt/edge-energy/previous").symlink_to("releases/1.1.0+00000000")
    assert appliance.release(known).found == "1.2.0+abcdef01, 1.1.0+00000000 before it"
    (tmp_path / "opt/edge-energy/releases/1.2.0+abcdef01").rename(tmp_path / "elsewhere")
    assert appliance.release(known).verdict is Verdict.FAILURE


def running(**change: Any) -> dict[str, Any]:
    return {"version": __version__, "up_seconds": 60.0, "devices": 3, "clock_trusted": True} | change


def test_the_daemon_of_another_release_or_with_a_defect(tmp_path: Path) -> None:
    here = machine(tmp_path)
    assert appliance.daemon(case(here, status=running())).verdict is Verdict.OK
    old = appliance.daemon(case(here, status=running(version="0.0.1")))
    assert (old.verdict, "restart edge-energy" in old.remedy) == (Verdict.WARNING, True)
    broken = appliance.daemon(case(here, status=running(defects={"influxdb": "TypeError: x"})))
    assert (broken.verdict, "influxdb: TypeError: x" in broken.cause) == (Verdict.WARNING, True)
    assert appliance.daemon(case(here, silence="You may not use it")).verdict is Verdict.NOT_PERMITTED


def test_parts_that_are_not_connected_say_why() -> None:
    part = {"name": "influxdb", "connected": False, "unavailable_seconds": 90.0, "last_error": "it refuses the token"}
    found = appliance.component(part)
    assert (found.verdict, found.cause) == (Verdict.FAILURE, "it refuses the token")
    assert "NOT CONNECTED for 1 min 30 s" in found.found
    assert appliance.component(part | {"connected": True}).verdict is Verdict.OK


def test_a_journal_that_lost_something() -> None:
    journal = {"bytes": 1, "budget_bytes": 2, "full": False, "dropped_ever": 0, "recovered": None}

    def look(**change: Any) -> Verdict:
        return appliance.journal({"journal": journal | change}).verdict

    assert look() is Verdict.OK
    assert look(dropped_ever=5) is Verdict.WARNING
    assert look(recovered="a damaged file") is Verdict.WARNING
    assert look(full=True) is Verdict.FAILURE


def test_a_configuration_that_may_not_be_read_is_not_invalid(tmp_path: Path) -> None:
    here = machine(tmp_path)
    hidden = Case(here, tmp_path / "x", problems=("x: cannot be read: Permission denied",))
    assert appliance.configuration(hidden).verdict is Verdict.NOT_PERMITTED
    assert appliance.configuration(Case(here, tmp_path / "x", problems=("x: nonsense",))).verdict is Verdict.FAILURE


@pytest.mark.parametrize(
    ("shown", "trusted", "verdict"),
    [
        ("NTP=yes\nNTPSynchronized=yes\n", True, Verdict.OK),
        ("NTP=yes\nNTPSynchronized=no\n", True, Verdict.WARNING),
        ("NTP=no\nNTPSynchronized=no\n", None, Verdict.WARNING),
        ("NTP=yes\nNTPSynchronized=no\n", False, Verdict.FAILURE),
        ("NTP=yes\nNTPSynchronized=yes\n", False, Verdict.FAILURE),
    ],
)
def test_the_clock_as_systemd_and_as_the_daemon_see_it(
    tmp_path: Path,
    shown: str,
    trusted: bool | None,  # noqa: FBT001 - what the daemon says
    verdict: Verdict,
) -> None:
    status = None if trusted is None else running(clock_trusted=trusted)
    found = clock.synchronised(case(machine(tmp_path, SYSTEMD, {"timedatectl show": shown}), status=status))
    assert found.verdict is verdict
    assert ("set-ntp true" in found.remedy) is (shown.startswith("NTP=no"))


def test_schedules_by_universal_time_are_worth_a_warning(tmp_path: Path) -> None:
    relay = "shelly-ec62608ab9a4"
    plan = f'[[relay]]\ndevice = "{relay}"\nsafe_state = "off"\n'
    plan += f'[[schedule]]\nrelay = "{relay}"\nstart = "22:00"\nend = "06:00"\n'
    zones = ('[appliance]\ntimezone = "UTC"\n', '[appliance]\ntimezone = "Europe/Paris"\n')
    found = [clock.timezone(case(machine(tmp_path), zone + plan)).verdict for zone in zones]
    assert found == [Verdict.WARNING, Verdict.OK]


def test_little_memory(tmp_path: Path) -> None:
    def look(available: int) -> Verdict:
        text = f"MemTotal: 1000 kB\nMemFree: 7 kB\nMemAvailable: {available} kB\n"
        return appliance.memory(case(machine(tmp_path, {"/proc/meminfo": text}))).verdict

    assert (look(500), look(50)) == (Verdict.OK, Verdict.WARNING)
