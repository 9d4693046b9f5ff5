"""What the unit lets the daemon do: everything it needs, and nothing of what it must not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.servers.debian import RELEASES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.container import Container

DAEMON = "edge-energy.service"
REPORT = "/var/lib/edge-energy/report"
# The unit runs this instead of the daemon, and what each line came to is in its report.
_TRY = f"""
import asyncio, ctypes, json, mmap, os, pathlib, socket, time

def clock_state():
    from edge_energy import clock
    state = clock._Timex()
    return ctypes.CDLL(None).adjtimex(ctypes.byref(state)) >= 0

def interfaces():
    import ifaddr
    return [adapter.name for adapter in ifaddr.get_adapters()]

def loop():
    import uvloop
    return uvloop.run(asyncio.sleep(0, "runs"))

def credentials():
    return sorted(os.listdir(os.environ["CREDENTIALS_DIRECTORY"]))

def written_code():
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)

tried = {{
    "clock state": clock_state, "interfaces": interfaces, "loop": loop, "credentials": credentials,
    "json": lambda: __import__("orjson").dumps([]).decode(),
    "boot id": lambda: len(pathlib.Path("/proc/sys/kernel/random/boot_id").read_text()),
    "callback": lambda: ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 1)(),
    "configuration": lambda: pathlib.Path("/etc/edge-energy/edge-energy.toml").read_text()[:1],
    "written code": written_code,
    "setting the clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    "changing the configuration": lambda: open("/etc/edge-energy/edge-energy.toml", "a"),
    "changing the program": lambda: open("/opt/edge-energy/current/bin/edge-energy", "a"),
    "others' secrets": lambda: os.listdir("/etc/edge-energy/secrets"),
    "homes": lambda: os.listdir("/root"),
    "raw packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "port 80": lambda: socket.socket().bind(("127.0.0.1", 80)),
    "devices": lambda: open("/dev/kmsg"),
    "root": lambda: os.setuid(0),
}}
report = {{}}
for name, attempt in tried.items():
    try:
        report[name] = attempt()
    except (OSError, ValueError) as error:
        report[name] = "refused"
pathlib.Path("{REPORT}").write_text(json.dumps(report, default=str))
"""
INSTEAD = """[Service]
Type=oneshot
Restart=no
ExecStart=
ExecStart=/opt/edge-energy/current/bin/python /opt/try.py
"""
NEEDED = {
    "clock state": True,
    "interfaces": ["lo"],
    "loop": "runs",
    "json": "[]",
    "credentials": ["mqtt.password"],  # and those that are not there are no error
    "boot id": 37,
    "callback": 1,
    "configuration": "#",
}


@pytest.mark.parametrize("debian", RELEASES)
def test_the_daemon_can_do_what_it_needs_and_nothing_else(
    debian: str, container: Callable[..., Container], installed: Callable[..., Path]
) -> None:
    machine = container(debian, on=installed(debian), network=False)
    machine.put("/opt/try.py", _TRY)
    machine.put(f"/etc/systemd/system/{DAEMON}.d/instead.conf", INSTEAD)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "stop", DAEMON)
    machine.run("systemctl", "start", DAEMON)
    report = json.loads(machine.path(REPORT).read_text())
    assert {name: report.pop(name) for name in NEEDED} == NEEDED
    assert set(report.values()) == {"refused"}, report
