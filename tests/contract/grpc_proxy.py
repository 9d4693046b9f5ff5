"""The fault proxy in front of a server that speaks gRPC: it knows where requests and answers begin."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from tests.servers.base import HOST
from tests.servers.proxy import FaultProxy, Mode
from tests.servers.relay import CHUNK, reset

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_PREFACE = 24  # bytes with which a client of HTTP/2 begins
_HEAD = 9
_HEADERS = 1
"""The type of the frame with which a request, and an answer, begins. Source: RFC 9113, 3.4, 4.1, 6.2."""


class Frames:
    """Finds the frames in one direction of an HTTP/2 connection."""

    def __init__(self, skip: int = 0) -> None:
        self._skip = skip
        self._rest = b""

    def begun(self, data: bytes) -> int:
        """Return how many requests or answers begin in what comes next."""
        found, self._rest = 0, self._rest + data
        while len(self._rest) >= self._skip + _HEAD:
            head = self._rest[self._skip : self._skip + _HEAD]
            found += head[3] == _HEADERS
            self._rest, self._skip = self._rest[self._skip :], _HEAD + int.from_bytes(head[:3], "big")
        return found


class GrpcProxy(FaultProxy):
    """`ok`, `refuse`, `cut`, `hang` and `drop_answer` as in front of an HTTP server; `requests` counts calls."""

    def __init__(self, target: int) -> None:
        super().__init__(target, http=False)
        self._losing: set[asyncio.StreamWriter] = set()

    async def _relay_bytes(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, server = await asyncio.open_connection(HOST, self.target)
        back = asyncio.create_task(self._relay(answers, writer, Frames(), lambda: self._answered(writer)))
        try:
            await self._relay(reader, server, Frames(_PREFACE), lambda: self._asked(writer))
        finally:
            self._losing.discard(writer)
            back.cancel()
            server.close()

    async def _relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        frames: Frames,
        begins: Callable[[], Awaitable[None]],
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                for _ in range(frames.begun(data)):
                    await begins()
                await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _asked(self, client: asyncio.StreamWriter) -> None:
        mode = self._take().mode
        if mode is Mode.DROP_ANSWER:
            self._losing.add(client)
        while mode is Mode.HANG and self._fault.mode is Mode.HANG:  # noqa: ASYNC110, another thread sets it
            await asyncio.sleep(0.01)

    async def _answered(self, client: asyncio.StreamWriter) -> None:
        if client in self._losing:
            reset(client)
