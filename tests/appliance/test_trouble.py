"""What goes wrong with an installation: it stops at once, names the step and says what to do; what runs, runs on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.appliance.state import BROKER, CONFIGURATION, DAEMON, INSTALL, files, pids, release
from tests.servers.appliance import copy_repository
from tests.servers.base import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.container import Container

STEP_TAKES = {"release": 4.0, "mosquitto": 1.0, "starting": 1.5}
"""Seconds into a step at which it is killed, beside its very beginning: in pip, in apt, while the daemon starts."""
AWAY = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}


@pytest.fixture(scope="module")
def bare(module_container: Callable[..., Container]) -> Container:
    """Give a Debian without a network, and the program's checkout on it."""
    machine = module_container("bookworm", network=False)
    copy_repository(machine)
    return machine


@pytest.fixture(scope="module")
def running(installed: Callable[..., Path], module_container: Callable[..., Container]) -> Container:
    """Give an appliance that has lost its network."""
    machine = module_container("trixie", on=installed("trixie"), network=False)
    machine.wait_active(DAEMON)
    return machine


def complaint(machine: Container, *options: str, env: dict[str, str] | None = None, at: str = "/root") -> str:
    ran = machine.run("env", f"--chdir={at}", INSTALL, *options, check=False, timeout=200, env=env)
    assert ran.returncode == 1, ran.stdout
    for part in ("Step:", "Happened:", "What to do:"):
        assert part in ran.stderr
    return ran.stderr


def test_no_network(bare: Container) -> None:
    """Names do not resolve: the step that needs them says so. Where it is started, nobody's programs are root's."""
    bare.put("/srv/venv.py", "open('/srv/taken', 'w')\n")
    said = complaint(bare, at="/srv")
    assert not bare.path("/srv/taken").exists()
    assert "release\n" in said
    assert "The Python package server cannot be reached" in said


def test_the_package_server_is_away(bare: Container) -> None:
    said = complaint(bare, env=AWAY)
    assert "The Python package server cannot be reached" in said
    assert release(bare) == ""


def test_a_server_that_cannot_listen(running: Container) -> None:
    """A daemon that nobody can reach over HTTP is not what was wanted, though all else of it works."""
    file = running.path(CONFIGURATION)
    valid = file.read_text()
    file.write_text(valid.replace("\nport = 8000\n", "\nport = 80\n"))
    running.run("touch", "/etc/edge-energy/.unfinished")  # so that it is started again
    said = complaint(running, env={"HEALTHY_WITHIN": "20"})
    file.write_text(valid)
    running.run("systemctl", "restart", DAEMON)
    assert "[http] port = 80: the daemon may not listen on it" in said


def test_debians_package_server_is_away(running: Container) -> None:
    """The broker is gone and cannot be had again; the daemon does its work without."""
    daemon = pids(running)[DAEMON]
    running.run("dpkg", "--remove", "--force-depends", "mosquitto")
    said = complaint(running)
    assert "mosquitto\n" in said
    assert "The package server cannot be reached" in said
    assert pids(running)[DAEMON] == daemon


def test_no_space(bare: Container) -> None:
    bare.run("mkdir", "-p", "/opt")
    bare.run("mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", "/opt")
    try:
        said = complaint(bare)
    finally:
        bare.run("umount", "/opt")
    assert "60 MB are free, 350 MB are needed" in said
    assert "df -h" in said


def test_a_file_that_does_not_fit(running: Container) -> None:
    """The disk is full in the middle of it: nothing half is left."""
    running.run("mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", "/etc/edge-energy")
    try:
        said = complaint(running)
        written = running.run("find", "/etc/edge-energy", "-name", "edge-energy.toml").stdout
    finally:
        running.run("umount", "/etc/edge-energy")
    assert f"{CONFIGURATION} cannot be written" in said
    assert "No space left" in said
    assert written == ""


def test_the_port_is_taken(bare: Container) -> None:
    """By whom, and how to take another one."""
    server = bare.start("python3", "-m", "http.server", "8000")
    try:
        bare.wait(lambda: bare.run("ss", "-Hltn", "sport = :8000").stdout, what="the port is taken")
        said = complaint(bare)
        other = bare.run(INSTALL, "--dry-run", "--port", "8080")
    finally:
        server.kill()
        server.communicate()
    assert "port 8000 is in use by python3 (process" in said
    assert "--port 8080" in said
    assert other.returncode == 0


def test_a_broken_configuration(running: Container) -> None:
    """File, key and expectation; nothing that runs is touched, and once it is corrected, all is well."""
    file = running.path(CONFIGURATION)
    valid = file.read_text()
    before, processes = files(running), pids(running)
    file.write_text(valid.replace("\n[journal]\n", '\n[journal]\nmax_size = "banana"\n'))
    said = complaint(running)
    assert "max_size" in said
    assert "Correct /etc/edge-energy/edge-energy.toml" in said
    file.write_text(valid)
    after = files(running)
    assert {path for path in before if after.get(path) != before[path]} == set()
    assert pids(running)[DAEMON] == processes[DAEMON]


def test_without_root(bare: Container) -> None:
    bare.run("chmod", "a+rx", "/root")
    for option in ("--upgrade", "--dry-run"):
        ran = bare.run("runuser", "-u", "nobody", "--", INSTALL, option, check=False)
        assert ran.returncode == 1
        assert "sudo" in ran.stderr
    assert bare.run("runuser", "-u", "nobody", "--", INSTALL, "--help").returncode == 0


def test_two_at_once(bare: Container) -> None:
    """The second one does nothing."""
    ran = bare.run("flock", "/run/edge-energy-install.lock", INSTALL, check=False)
    assert ran.returncode == 1
    assert "another installation is running" in ran.stderr


def test_no_release_to_go_back_to(bare: Container) -> None:
    assert "no release before" in complaint(bare, "--rollback")


def test_killed_at_every_step_it_ends_as_if_it_had_not_been(
    container: Callable[..., Container], installed: Callable[..., Path]
) -> None:
    """SIGKILL at the beginning of each step and in the middle of long ones; then the same files as after one run."""
    clean = installed("bookworm")
    machine = container("bookworm")
    machine.put("/etc/machine-id", (clean / "etc/machine-id").read_text(), 0o444)  # the appliance's id is made of it
    copy_repository(machine)
    steps = 0
    while (name := kill_at(machine, steps, 0.0)) is not None:
        if name in STEP_TAKES:
            kill_at(machine, steps, STEP_TAKES[name])
        steps += 1
    assert steps > 8
    machine.wait_active(DAEMON)
    machine.wait_active(BROKER)
    assert "Nothing changed" in machine.run(INSTALL).stdout
    assert machine.run("find", "/", "-xdev", "-name", "credentials", "-newer", INSTALL).stdout == ""
    made = files(machine, fleeting=False)
    machine.kill()
    expected = files(container("bookworm", on=clean, network=False), fleeting=False)
    assert made == expected


def kill_at(machine: Container, number: int, after: float) -> str | None:
    """Run it, and kill it and its children so many seconds into a step, by its number; None if it ended before."""
    announced = -1
    with machine.start("setsid", INSTALL, "--simulation") as runs:
        assert runs.stdout
        said = []
        for line in runs.stdout:
            said.append(line)
            if line.startswith("== "):
                announced += 1
            if announced == number:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    runs.wait(after)
                end_group(runs)
                return line.removeprefix("== ").strip()
    assert runs.returncode == 0, "".join(said)
    return None


def end_group(runs: subprocess.Popen[str]) -> None:
    """Kill everything that install.sh has started and not handed over to systemd."""
    (first,) = Path(f"/proc/{runs.pid}/task/{runs.pid}/children").read_text().split()
    os.killpg(int(first), signal.SIGKILL)
    runs.wait()
    wait_until(lambda: not Path(f"/proc/{first}").exists(), 10, "it is gone")
