"""What an appliance looks like from outside: its files, its programs, what its daemon says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.servers.appliance import CHECKOUT

if TYPE_CHECKING:
    from tests.servers.container import Container

INSTALL = f"{CHECKOUT}/install.sh"
DAEMON = "edge-energy.service"
SIMULATOR = "edge-energy-simulator.service"
BROKER = "mosquitto.service"
CONFIGURATION = "/etc/edge-energy/edge-energy.toml"
OURS = (
    "/etc/edge-energy /etc/credstore /etc/mosquitto /etc/systemd /etc/udev /opt /usr/local /usr/share"
    " /var/lib/edge-energy"
)
# What two installations never have in common, and what a running daemon writes.
_FLEETING = (
    "*.pyc */edge-energy/secrets/* */tls/*.pem */tls/*.key */edge-energy.passwd */credstore/* */lib/edge-energy/*"
)


def files(machine: Container, *, fleeting: bool = True) -> dict[str, str]:
    """Return what tells each of an appliance's files from another: kind, mode, owner, target, and digest.

    Without `fleeting`, what differs between two installations counts by its kind, mode and owner only.
    """
    listed = machine.run("sh", "-c", f"find {OURS} -printf '%p\\t%y %m %u:%g %l\\n'", check=False).stdout
    found = dict(line.split("\t") for line in listed.splitlines())
    unequal = "" if fleeting else " ".join(f"! -path '{pattern}'" for pattern in _FLEETING.split())
    digests = machine.run(
        "sh", "-c", f"find {OURS} -type f ! -path '/var/lib/*' {unequal} -print0 | xargs -0 sha256sum", check=False
    ).stdout
    for line in digests.splitlines():
        digest, _, path = line.partition("  ")
        found[path] = f"{found[path]} {digest}"
    return found


def pids(machine: Container) -> dict[str, str]:
    """Return the process of each unit; 0 where it does not run."""
    units = (DAEMON, SIMULATOR, BROKER)
    return {
        unit: machine.run("systemctl", "show", "--property=MainPID", "--value", unit).stdout.strip() for unit in units
    }


def status(machine: Container) -> dict[str, Any]:
    """Return what `edge-energy status --json` says."""
    report: dict[str, Any] = json.loads(machine.run("edge-energy", "status", "--json").stdout)
    return report


def release(machine: Container, name: str = "current") -> str:
    """Return the path of a release; nothing where there is none."""
    return machine.run("readlink", "-e", f"/opt/edge-energy/{name}", check=False).stdout.strip()
