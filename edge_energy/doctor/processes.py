"""The programs that matter here as /proc has them: who runs, what each wrote, who holds a port or a device.

Source: proc(5), proc_pid_io(5), proc_pid_stat(5).
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_energy.doctor.machine import Machine

DAEMON, LOG = "the daemon", "the log"  # no names that the kernel has for others, such as this command
MOSQUITTO, INFLUXDB, ZIGBEE2MQTT = "mosquitto", "InfluxDB", "Zigbee2MQTT"
_BY_NAME = {
    "mosquitto": MOSQUITTO,
    "influxd": INFLUXDB,
    "systemd-journal": LOG,  # the kernel cuts names at 15 letters
    "rsyslogd": LOG,
    "grafana": "Grafana",
    "grafana-server": "Grafana",
}
_LISTENING = "0A"
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class Process(NamedTuple):
    """One process; `program` is what people call it."""

    pid: int
    program: str
    arguments: list[str]

    def __str__(self) -> str:
        return f"{self.program} (process {self.pid})"


class Listener(NamedTuple):
    """One TCP port that somebody listens on."""

    address: IPv4Address | IPv6Address
    port: int
    inode: int


def processes(machine: Machine) -> list[Process]:
    """Return every process that can be seen, except those of the kernel."""
    found = []
    for directory in machine.files("/proc", "[0-9]*"):
        with suppress(OSError, ValueError):  # it has ended meanwhile
            arguments = (machine.text(f"/proc/{directory.name}/cmdline") or "").split("\0")
            name = machine.text(f"/proc/{directory.name}/comm") or ""
            if arguments != [""]:
                found.append(Process(int(directory.name), _program(name, arguments), arguments))
    return found


def _program(name: str, arguments: list[str]) -> str:
    words = [PurePath(argument).name for argument in arguments]
    if any(word in ("edge-energy", "edge_energy") and after == "run" for word, after in pairwise(words)):
        return DAEMON
    if name in ("node", "MainThread") and any("zigbee2mqtt" in argument for argument in arguments):
        return ZIGBEE2MQTT
    return _BY_NAME.get(name, name or words[0])


def written(machine: Machine, pid: int) -> int:
    """Return the bytes that a process caused to be written to disks since it began.

    Raises `PermissionError` where it is somebody else's, and `LookupError` or `OSError` where it has ended.
    """
    counts = dict(line.split(": ") for line in (machine.text(f"/proc/{pid}/io") or "").splitlines())
    return max(0, int(counts["write_bytes"]) - int(counts["cancelled_write_bytes"]))


def age(machine: Machine, pid: int) -> float:
    """Return for how many seconds a process has been running. Raises as `written`."""
    # The name, the second field, may have spaces and brackets in it.
    fields = (machine.text(f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
    return max(0.0, (machine.uptime() or 0.0) - int(fields[19]) / _TICKS)


def listeners(machine: Machine) -> list[Listener]:
    """Return every TCP port that somebody listens on."""
    return [*_listeners(machine, "/proc/net/tcp"), *_listeners(machine, "/proc/net/tcp6")]


def _listeners(machine: Machine, table: str) -> Iterator[Listener]:
    for line in (machine.text(table) or "").splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTENING:
            address, _, port = fields[1].partition(":")
            yield Listener(_address(address), int(port, 16), int(fields[9]))


def _address(text: str) -> IPv4Address | IPv6Address:
    """Return an address that the kernel prints in words of 32 bits in the machine's order, hexadecimal."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    raw = struct.pack(f"={len(words)}I", *words)
    return IPv4Address(raw) if len(words) == 1 else IPv6Address(socket.inet_ntop(socket.AF_INET6, raw))


def holders(machine: Machine, *targets: str) -> list[Process]:
    """Return the processes that have one of these open: `socket:[inode]`, or the path of a device.

    Those of other users are seen by root only.
    """
    return [process for process, files in machine.once(_all_open_files) if not files.isdisjoint(targets)]


def _all_open_files(machine: Machine) -> list[tuple[Process, set[str]]]:
    return [(process, _open_files(machine, process.pid)) for process in processes(machine)]


def _open_files(machine: Machine, pid: int) -> set[str]:
    found = set()
    with suppress(OSError):  # somebody else's, or ended
        for link in machine.path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(str(link.readlink()))
    return found
