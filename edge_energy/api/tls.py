"""TLS of the HTTP server: its certificate, and connections that do not speak it yet."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from math import inf
from typing import TYPE_CHECKING, cast

from edge_energy.api.connections import owner_of
from edge_energy.errors import Unavailable

if TYPE_CHECKING:
    from edge_energy.api.connections import Connections
    from edge_energy.api.protocol import Connection
    from edge_energy.config import Http

CLOSING = 2.0  # seconds for the end of TLS


def tls_context(settings: Http) -> ssl.SSLContext | None:
    """Return what TLS needs, or None where it is not configured. Raises `Unavailable`, naming the settings."""
    if settings.cert_file is None or settings.key_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # With no password given, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(settings.cert_file, settings.key_file, password="")
    except (OSError, ValueError) as error:
        files = f"cert_file = {str(settings.cert_file)!r}, key_file = {str(settings.key_file)!r}"
        raise Unavailable(
            f"[http] {files}: expected a PEM certificate and its key without password ({error})"
        ) from None
    return context


class TlsHandshake(asyncio.Protocol):
    """A connection until it speaks TLS. It takes a place, too, or slow handshakes would use up the files.

    The loop's own way to listen with TLS tells of a connection only after the handshake.
    """

    def __init__(self, connections: Connections, connection: Connection, context: ssl.SSLContext) -> None:
        self.owner = ""
        self.deadline = inf  # the handshake has its own
        self._connections = connections
        self._connection = connection
        self._context = context

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, take the socket out of this transport, which has not read from it yet, and begin."""
        self.owner = owner_of(transport)
        self._socket = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        cast("asyncio.Transport", transport).abort()
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._connections.opened(self)

    async def _run(self) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._connection,
                self._socket,
                ssl=self._context,
                ssl_handshake_timeout=self._connections.timeout,
                ssl_shutdown_timeout=CLOSING,
            )
        except OSError:  # it speaks no TLS, or too slowly, or has gone
            self._socket.close()
        finally:
            self._connections.closed(self)

    def stalled(self, _now: float) -> float:
        """See `Held`."""
        return 0.0

    def expire(self) -> None:
        """See `Held`."""
        self.drop()

    def drop(self) -> None:
        """See `Held`."""
        self._task.cancel()
        self._socket.close()
