"""The command line's side of the local socket.

HTTP in the few words that our own daemon needs: http.client would take a quarter of the time that a command has.
"""

from __future__ import annotations

import json
import os
import re
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_energy.errors import EdgeEnergyError

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    with _connected(path, TIMEOUT if timeout is None else timeout) as connection:
        connection.sendall(_head(method, target, content) + content)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        status, length, found = _parted(answer)
        if length is None or len(found) != length:
            raise OSError("its answer broke off")
    if status >= 400:
        raise Refused(_explanation(found, status))
    return json.loads(found)


def stream(path: Path, target: str) -> Iterator[Any]:
    """Make one request and yield each decoded line of its answer as it comes. Raises `NoDaemon` and `Refused`."""
    with _connected(path, TIMEOUT) as connection:
        connection.sendall(_head("GET", target, b""))
        lines = connection.makefile("rb")
        head = b"".join(iter(lambda: lines.readline().strip() + b"\r\n", b"\r\n"))
        status, length, _ = _parted(head + b"\r\n")
        if status >= 400:
            raise Refused(_explanation(lines.read(length or 0), status))
        connection.settimeout(None)  # the next line may come tomorrow
        for line in filter(bytes.strip, lines):  # empty ones only show that the daemon is there
            yield json.loads(line)


def _head(method: str, target: str, content: bytes) -> bytes:
    # Of HTTP 1.0 the end of the connection is the end of the answer, which never comes in chunks.
    head = f"{method} {target} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
    if content:
        head += "Content-Type: application/json\r\n"
    return f"{head}\r\n".encode()


@contextmanager
def _connected(path: Path, timeout: float) -> Iterator[socket.socket]:
    """Connect for a while; whatever goes wrong with the connection is `NoDaemon`."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            yield connection
    except (FileNotFoundError, ConnectionRefusedError):
        raise NoDaemon(
            f"No daemon listens on {path}. Start it (`sudo systemctl start edge-energy`, or `edge-energy simulate` "
            "to try it), or name its socket with --socket."
        ) from None
    except PermissionError:
        raise NoDaemon(f"You may not use {path}: run this as root or as a member of the group edge-energy.") from None
    except OSError as error:
        raise NoDaemon(f"The daemon on {path} does not answer: {error}") from None


def _parted(answer: bytes) -> tuple[int, int | None, bytes]:
    """Return the status of an answer, the length that its body is said to have, and the body. Raises `OSError`."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, length = _STATUS.match(head), _LENGTH.search(head)
    if status is None:
        raise OSError("its answer broke off")
    return int(status[1]), int(length[1]) if length else None, body


def _explanation(body: bytes, status: int) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return f"The daemon answered {status}: {body[:200].decode(errors='replace')}"
