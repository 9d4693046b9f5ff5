"""What is known before the first check: the settings, with their secrets where they can be read, and the status."""

from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_energy import client
from edge_energy.config import DEFAULT_PATH, config_path, load
from edge_energy.config.credstore import STORE, load_as_daemon
from edge_energy.errors import ConfigError

if TYPE_CHECKING:
    from edge_energy.config import Settings
    from edge_energy.doctor.machine import Machine

UNKNOWN = "not-readable"
"""Stands for a secret that this user may not read, where the settings are invalid without one."""
_NECESSARY = ("influxdb.token", "kafka.password")


@dataclass(frozen=True)
class Case:
    """What every check is given."""

    machine: Machine
    config: Path
    settings: Settings | None = None
    """None where they are invalid, or may not be read."""
    problems: tuple[str, ...] = ()
    """What is wrong with the configuration."""
    secrets: bool = True
    """Whether the secrets in the settings are the daemon's own."""
    socket: Path = client.DEFAULT_SOCKET
    status: dict[str, Any] | None = None
    """What `edge-energy status --json` prints; None where no daemon answers."""
    silence: str = ""
    """Why there is no status."""

    @property
    def forbidden(self) -> bool:
        """Whether the settings are lacking only because this user may not read them."""
        return any(os.strerror(errno.EACCES) in problem for problem in self.problems)


def open_case(machine: Machine, config: Path | None, socket: Path | None) -> Case:
    """Read the settings and ask the daemon."""
    file = config_path(config)
    settings, problems, secrets = None, [], True
    try:
        settings, secrets = _load(machine, config)
    except ConfigError as error:
        problems = error.problems
    if socket is None:
        named = settings is not None and file != DEFAULT_PATH
        socket = settings.appliance.runtime_dir / client.SOCKET_NAME if settings and named else client.DEFAULT_SOCKET
    status, silence = None, ""
    try:
        status = client.ask(socket, "GET", "/status")
    except (client.NoDaemon, client.Refused) as error:
        silence = str(error)
    return Case(machine, file, settings, tuple(problems), secrets, socket, status, silence)


def _load(machine: Machine, config: Path | None) -> tuple[Settings, bool]:
    """Return the settings, and whether their secrets are the daemon's. Raises `ConfigError`."""
    if config_path(config) != machine.path(DEFAULT_PATH):
        return load(config), True
    try:
        return load_as_daemon(config, machine.path(STORE)), True
    except PermissionError:
        return _load_without(config), False


def _load_without(config: Path | None) -> Settings:
    """Load what can be loaded without the secrets, with something in the place of those that must be there."""
    try:
        return load(config)
    except ConfigError as error:
        lacking = [name for name in _NECESSARY if any(f": {name}: " in problem for problem in error.problems)]
    with tempfile.TemporaryDirectory(prefix="edge-energy-doctor-") as directory:
        for name in lacking:
            Path(directory, name).write_text(UNKNOWN)
        return load(config, {**os.environ, "CREDENTIALS_DIRECTORY": directory})
