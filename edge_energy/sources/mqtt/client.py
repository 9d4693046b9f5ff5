"""paho's client with a socket that is read in large pieces, and lets us look at packets first."""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho

from edge_energy.sources.mqtt import packets

if TYPE_CHECKING:
    import socket

_READ_SIZE = 65536  # bytes; some 250 messages, after which the loop serves others


class BufferedSocket:
    """Between paho and its socket: reads and writes in large pieces, and lets us look at packets first.

    paho alone makes three to four system calls for each message it receives and one for each acknowledgement.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._read = bytearray()
        self._position = 0
        self._end = 0
        """Of the packet that was looked at."""
        self._write = bytearray()
        self.waiting = False
        """Whether TLS holds more that the selector does not know of."""

    def fill(self) -> None:
        """Read what the network has; raises BlockingIOError (or ssl's equivalent), or ConnectionError at its end."""
        data = self._sock.recv(_READ_SIZE)
        if not data:
            raise ConnectionResetError("the peer closed the connection")
        del self._read[: self._position]
        self._position = self._end = 0
        self._read += data
        self.waiting = isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0

    def packet(self) -> tuple[int, int, int] | None:
        """Return the first byte of the next packet and where its body begins and ends, once it is complete."""
        start = self._position
        body = packets.frame(self._read, start) if start < len(self._read) else None
        if body is None:
            return None
        self._end = body[1]
        return (self._read[start], *body)

    def take(self, begin: int, end: int) -> bytes:
        """Return the body of the packet that was looked at, and go on behind it."""
        self._position = end
        return bytes(self._read[begin:end])

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes of the packet that was looked at: paho's way of reading.

        No more than that, for paho would read on while answers are due to it, and keep a message to itself.
        """
        data = bytes(self._read[self._position : min(self._position + size, self._end)])
        if not data:
            raise BlockingIOError
        self._position += len(data)
        return data

    def pending(self) -> int:
        """Return the number of buffered bytes, as paho expects of TLS sockets."""
        return len(self._read) - self._position

    def send(self, data: bytes) -> int:
        """Take all of it; `flush` sends."""
        self._write += data
        return len(data)

    def flush(self) -> bool:
        """Send what the network takes; tell whether that was everything."""
        try:
            while self._write:
                sent = self._sock.send(self._write)
                del self._write[:sent]
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return False
        return True

    def fileno(self) -> int:
        """Return the socket's file descriptor."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - the socket's own signature
        """Set whether the socket blocks."""
        self._sock.setblocking(flag)

    def close(self) -> None:
        """Close, after what is still buffered: paho closes right after its DISCONNECT."""
        with suppress(OSError):
            self.flush()
        self._sock.close()


class Client(paho.Client):
    """paho with the buffered socket. A unit test holds that paho still makes its socket here."""

    buffered: BufferedSocket | None = None

    def _create_socket(self) -> Any:
        self.buffered = BufferedSocket(super()._create_socket())  # type: ignore[arg-type]
        return self.buffered
