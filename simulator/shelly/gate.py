"""The sockets of a device's server: at most six connections, and all of them cut when the network goes."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 6
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: no waiting, the peer gets a reset


class Connections:
    """The open connections of one device."""

    def __init__(self) -> None:
        self.open: set[asyncio.Transport] = set()
        self.most_ever = 0
        self.refused = 0

    def admit(self, transport: asyncio.Transport) -> bool:
        """Count a new connection, or reset it when there are six."""
        if len(self.open) >= MOST:
            self.refused += 1
            reset(transport)
            return False
        self.open.add(transport)
        self.most_ever = max(self.most_ever, len(self.open))
        return True

    def cut(self) -> None:
        """Reset all."""
        for transport in list(self.open):
            reset(transport)


class Gate(asyncio.Protocol):
    """Stands before the HTTP protocol and passes on what comes over an admitted connection."""

    def __init__(self, connections: Connections, make: Callable[[], asyncio.Protocol]) -> None:
        self._connections = connections
        self._make = make
        self._inner: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit or reset."""
        stream = cast("asyncio.Transport", transport)
        if self._connections.admit(stream):
            self._transport, self._inner = stream, self._make()
            self._inner.connection_made(stream)

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room."""
        if self._inner and self._transport:
            self._connections.open.discard(self._transport)
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on."""
        if self._inner:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on."""
        return self._inner.eof_received() if self._inner else None

    def pause_writing(self) -> None:
        """Pass on."""
        if self._inner:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        if self._inner:
            self._inner.resume_writing()


def reset(transport: asyncio.Transport) -> None:
    """End a connection as a device does that is no longer there."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()
