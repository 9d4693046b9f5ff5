"""A proxy in front of a real server that does what bad networks and tired servers do, as a test tells it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Self

from .base import HOST, free_port
from .relay import CHUNK, Upstream, read_request, reset

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Mode(Enum):
    """What becomes of a request, or in front of a server that does not speak HTTP, of a connection."""

    PASS = auto()
    REFUSE = auto()  # connections are reset as soon as they are made, open ones at once
    HANG = auto()  # accepted and read, never answered
    MUTE = auto()  # what the client sends waits, what the server sends passes; not for HTTP
    DROP_ANSWER = auto()  # the server does what it was asked; its answer is lost and the connection reset
    ANSWER = auto()  # the proxy answers, the server hears nothing


@dataclass(frozen=True)
class _Fault:
    mode: Mode
    times: int | None = None  # requests that it still concerns; None until told otherwise
    answer: bytes = b""


_PASS = _Fault(Mode.PASS)


class FaultProxy:
    """One listening port in front of `target`, told what to do from the test's thread.

    `requests` counts HTTP requests received, `asked` has when each came (monotonic), `connections` counts
    connections accepted; `target` may be set anew. With `http=False` bytes pass as they come, and there are `ok`,
    `refuse`, `cut`, and `hang` and `mute`, during which bytes wait that go on after `ok`.
    """

    def __init__(self, target: int, *, http: bool = True) -> None:
        self.target = target
        self.host = HOST
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.requests = 0
        self.asked: list[float] = []
        self.connections = 0
        self.delay = 0.0
        self._http = http
        self._fault = _PASS
        self._lock = threading.Lock()
        self._started = threading.Event()
        self._writers: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Self:
        listening = socket.create_server((HOST, self.port))
        self._thread = threading.Thread(target=asyncio.run, args=[self._main(listening)], name="fault proxy")
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def ok(self, delay: float = 0) -> None:
        """Pass everything; what the server sends arrives `delay` seconds late."""
        self.delay = delay
        self._set(_PASS)

    def refuse(self) -> None:
        """Reset connections, open ones and new ones."""
        self._set(_Fault(Mode.REFUSE))
        self.cut()

    def hang(self, times: int | None = None) -> None:
        """Take the next requests and never answer them."""
        self._set(_Fault(Mode.HANG, times))

    def mute(self) -> None:
        """Hold what clients send; what the server sends arrives."""
        self._set(_Fault(Mode.MUTE))

    def drop_answer(self, times: int | None = None) -> None:
        """Pass the next requests, lose their answers, reset their connections."""
        self._set(_Fault(Mode.DROP_ANSWER, times))

    def answer(
        self,
        status: int,
        body: str = "{}",
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
    ) -> None:
        """Answer the next requests in the server's place: `answer(503, headers={"Retry-After": "1"})`."""
        content = body.encode()
        fields = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._set(_Fault(Mode.ANSWER, times, f"HTTP/1.1 {status} Fault\r\n{head}\r\n".encode() + content))

    def cut(self) -> None:
        """Reset every open connection, once."""

        async def reset_all() -> None:
            for writer in set(self._writers):
                reset(writer)

        asyncio.run_coroutine_threadsafe(reset_all(), self._loop).result()

    def _set(self, fault: _Fault) -> None:
        with self._lock:
            self._fault = fault

    def _take(self) -> _Fault:
        """Count a request and return what to do with it."""
        with self._lock:
            self.asked.append(time.monotonic())
            self.requests += 1
            fault = self._fault
            if fault.times is not None:
                self._fault = replace(fault, times=fault.times - 1) if fault.times > 1 else _PASS
            return fault

    async def _main(self, listening: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connected, sock=listening)
        self._started.set()
        await self._stop.wait()
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._fault.mode is Mode.REFUSE:
            reset(writer)
            return
        self._writers.add(writer)
        try:
            await (self._relay_requests if self._http else self._relay_bytes)(reader, writer)
        except OSError:
            reset(writer)  # the server is away
        except (asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is; the proxy itself is being left
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _relay_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with Upstream(self.target, writer, self._flowing) as server:
            while True:
                request = await read_request(reader)
                fault = self._take()
                if fault.mode is Mode.HANG:
                    await reader.read()  # until the client loses patience
                elif fault.mode is Mode.ANSWER:
                    writer.write(fault.answer)
                else:
                    server.drops_answer = fault.mode is Mode.DROP_ANSWER
                    await server.send(request)

    async def _relay_bytes(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with Upstream(self.target, writer, self._flowing) as server:
            await server.connect()
            while data := await reader.read(CHUNK):
                await self._flowing((Mode.HANG, Mode.MUTE))
                await server.send(data)

    async def _flowing(self, silent: Collection[Mode] = (Mode.HANG,)) -> None:
        """Wait while the line is silent, and for the delay."""
        while self._fault.mode in silent and not self._http:  # noqa: ASYNC110, another thread sets it
            await asyncio.sleep(0.01)
        if self.delay:
            await asyncio.sleep(self.delay)
