"""Slow clients keep nobody out, whatever they are slow with."""

from __future__ import annotations

import asyncio
import inspect
import ssl
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import pytest
import uvloop
from structlog.testing import capture_logs

from edge_energy.api import connections, protocol
from tests.servers.base import HOST
from tests.servers.certificates import make_certificates
from tests.unit.api.serving import Serving, raw, serving, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

HURRY = 0.3  # seconds
HEAD = b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n"
SLOW = {
    "silent": b"",
    "head": HEAD,
    "body": HEAD + b"\r\nabc",
    "answered": b"GET /webhook HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on both loops: the daemon has uvloop, whoever embeds or debugs it asyncio's."""

    def run(*, loop: Callable[[], asyncio.AbstractEventLoop], **fixtures: Any) -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(test(**fixtures))

    signature = inspect.signature(test)
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), loop])  # type: ignore[attr-defined]
    run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
    loops = [asyncio.new_event_loop, uvloop.new_event_loop]
    mark = pytest.mark.parametrize("loop", loops, ids=["asyncio", "uvloop"])
    return cast("Callable[..., None]", mark(run))


@asynccontextmanager
async def hurried(*arguments: Any, **settings: Any) -> AsyncIterator[Serving]:
    """Serve as `serving` does, with a timeout far below what an operator may set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "SWEEP", 0.02)
        patch.setattr(connections, "_GRACE", 0.1)
        patch.setattr(protocol, "LINGERING", 0.1)
        async with serving(*arguments, **settings) as served:
            served.server._connections.timeout = HURRY
            yield served


@asynccontextmanager
async def slow_clients(served: Serving, count: int, data: bytes, address: str = HOST) -> AsyncIterator[list[Any]]:
    """Open so many connections that send something and then nothing."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(count):
            reader, writer = await asyncio.open_connection(HOST, served.port, local_addr=(address, 0))
            stack.callback(writer.close)
            writer.write(data)
            opened.append((reader, writer))
        yield opened


async def ask(served: Serving, **options: Any) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{served.url}/webhook", **options) as answer:
        return answer.status


@pytest.mark.parametrize("kind", SLOW)
@on_both_loops
async def test_a_webhook_gets_in_however_many_are_slow(kind: str) -> None:
    """One too many ends the one that has waited longest, so a swift request always finds a place."""
    async with serving() as served:
        served.server._connections.most = 20
        async with slow_clients(served, 100, SLOW[kind]):
            for _ in range(30):
                assert await ask(served) == 200
                assert len(served.server._connections) <= 20
        assert served.server.status()["displaced"] >= 80
        await until(lambda: not len(served.server._connections))


@on_both_loops
async def test_who_opens_few_is_not_displaced_by_who_opens_many() -> None:
    """A device on a slow radio link keeps its place."""
    async with serving(timeout="5m") as served:
        served.server._connections.most = 20
        async with (
            slow_clients(served, 1, HEAD, "127.0.0.2") as ((reader, writer),),
            slow_clients(served, 100, HEAD),
        ):
            await until(lambda: served.server.status()["displaced"] >= 80)
            writer.write(b"\r\n" + b"x" * 20)
            async with asyncio.timeout(5):
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")


@on_both_loops
async def test_one_with_a_request_at_work_is_not_displaced() -> None:
    """It has done its part; its answer waits for the card."""
    from aiohttp import web  # noqa: PLC0415 - beside its only use

    go_on = asyncio.Event()

    async def work(_request: web.Request) -> web.Response:
        await go_on.wait()
        return web.Response()

    application = web.Application()
    application.router.add_get("", work, allow_head=False)
    async with serving(parts={"/webhook": application}) as served:
        served.server._connections.most = 5
        asking = [asyncio.create_task(ask(served)) for _ in range(5)]
        await until(lambda: len(served.server._connections) == 5 and not served.server._connections._waiting)
        assert await raw(served.port, SLOW["answered"]) == b""  # there is no place for a sixth
        go_on.set()
        assert await asyncio.gather(*asking) == [200] * 5


@pytest.mark.parametrize(("kind", "answer"), [("silent", b""), ("head", b"408"), ("body", b"408")])
@on_both_loops
async def test_a_request_must_arrive_in_time(kind: str, answer: bytes) -> None:
    """From the first byte on, or from the connection; whoever began is told."""
    async with hurried() as served:
        began = time.monotonic()
        assert (await raw(served.port, SLOW[kind]))[9:12] == answer
        assert HURRY <= time.monotonic() - began < 2
        assert served.server.status()["slow_clients"] == 1


@pytest.mark.parametrize("start", [b"", HEAD + b"\r\n"])
@on_both_loops
async def test_a_byte_now_and_then_is_no_excuse(start: bytes) -> None:
    """The time is for the whole request."""
    async with hurried() as served:
        reader, writer = await asyncio.open_connection(HOST, served.port)
        writer.write(start)
        hung_up = asyncio.create_task(reader.read())
        began = time.monotonic()
        for byte in HEAD:
            if hung_up.done():
                break
            writer.write(bytes([byte]))
            await asyncio.wait([hung_up], timeout=0.02)
        with suppress(ConnectionResetError):  # by a byte that came after the answer
            assert (await hung_up)[9:12] == b"408"
        assert time.monotonic() - began < 2
        assert served.server.status()["slow_clients"] == 1
        writer.close()


@on_both_loops
async def test_a_connection_may_wait_between_requests() -> None:
    """The time runs from the first byte of the next one."""
    async with hurried() as served:
        reader, writer = await asyncio.open_connection(HOST, served.port)
        for _ in range(2):
            writer.write(SLOW["answered"])
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
            waiting = asyncio.create_task(reader.read(1))
            assert not (await asyncio.wait([waiting], timeout=2 * HURRY))[0]
            waiting.cancel()
            await asyncio.wait([waiting])
        writer.write(b"GET")
        assert (await reader.read())[9:12] == b"408"
        writer.close()


@on_both_loops
async def test_pipelined_requests_are_all_answered() -> None:
    """In order, with a body in each, and with the last one's end arriving later."""
    request = HEAD + b"\r\n" + b"x" * 20
    async with serving() as served:
        reader, writer = await asyncio.open_connection(HOST, served.port)
        writer.write(request * 40 + request[:-5])
        found = b""
        while found.count(b"HTTP/1.1 200") < 40:
            found += await reader.read(65536)
        writer.write(request[-5:].replace(b"x", b"y"))
        while found.count(b"HTTP/1.1 200") < 41:
            found += await reader.read(65536)
        assert b"x" * 15 + b"y" * 5 in found
        writer.close()


@on_both_loops
async def test_a_head_has_a_limit() -> None:
    """Headers that are each small enough, but too many bytes in all."""
    async with serving() as served:
        line = b"X: " + b"a" * 4000 + b"\r\n"
        assert (await raw(served.port, HEAD + line * 5 + b"Connection: close\r\n\r\n" + b"x" * 20))[9:12] == b"200"
        reader, writer = await asyncio.open_connection(HOST, served.port)
        writer.write(HEAD)
        answer = asyncio.create_task(reader.read())
        for _ in range(20):
            if not answer.done():
                writer.write(line)
                await asyncio.wait([answer], timeout=0.05)
        assert (await answer)[9:12] == b"431"
        writer.close()


@on_both_loops
async def test_a_client_that_does_not_read_is_ended() -> None:
    """An answer that nobody takes must not stay in memory."""
    from aiohttp import web  # noqa: PLC0415 - beside its only use

    async def much(_request: web.Request) -> web.Response:
        return web.Response(body=bytes(64 * 2**20))

    application = web.Application()
    application.router.add_get("", much, allow_head=False)
    async with (
        hurried(parts={"/webhook": application}) as served,
        slow_clients(served, 1, SLOW["answered"]),
    ):
        await until(lambda: served.server.status()["slow_clients"] == 1)
        await until(lambda: not len(served.server._connections))


@on_both_loops
async def test_websockets_live_long_and_are_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a deadline nor the crowd ends one; there are so many and no more; the end of the server does."""
    from edge_energy.api import guard  # noqa: PLC0415 - beside its only use
    from edge_energy.api.access import Role  # noqa: PLC0415
    from edge_energy.api.tokens import Token  # noqa: PLC0415

    monkeypatch.setattr(guard, "HANDLING", 0.2)
    token = Token("0123abcd", Role.DEVICE, "", b"", None, None)
    async with hurried(lambda _text: token) as served, aiohttp.ClientSession(served.url) as session:
        served.server._connections.timeout = 2.0  # these clients are not slow, though a busy machine may be
        served.server._connections.most, served.server._connections.most_sockets = 5, 3
        sockets = [await session.ws_connect("/shelly/ws/x") for _ in range(3)]
        assert served.server.status()["websockets"] == 3
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect("/shelly/ws/x")
        assert refused.value.status == 503
        async with slow_clients(served, 20, HEAD):
            await until(lambda: served.server.status()["slow_clients"] >= 3)
        for each in sockets:
            await each.send_str("still here")
            assert (await each.receive(timeout=5)).data == "still here"
        await sockets[0].close()
        await until(lambda: served.server.status()["websockets"] == 2)
        assert await ask(served) == 200
        closed = asyncio.create_task(sockets[1].receive())
    assert (await closed).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.ERROR)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("hello", [b"", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n\r\n"])
@on_both_loops
async def test_slow_handshakes_keep_nobody_out_either(certificates: Any, hello: bytes) -> None:
    """A connection counts before it speaks TLS."""
    trusted = ssl.create_default_context(cafile=certificates.ca)
    async with hurried(cert_file=certificates.server, key_file=certificates.server_key) as served:
        served.server._connections.most = 20
        async with slow_clients(served, 60, hello):
            for _ in range(10):
                assert await ask(served, ssl=trusted) == 200
                assert len(served.server._connections) <= 20
            await until(lambda: not len(served.server._connections))
        assert await ask(served, ssl=trusted) == 200


@on_both_loops
async def test_who_speaks_no_tls_is_hung_up_on(certificates: Any) -> None:
    """Without an answer that could be read on the way, and without noise in the log."""
    async with serving(cert_file=certificates.server, key_file=certificates.server_key) as served:
        with capture_logs() as logs:
            assert await raw(served.port, SLOW["answered"]) == b""
        assert logs == []


@on_both_loops
async def test_large_bodies_come_through_tls(certificates: Any) -> None:
    """What a client sends right after the handshake is not lost."""
    trusted = ssl.create_default_context(cafile=certificates.ca)
    async with serving(cert_file=certificates.server, key_file=certificates.server_key) as served:
        for _ in range(20):
            async with aiohttp.ClientSession() as session:
                data = b"x" * 65_536
                async with session.post(f"{served.url}/webhook", data=data, ssl=trusted) as answer:
                    assert (await answer.json())["body"] == data.decode()
