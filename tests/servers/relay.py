"""What the fault proxy does with bytes: read one request, pass it on, bring the answer back or lose it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from typing import TYPE_CHECKING, Self

from .base import HOST

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CHUNK = 65536


class Upstream:
    """The proxy's connection to the server for one of its clients, made when there is something to send."""

    def __init__(self, port: int, client: asyncio.StreamWriter, flowing: Callable[[], Awaitable[None]]) -> None:
        self._port = port
        self._client = client
        self._flowing = flowing
        self._writer: asyncio.StreamWriter | None = None
        self._back: asyncio.Task[None] | None = None
        self.drops_answer = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._writer and self._back:
            self._writer.close()
            self._back.cancel()

    async def connect(self) -> asyncio.StreamWriter:
        """Connect, unless done."""
        if self._writer is None:
            reader, self._writer = await asyncio.open_connection(HOST, self._port)
            self._back = asyncio.create_task(self._answers(reader))
        return self._writer

    async def send(self, data: bytes) -> None:
        """Pass on what the client sent."""
        writer = await self.connect()
        writer.write(data)
        await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._flowing()
                if self.drops_answer:
                    reset(self._client)
                    return
                self._client.write(data)
                await self._client.drain()
        self._client.close()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Return one whole HTTP request as it was sent; IncompleteReadError when the client has left."""
    head = await reader.readuntil(b"\r\n\r\n")
    if length := re.search(rb"(?i)\r\ncontent-length: *(\d+)", head):
        return head + await reader.readexactly(int(length[1]))
    if not re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
        return head
    chunks = [head]
    while chunks[-1] != b"\r\n":  # the last chunk is empty
        size = await reader.readuntil(b"\r\n")
        chunks += [size, await reader.readexactly(int(size, 16) + 2)]
    return b"".join(chunks)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    if not writer.transport.is_closing():
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
