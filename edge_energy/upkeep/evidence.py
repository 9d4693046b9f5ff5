"""What somebody who helps needs to see of an appliance, before secrets are taken out of it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_energy import __version__, client
from edge_energy.config import load
from edge_energy.errors import ConfigError
from edge_energy.upkeep import files
from edge_energy.upkeep.errors import NotDone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_energy.upkeep.places import Places

LINES = 2_000
"""Of the log."""
READINGS = 200
UNITS = ("edge-energy", "zigbee2mqtt", "mosquitto", "influxdb", "edge-energy-simulator")
_LARGEST_OUTPUT = 4 * 2**20
_PATIENCE = 60.0
_MEASURED = frozenset({"values", "body", "payload", "power"})


def collect(where: Places, socket: Path, environ: Mapping[str, str], *, readings: bool) -> Iterator[tuple[str, Any]]:
    """Yield name and content: text, or what JSON can hold."""
    yield "versions.json", _versions()
    yield "machine.json", _machine(where)
    yield "configuration.json", _configuration(where, environ)
    asked = {"status": "/status", "devices": "/devices", "journal": "/journal/stats", "forward": "/forward/status"}
    for name, target in asked.items():
        yield f"{name}.json", _asked(socket, target, readings=readings)
    if readings:
        yield "readings.json", _asked(socket, f"/journal/tail?count={READINGS}", readings=True)
        yield "rejections.json", _asked(socket, "/journal/rejections?count=50", readings=True)
    yield "doctor.json", _doctor(where, socket)
    yield "systemd.txt", _output("systemctl", "status", "--no-pager", "--lines=0", *UNITS)
    units = [option for unit in UNITS for option in ("-u", unit)]
    yield "log.txt", _output("journalctl", "--no-pager", "-o", "short-iso", "-n", str(LINES), *units)


def _versions() -> dict[str, Any]:
    release = {}
    with suppress(OSError):
        release = platform.freedesktop_os_release()
    packages = sorted(f"{found.name} {found.version}" for found in metadata.distributions())
    return {
        "edge-energy": __version__,
        "python": sys.version,
        "system": release.get("PRETTY_NAME", platform.platform()),
        "kernel": f"{platform.release()} {platform.machine()}",
        "packages": packages,
    }


def _machine(where: Places) -> dict[str, Any]:
    """Tell about disks, memory, load, and what lies in the state directory: names, bytes, permissions."""
    machine: dict[str, Any] = {"now": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "load": os.getloadavg()}
    for name, file in (("model", "/proc/device-tree/model"), ("memory", "/proc/meminfo"), ("uptime", "/proc/uptime")):
        with suppress(OSError):
            machine[name] = Path(file).read_text().rstrip("\0\n").splitlines()[:12]
    for directory in (Path("/"), where.state):
        with suppress(OSError):
            machine[f"disk {directory}"] = shutil.disk_usage(directory)._asdict()
    with suppress(OSError, NotDone):
        found = [(path, path.stat()) for path in files.regular(where.state, deep=True)]
        machine["state_dir"] = [f"{path} {stat.st_size} {stat.st_mode:o} {stat.st_uid}" for path, stat in found[:500]]
    return machine


def _configuration(where: Places, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that hold, not the file: nobody knows what stands in its comments."""
    try:
        settings = load(where.config, environ) if where.config.exists() else load(None, environ)
    except ConfigError as error:
        return {"file": str(where.config), "problems": error.problems}
    return {"file": str(where.config), "settings": settings.model_dump(mode="json")}


def _asked(socket: Path, target: str, *, readings: bool) -> Any:
    try:
        answer = client.ask(socket, "GET", target)
    except (client.NoDaemon, client.Refused) as error:
        return {"not answered": str(error)}
    return answer if readings else without_measurements(answer)


def without_measurements(value: Any) -> Any:
    """Leave out what devices measured."""
    if isinstance(value, dict):
        return {name: without_measurements(inner) for name, inner in value.items() if name not in _MEASURED}
    return [without_measurements(inner) for inner in value] if isinstance(value, list) else value


def _doctor(where: Places, socket: Path) -> Any:
    """Ask the doctor, in a process of its own: it may not be well itself."""
    config = ["--config", str(where.config)] if where.config.exists() else []
    output = _output(sys.executable, "-m", "edge_energy", "doctor", "--json", "--socket", str(socket), *config)
    with suppress(ValueError):
        return json.loads(output)
    return output


def _output(*command: str) -> str:
    """Return what a program prints, or why it cannot."""
    try:
        done = subprocess.run(  # noqa: S603 - programs and options of ours
            command, check=False, timeout=_PATIENCE, stdin=subprocess.DEVNULL, capture_output=True
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {error}\n"
    printed = done.stdout[-_LARGEST_OUTPUT:] + done.stderr[-_LARGEST_OUTPUT:]
    return printed.decode(errors="replace")
