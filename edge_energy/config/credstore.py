"""Where the secrets of an installed appliance lie: systemd's store, from which the daemon's unit loads them."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge_energy.config.settings import load
from edge_energy.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_energy.config.settings import Settings

STORE = Path("/etc/credstore")
PREFIX = "edge-energy."
"""What the names of our credentials begin with in the store; the unit loads them without it."""
_VARIABLE = "CREDENTIALS_DIRECTORY"


@contextmanager
def daemon_environment(store: Path = STORE) -> Iterator[Mapping[str, str]]:
    """Give the environment in which the daemon reads its configuration: with the credentials that its unit loads.

    Their directory is made as systemd makes it, but of links: no secret is copied. Without a store, or where systemd
    gave us credentials, the environment is ours. Raises `PermissionError` where this user may not read the store.
    """
    if _VARIABLE in os.environ or not store.is_dir():
        yield os.environ
        return
    found = [file for file in store.iterdir() if file.name.startswith(PREFIX)]
    with tempfile.TemporaryDirectory(prefix="edge-energy-") as directory:
        for file in found:
            file.open("rb").close()
            Path(directory, file.name.removeprefix(PREFIX)).symlink_to(file)
        yield {**os.environ, _VARIABLE: directory}


def load_as_daemon(path: Path | None, store: Path = STORE) -> Settings:
    """Load the settings as the daemon does. Raises `ConfigError`, with the names of files that people know.

    Raises `PermissionError` as `daemon_environment` does.
    """
    with daemon_environment(store) as environ:
        try:
            return load(path, environ)
        except ConfigError as error:
            if environ is os.environ:
                raise
            made = f"{environ[_VARIABLE]}/"
            raise ConfigError([problem.replace(made, f"{store}/{PREFIX}") for problem in error.problems]) from None
