"""The HTTP server itself on a free port of this machine, with applications that stand for the real ones."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import web

from edge_energy.api.access import Access
from edge_energy.api.answers import BadRequest, ok
from edge_energy.api.server import HttpServer
from edge_energy.config import Http
from edge_energy.errors import JournalFull, UnreadablePayload
from edge_energy.ways import TooManyDevices
from tests.servers.base import HOST, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from edge_energy.api.tokens import Token

RAISED: Mapping[str, Exception] = {
    "bad": BadRequest("expected a number", "power"),
    "unreadable": UnreadablePayload("not JSON"),
    "full": JournalFull("no space left"),
    "many": TooManyDevices("more than 5000"),
    "gone": web.HTTPGone(),
    "late": TimeoutError(),
    "defect": ZeroDivisionError("a defect"),
}


def failed(answer: tuple[int, Any], status: int = 400) -> str | None:
    """Return the parameter that is named in a refusal of this status."""
    assert answer[0] == status, answer
    assert answer[1]["status"] == "error"
    assert answer[1]["error"]
    parameter: str | None = answer[1].get("parameter")
    return parameter


async def echo(request: web.Request) -> web.StreamResponse:
    """Answer with what came, or raise what the path names."""
    device = request.match_info.get("device", "")
    if device in RAISED:
        raise RAISED[device]
    return ok(device=device, query=list(request.query.items()), body=(await request.read()).decode(errors="replace"))


async def talk(request: web.Request) -> web.StreamResponse:
    """Say back what a WebSocket says."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data)
    return socket


def applications() -> dict[str, web.Application]:
    """Return applications with the routes of the real ones."""
    hooks, messages, sockets, sending, relays = (web.Application() for _ in range(5))
    for path in ("", "/", "/{device}"):
        hooks.router.add_get(path, echo, allow_head=False)
        hooks.router.add_post(path, echo)
    messages.router.add_post("", echo)
    sockets.router.add_get("/ws/{secret}", talk, allow_head=False)
    sending.router.add_post("", echo)
    relays.router.add_get("", echo, allow_head=False)
    return {"/webhook": hooks, "/message": messages, "/shelly": sockets, "/send": sending, "/relays": relays}


class Serving(NamedTuple):
    """A server that listens."""

    server: HttpServer
    port: int
    url: str


@asynccontextmanager
async def serving(
    check: Callable[[str], Token | None] = lambda _text: None,
    writable: Callable[[], bool] = lambda: True,
    parts: Mapping[str, web.Application] | None = None,
    **settings: Any,
) -> AsyncIterator[Serving]:
    """Run a server until the end of the block, with these settings of [http]."""
    port = free_port()
    http = Http(**{"host": HOST, "port": port, **settings})
    access = Access(check, webhook_auth=http.webhook_auth)
    server = HttpServer(http, access, applications() if parts is None else parts, writable)
    async with running(server):
        yield Serving(server, port, f"http{'s' if http.cert_file else ''}://{HOST}:{port}")


@asynccontextmanager
async def running(server: HttpServer) -> AsyncIterator[None]:
    """Run a server until the end of the block; what it fails with is raised."""
    task = asyncio.create_task(server.run())
    up = asyncio.create_task(server.up.wait())
    try:
        async with asyncio.timeout(10):
            await asyncio.wait([task, up], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        yield
    finally:
        up.cancel()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        server.up.clear()  # as the supervisor does


async def raw(port: int, data: bytes, *, timeout: float = 10) -> bytes:
    """Send bytes, and return all that comes until the server hangs up, or keeps silent and open for a while."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(data)
        async with asyncio.timeout(timeout):
            return await reader.read()
    finally:
        writer.close()


async def until(condition: Callable[[], object], timeout: float = 10) -> None:
    """Wait until a condition holds that no event tells of."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)
