"""Who runs, who listens, who holds what: as /proc tells it."""

from __future__ import annotations

import os
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from edge_energy.doctor import processes
from edge_energy.doctor.machine import Machine
from tests.unit.doctor.tree import holds, listening, machine, process

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "arguments", "program"),
    [
        ("edge-energy", "/opt/edge-energy/bin/python /usr/local/bin/edge-energy run", processes.DAEMON),
        ("python", "python -m edge_energy run --config x", processes.DAEMON),
        ("python", "python -m edge_energy status", "python"),
        ("edge-energy", "python /usr/local/bin/edge-energy doctor", "edge-energy"),
        ("node", "node /opt/zigbee2mqtt/index.js", processes.ZIGBEE2MQTT),
        ("node", "node /opt/other/index.js", "node"),
        ("systemd-journal", "/lib/systemd/systemd-journald", processes.LOG),
        ("influxd", "influxd run", processes.INFLUXDB),
    ],
)
def test_programs_are_known_by_what_they_run(tmp_path: Path, name: str, arguments: str, program: str) -> None:
    (found,) = processes.processes(machine(tmp_path, process(7, name, arguments)))
    assert (found.pid, found.program) == (7, program)


def test_listeners_of_both_families(tmp_path: Path) -> None:
    """Established connections are none; addresses are in the byte order of this machine, as the kernel's are."""
    files = {"/proc/net/tcp": listening(("0100007F", 1883, 11), ("00000000", 8000, 12))}
    files["/proc/net/tcp6"] = listening(("0000000000000000FFFF00000100007F", 8086, 13), ("0" * 32, 3000, 14))
    files["/proc/net/tcp"] += "\n9: 0100007F:0050 0100007F:9000 01 0:0 0:0 0 0 0 15 1"
    found = {each.port: each.address for each in processes.listeners(machine(tmp_path, files))}
    assert sorted(found) == [1883, 3000, 8000, 8086]
    assert found[1883] == ip_address("127.0.0.1")
    assert found[3000] == ip_address("::")


def test_real_sockets_and_processes() -> None:
    """What is read of this very machine is true."""
    if not os.path.exists("/proc/net/tcp"):  # noqa: PTH110 - as short as it is true
        pytest.skip("no /proc here")
    here = Machine()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = [each for each in processes.listeners(here) if each.port == port]
        assert found.address == ip_address("127.0.0.1")
        assert os.getpid() in {each.pid for each in processes.holders(here, f"socket:[{found.inode}]")}
    assert processes.written(here, os.getpid()) >= 0
    assert 0 < processes.age(here, os.getpid()) < (here.uptime() or 0)


def test_a_name_with_spaces_and_brackets_does_not_shift_the_fields(tmp_path: Path) -> None:
    files = process(7, "a) S (b", "x", started=40) | {"/proc/uptime": "100.0 1.0"}
    assert processes.age(machine(tmp_path, files), 7) == pytest.approx(60)


def test_holders(tmp_path: Path) -> None:
    here = machine(tmp_path, process(7, "one", "one") | process(8, "two", "two"))
    holds(tmp_path, 7, "/dev/ttyACM0")
    holds(tmp_path, 8, "/dev/null")
    assert [each.pid for each in processes.holders(here, "/dev/ttyACM0")] == [7]
