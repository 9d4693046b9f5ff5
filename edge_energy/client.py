"""The command line's side of the local socket."""

from __future__ import annotations

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any

from edge_energy.errors import EdgeEnergyError

SOCKET_NAME = "api.sock"
DEFAULT_SOCKET = Path("/run/edge-energy") / SOCKET_NAME
TIMEOUT = 10.0


class NoDaemon(EdgeEnergyError):  # noqa: N818 - a state of the world
    """Nothing answers on the socket."""


class Refused(EdgeEnergyError):  # noqa: N818 - as above
    """The daemon answered with an error."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def find_socket(config: Path | None) -> Path:
    """Return where the daemon listens: as configured where a configuration is named, else the default.

    Raises `ConfigError` where that configuration cannot be read: --socket names the socket without it.
    """
    if config is None and "EDGE_ENERGY_CONFIG" not in os.environ:
        return DEFAULT_SOCKET
    from edge_energy.config import load  # noqa: PLC0415 - costs a tenth of a second

    return load(config).appliance.runtime_dir / SOCKET_NAME


def ask(path: Path, method: str, target: str, body: Any = None, timeout: float | None = None) -> Any:
    """Make one request, with a JSON body if there is one; return the decoded answer.

    `timeout` (s) is for what takes the daemon longer than usual. Raises `NoDaemon` and `Refused`.
    """
    connection = _UnixConnection(path, TIMEOUT if timeout is None else timeout)
    content = {} if body is None else {"Content-Type": "application/json"}
    try:
        connection.request(method, target, None if body is None else json.dumps(body), content)
        response = connection.getresponse()
        answer = response.read()
    except (FileNotFoundError, ConnectionRefusedError):
        raise NoDaemon(
            f"No daemon listens on {path}. Start it (`sudo systemctl start edge-energy`, or `edge-energy simulate` "
            "to try it), or name its socket with --socket."
        ) from None
    except PermissionError:
        raise NoDaemon(f"You may not use {path}: run this as root or as a member of the group edge-energy.") from None
    except (OSError, http.client.HTTPException) as error:
        raise NoDaemon(f"The daemon on {path} does not answer: {error}") from None
    finally:
        connection.close()
    if response.status >= 400:
        raise Refused(_explanation(answer, response.status))
    return json.loads(answer)


def _explanation(body: bytes, status: int) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return f"The daemon answered {status}: {body[:200].decode(errors='replace')}"
