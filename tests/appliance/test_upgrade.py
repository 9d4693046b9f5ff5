"""Another release comes and goes: nothing acknowledged is lost, and one that does not work is gone by itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.appliance.numbered import SENSOR, Numbered
from tests.appliance.state import CONFIGURATION, DAEMON, INSTALL, SIMULATOR, files, release, status
from tests.servers.appliance import CHECKOUT

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.servers.container import Container

STATE = "/var/lib/edge-energy"
OPERATORS = "/etc/mosquitto/conf.d/mine.conf"
UNIT = f"/etc/systemd/system/{DAEMON}"
LONG = bool(os.environ.get("LONG_TESTS"))
IMPATIENT = {"HEALTHY_WITHIN": "20"}
"""For releases that never become healthy: nobody waits a minute for them.

The release that comes back has no more time than they.
"""
CRASHES = ("app/__init__.py", "\n\ndef main(*_):\n    raise RuntimeError('broken on purpose')\n")
NEVER_READY = ("heartbeat.py", "\n\ndef notify(message):\n    pass\n")
DEFECTIVE = (
    "sources/mqtt/source.py",
    "\n\nasync def _run(_):\n    raise KeyError('broken')\n\n\nMqttSource.run = _run\n",
)
OTHER_SCHEMA = ("journal/store.py", "\n\nSCHEMA += 1\n")
NO_START = ("app/appliance.py", "\n\nasync def _shared(*_):\n    raise RuntimeError('broken on purpose')\n")

# Makes the release of the changed checkout out of the current one, as installing it anew would, in a moment.
CLONE = f"""
set -e
release=$({INSTALL} --dry-run | sed -n 's/^would make the release //p')
cp -a "$(readlink -f /opt/edge-energy/current)" "$release"
rm -rf "$release"/.healthy "$release"/share
cp -a {CHECKOUT} "$release"/share
cp -a {CHECKOUT}/edge_energy/. "$release"/lib/python3*/site-packages/edge_energy/
grep -lI '^#!/opt/' "$release"/bin/* | xargs sed -i "1s|^#!.*|#!$release/bin/python|"
"""


class Machine:
    """An appliance to which numbered measurements are sent all the time, and a checkout of another release."""

    def __init__(self, machine: Container) -> None:
        self.machine = machine
        machine.run(INSTALL)  # without a network it has other addresses, for which the broker gets a certificate
        with machine.path(CONFIGURATION).open("a") as configuration:
            configuration.write(SENSOR)
        machine.run("systemctl", "restart", DAEMON)
        self._pristine = {name: machine.path(f"{CHECKOUT}/{name}").read_text() for name in self._changed()}
        self.numbered = Numbered(machine)

    @staticmethod
    def _changed() -> set[str]:
        parts = {name for name, _ in (CRASHES, NEVER_READY, DEFECTIVE, OTHER_SCHEMA, NO_START)}
        return {
            "edge_energy/__init__.py",
            f"systemd/{DAEMON}",
            "config/edge-energy.toml",
            *(f"edge_energy/{part}" for part in parts),
        }

    def checkout(self, version: str, *changes: tuple[str, str]) -> None:
        """Turn the checkout into another release: with these texts added, a unit file and a setting of its own."""
        for name, text in self._pristine.items():
            self.machine.put(f"{CHECKOUT}/{name}", text)
        self.machine.put(f"{CHECKOUT}/edge_energy/__init__.py", f'"""The daemon."""\n\n__version__ = "{version}"\n')
        self.add(f"systemd/{DAEMON}", f"# of release {version}\n")
        for part, text in changes:
            self.add(f"edge_energy/{part}", text)

    def add(self, name: str, text: str) -> None:
        """Put a text at the end of one of its files."""
        with self.machine.path(f"{CHECKOUT}/{name}").open("a") as file:
            file.write(text)

    def install(self, *options: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run install.sh; what it may need of other servers is there already."""
        if not options:
            self.machine.run("bash", "-c", CLONE)
        return self.machine.run(INSTALL, *options, check=False, timeout=300, env=env)

    def unit_is_of(self, version: str) -> bool:
        """Whether the unit file in force came with this release."""
        return f"# of release {version}\n" in self.machine.path(UNIT).read_text()

    def has_lost_nothing(self) -> None:
        """Wait until both ways are acknowledged again, and all that ever was is in the journal."""
        numbered = self.numbered
        before = {way: numbered.newest(way) for way in ("mqtt", "http")}
        on = "both ways go on"
        self.machine.wait(lambda: all(numbered.newest(way) > newest for way, newest in before.items()), what=on)
        acknowledged = {way: set(numbers) for way, numbers in numbered.acknowledged.items()}
        self.machine.wait(lambda: not self._lost(acknowledged), 30, "all that was acknowledged is recorded")

    def _lost(self, acknowledged: dict[str, set[int]]) -> set[int]:
        recorded = self.numbered.recorded()
        return {number for way, numbers in acknowledged.items() for number in numbers - recorded[way]}


@pytest.fixture(scope="module")
def upgraded(
    installed: Callable[..., Path], module_container: Callable[..., Container]
) -> Iterator[tuple[Machine, str, str]]:
    """Give an appliance that was upgraded, the release before, and what install.sh said."""
    container = module_container("bookworm", on=installed("bookworm"), network=False)
    machine = Machine(container)
    with machine.numbered:
        old = release(container)
        machine.checkout("8.0.0")
        machine.add("config/edge-energy.toml", '\n#[http]\n#colour = "blue"\n')
        said = machine.install()
        assert said.returncode == 0, said.stdout + said.stderr
        yield machine, old, said.stdout
        container.kill()  # what sends ends with it


def test_an_upgrade_keeps_what_was(upgraded: tuple[Machine, str, str]) -> None:
    """The configuration stays and new settings are told; the release before is kept; nothing is lost."""
    machine, old, said = upgraded
    assert "[http] colour" in said
    assert "colour" not in machine.machine.path(CONFIGURATION).read_text()
    assert status(machine.machine)["version"] == "8.0.0"
    assert machine.unit_is_of("8.0.0")
    assert release(machine.machine, "previous") == old
    machine.has_lost_nothing()


def test_back_by_hand_and_forth(upgraded: tuple[Machine, str, str]) -> None:
    """--rollback is the release before, with its unit; another one is the newer again.

    What else an installation would complain of does not keep the daemon from it.
    """
    machine, old, _ = upgraded
    new = release(machine.machine)
    machine.machine.put(OPERATORS, "max_queued_messages 5000\n")
    ran = machine.install("--rollback")
    machine.machine.path(OPERATORS).unlink()
    assert ran.returncode == 0, ran.stderr
    assert (release(machine.machine), release(machine.machine, "previous")) == (old, new)
    assert not machine.unit_is_of("8.0.0")
    assert machine.install("--rollback").returncode == 0
    assert (release(machine.machine), release(machine.machine, "previous")) == (new, old)
    assert machine.unit_is_of("8.0.0")
    machine.has_lost_nothing()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param([CRASHES], "does not start", marks=pytest.mark.skipif(not LONG, reason="slow: LONG_TESTS=1")),
        ([NEVER_READY], "does not start"),
        ([DEFECTIVE], "a defect"),
        ([OTHER_SCHEMA, NO_START], "does not start"),
    ],
    ids=["crashes", "never-ready", "defective", "other-schema"],
)
def test_a_release_that_does_not_work_is_undone(
    changes: list[tuple[str, str]], reason: str, upgraded: tuple[Machine, str, str]
) -> None:
    """The release before runs again with its unit file and its journal; the failed one is gone; it says why."""
    machine, _, _ = upgraded
    before = {name: release(machine.machine, name) for name in ("current", "previous")}
    machine.checkout("9.0.0", *changes)
    if OTHER_SCHEMA in changes:
        migration = f"{CHECKOUT}/edge_energy/journal/migrations/0002.sql"
        machine.machine.put(migration, "CREATE TABLE future (x);\n")
    ran = machine.install(env=IMPATIENT)
    assert ran.returncode == 1, ran.stdout
    assert reason in ran.stderr
    assert "runs as before" in ran.stderr
    assert {name: release(machine.machine, name) for name in before} == before
    assert status(machine.machine)["version"] == "8.0.0"
    assert not machine.unit_is_of("9.0.0")
    assert len(machine.machine.run("ls", "/opt/edge-energy/releases").stdout.split()) == 2
    kept = machine.machine.run("ls", STATE).stdout.split()
    assert ("journal.db.schema-2" in kept) == (OTHER_SCHEMA in changes)
    machine.has_lost_nothing()


def test_a_release_that_cannot_start_any_more_is_replaced(upgraded: tuple[Machine, str, str]) -> None:
    """As after an upgrade of Debian: there is another Python, and the one of the release is gone."""
    machine, _, _ = upgraded
    broken = release(machine.machine)
    machine.checkout("10.0.0")
    machine.machine.run("bash", "-c", CLONE)
    machine.machine.run("sh", "-c", f"mv {broken}/lib/python3.* {broken}/gone")
    ran = machine.install("--upgrade")
    assert ran.returncode == 0, ran.stderr
    assert status(machine.machine)["version"] == "10.0.0"
    assert release(machine.machine, "previous") == broken
    machine.has_lost_nothing()


def test_uninstalling_leaves_the_data_and_purging_nothing(
    container: Callable[..., Container], installed: Callable[..., Path]
) -> None:
    """Journal, configuration and secrets outlive the programs; after --purge no file, user or group is ours."""
    machine = container("trixie", on=installed("trixie"), network=False)
    machine.run("useradd", "pi")
    machine.run(INSTALL, env={"SUDO_USER": "pi"})
    assert "edge-energy" in machine.run("id", "-nG", "pi").stdout
    machine.run("systemctl", "stop", DAEMON, SIMULATOR)
    data = "find /etc/edge-energy /etc/credstore /var/lib/edge-energy -type f | sort | xargs sha256sum"
    before = machine.run("sh", "-c", data).stdout
    machine.run(INSTALL, "--uninstall")
    assert machine.run("sh", "-c", data).stdout == before
    assert not any("/opt/" in path or "/systemd/" in path for path in files(machine) if "edge-energy" in path)
    assert machine.run("systemctl", "cat", DAEMON, check=False).returncode != 0
    assert machine.run("mosquitto_pub", "-t", "a", "-m", "b").returncode == 0, (
        "Debian's own mosquitto runs as it comes"
    )
    machine.run(INSTALL, "--uninstall", "--purge", "--yes")
    ours = r"find / -xdev \( -name '*edge-energy*' -o -name '*edge_energy*' \) ! -path '/root/*' ! -path '/proc/*'"
    assert machine.run("sh", "-c", ours, check=False).stdout == ""
    assert machine.run("sh", "-c", "grep edge /etc/passwd /etc/group", check=False).stdout == ""
    machine.run(INSTALL, "--uninstall", "--purge", "--yes")
