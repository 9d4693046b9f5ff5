"""Whether a release that was just started does its work: what an upgrade waits for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edge_energy import client

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_energy.config import Settings

STEADY = 5.0
"""Seconds that a daemon must have been up: what dies of its first messages has not reached health before it dies."""
_EVERY = 0.25
_HERE = ("127.0.0.1", "::1", "localhost")


def wait(socket: Path, version: str, brokers: Sequence[str], within: float) -> list[str]:
    """Ask the daemon until it is healthy; return what was still wrong after `within` seconds: nothing is healthy."""
    deadline = time.monotonic() + within
    while (wrong := ask(socket, version, brokers)) and time.monotonic() < deadline:
        time.sleep(_EVERY)
    return wrong


def ask(socket: Path, version: str, brokers: Sequence[str]) -> list[str]:
    """Ask the daemon once; return what is wrong."""
    try:
        return problems(client.ask(socket, "GET", "/status"), version, brokers)
    except (client.NoDaemon, client.Refused) as error:
        return [str(error)]


def problems(report: dict[str, Any], version: str, brokers: Sequence[str]) -> list[str]:
    """Return what a report of the daemon says against its release.

    A broker on this machine must be connected, and the daemon's own servers must listen. Another broker, a database
    or a cloud may have been away before.
    """
    wrong = []
    if report["version"] != version:
        wrong.append(f"release {report['version']} answers, not {version}")
    wrong += [f"{name}: a defect: {what}" for name, what in report.get("defects", {}).items()]
    needed = [source for source in report["sources"] if source["name"] in brokers] + report["servers"]
    wrong += [
        f"{each['name']}: not connected: {each['last_error'] or 'no answer yet'}"
        for each in needed
        if not each["connected"]
    ]
    if not wrong and report["up_seconds"] < STEADY:
        wrong.append("it was not up long enough to tell")
    return wrong


def local_brokers(settings: Settings) -> list[str]:
    """Return the names, as the daemon reports them, of the brokers that run on this machine."""
    return [f"mqtt {mqtt.host}:{mqtt.port}" for mqtt in settings.mqtt if mqtt.host in _HERE]
