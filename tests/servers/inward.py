"""A port on this machine that leads to one in a container's own network."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from .base import HOST, free_port

if TYPE_CHECKING:
    from .container import Container

CLONE_NEWNET = 0x40000000
CHUNK = 65536


class Inward:
    """While in its context, what connects to `port` on 127.0.0.1 is connected to `there` in the container."""

    def __init__(self, container: Container, there: int) -> None:
        self.port = free_port()
        self._there = there
        self._network = Path(f"/proc/{container.pid}/ns/net")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"to port {there}", daemon=True)
        self._listening = socket.create_server((HOST, self.port))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        """Only this thread goes over into the other network: the socket that listens stays in the one it is of."""
        with self._network.open() as network:
            if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        server = self._loop.run_until_complete(self._serve())
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    async def _serve(self) -> asyncio.Server:
        return await asyncio.start_server(self._connect, sock=self._listening)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            there_reader, there_writer = await asyncio.open_connection(HOST, self._there)
            await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    except (OSError, asyncio.CancelledError):
        pass
    finally:
        writer.close()
