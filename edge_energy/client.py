"""The command line's side of the local socket.

HTTP in the few words that our own daemon needs: http.client would take a quarter of the time that a command has.
"""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path
from typing import Any

from edge_energy.errors import EdgeEnergyError

SOCKET_NAME = "api.sock"
DEFAULT_SOCKET = Path("/run/edge-energy") / SOCKET_NAME
TIMEOUT = 10.0
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")
_LENGTH = re.compile(rb"\r\nContent-Length: ?([0-9]{1,12})(?:\r\n|$)", re.IGNORECASE)


class NoDaemon(EdgeEnergyError):  # noqa: N818 - a state of the world
    """Nothing answers on the socket."""


class Refused(EdgeEnergyError):  # noqa: N818 - as above
    """The daemon answered with an error."""


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
    content = b"" if body is None else json.dumps(body).encode()
    # Of HTTP 1.0 the end of the connection is the end of the answer, which never comes in chunks.
    head = f"{method} {target} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
    if content:
        head += "Content-Type: application/json\r\n"
    try:
        status, answer = _exchange(path, f"{head}\r\n".encode() + content, TIMEOUT if timeout is None else timeout)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NoDaemon(
            f"No daemon listens on {path}. Start it (`sudo systemctl start edge-energy`, or `edge-energy simulate` "
            "to try it), or name its socket with --socket."
        ) from None
    except PermissionError:
        raise NoDaemon(f"You may not use {path}: run this as root or as a member of the group edge-energy.") from None
    except OSError as error:
        raise NoDaemon(f"The daemon on {path} does not answer: {error}") from None
    if status >= 400:
        raise Refused(_explanation(answer, status))
    return json.loads(answer)


def _exchange(path: Path, request: bytes, timeout: float) -> tuple[int, bytes]:
    """Return status and body of the answer. Raises `OSError`."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        connection.sendall(request)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    status, length = _STATUS.match(head), _LENGTH.search(head)
    if status is None or length is None or len(body) != int(length[1]):
        raise OSError("its answer broke off")
    return int(status[1]), body


def _explanation(body: bytes, status: int) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return f"The daemon answered {status}: {body[:200].decode(errors='replace')}"
