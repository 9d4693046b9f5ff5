"""What every request passes before its handler."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from typing import Any

import aiohttp
import orjson
import pytest
from structlog.testing import capture_logs

from edge_energy.api import guard
from tests.servers.base import HOST
from tests.unit.api.serving import RAISED, raw, serving, until


async def ask(url: str, method: str = "GET", **options: Any) -> tuple[int, dict[str, str], Any]:
    """Return status, headers and decoded body of an answer, checked for what all have in common."""
    async with aiohttp.ClientSession() as session, session.request(method, url, **options) as answer:
        assert answer.headers["Server"] == "edge-energy"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        body = json.loads(await answer.read() or b"{}")
        assert method == "HEAD" or body["status"] == ("ok" if answer.status < 400 else "error")
        return answer.status, dict(answer.headers), body


async def test_a_good_request_reaches_its_handler_whole() -> None:
    """Path, query and body; GET and POST; the three forms of the path."""
    async with serving() as served:
        for path, device in (("", ""), ("/", ""), ("/plug", "plug")):
            status, _, body = await ask(f"{served.url}/webhook{path}?power=1&power=2", "POST", data=b"x" * 60_000)
            assert status == 200
            assert (body["device"], body["query"]) == (device, [["power", "1"], ["power", "2"]])
            assert len(body["body"]) == 60_000
            assert (await ask(f"{served.url}/webhook{path}"))[0] == 200


@pytest.mark.parametrize(
    ("raised", "status", "words", "headers"),
    [
        ("bad", 400, "power: expected a number", {}),
        ("unreadable", 400, "not JSON", {}),
        ("full", 503, "the disk is full", {"Retry-After": "5"}),
        ("many", 503, "more than 5000", {"Retry-After": "60"}),
        ("gone", 410, "gone", {}),
        ("late", 503, "too long", {"Retry-After": "5"}),
        ("defect", 500, "a defect of this server", {}),
    ],
)
async def test_what_a_handler_raises_is_answered(
    raised: str, status: int, words: str, headers: dict[str, str]
) -> None:
    """Each error of ours has its status; a defect says nothing of itself to the caller, but all to the log."""
    async with serving() as served:
        with capture_logs() as logs:
            found = await ask(f"{served.url}/webhook/{raised}")
        assert found[0] == status
        assert words in found[2]["error"]
        assert headers.items() <= found[1].items()
        defects = [line["exc_info"] for line in logs if "defect" in line["event"]]
        assert defects == ([RAISED["defect"]] if status == 500 else [])


async def test_what_is_not_there_is_said_as_json() -> None:
    """404, and 405 with the methods that there are."""
    async with serving() as served:
        assert (await ask(f"{served.url}/nowhere"))[0] == 404
        assert (await ask(f"{served.url}/webhook/a/b"))[0] == 404
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"):
            status, headers, _ = await ask(f"{served.url}/webhook", method)
            assert (status, headers["Allow"]) == (405, "GET,POST")


async def test_health_is_the_journals() -> None:
    """Without a token; 503 while nothing can be recorded."""
    full = False
    async with serving(writable=lambda: not full) as served:
        assert (await ask(f"{served.url}/health"))[0] == 200
        assert (await ask(f"{served.url}/health", "HEAD"))[0] == 200
        full = True
        status, headers, _ = await ask(f"{served.url}/health")
        assert (status, headers["Retry-After"]) == (503, "5")


async def test_a_strangers_name_is_refused_and_told_once() -> None:
    """The answer and the log name the setting; inventing names does not fill the log."""
    async with serving(allowed_hosts=["energy.example.org"]) as served:
        with capture_logs() as logs:
            for _ in range(3):
                status, _, body = await ask(f"{served.url}/webhook", headers={"Host": "evil.example"})
                assert status == 421
                assert "[http] allowed_hosts" in body["error"]
            for number in range(guard.MOST_LOGGED * 2):
                await ask(f"{served.url}/webhook", headers={"Host": f"evil-{number}.example"})
            for host in ("energy.example.org:80", "localhost", socket.gethostname(), "192.0.2.7:8000"):
                assert (await ask(f"{served.url}/webhook", headers={"Host": host}))[0] == 200
        assert sum("evil.example" in line.get("host", "") for line in logs) == 1
        assert len(logs) == guard.MOST_LOGGED


@pytest.mark.parametrize(
    ("method", "origin", "status"),
    [
        ("POST", "http://evil.example", 403),
        ("POST", "null", 403),
        ("POST", "http://{host}", 200),
        ("POST", "http://localhost:1", 403),
        ("GET", "http://evil.example", 200),
    ],
)
async def test_pages_of_strangers_change_nothing(method: str, origin: str, status: int) -> None:
    """A browser in the house says whose page makes it send; devices say nothing."""
    async with serving() as served:
        headers = {"Origin": origin.format(host=f"{HOST}:{served.port}")}
        assert (await ask(f"{served.url}/webhook", method, headers=headers))[0] == status


async def test_pages_of_strangers_open_no_websocket() -> None:
    """Browsers let any page open one to anywhere."""
    async with serving() as served:
        headers = {"Origin": "http://evil.example", "Connection": "upgrade", "Upgrade": "websocket"}
        assert (await ask(f"{served.url}/webhook", headers=headers))[0] == 403


async def test_who_asks_too_often_is_told_when_to_come_back() -> None:
    """429 with Retry-After for one address, nothing for another; the rest of the house goes on."""
    async with serving(rate_limit=5) as served:
        found = [await ask(f"{served.url}/webhook") for _ in range(15)]
        refused = [headers for status, headers, _ in found if status == 429]
        assert [status for status, _, _ in found[:10]] == [200] * 10
        assert len(refused) >= 3
        assert {headers["Retry-After"] for headers in refused} == {"1"}
        assert served.server.status()["rate_limited"] == len(refused)
        other = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        async with aiohttp.ClientSession(connector=other) as session, session.get(f"{served.url}/webhook") as answer:
            assert answer.status == 200


async def test_a_body_has_a_limit_however_it_is_sent() -> None:
    """Announced or in chunks; the refusal arrives although the client is still sending."""

    async def chunks(count: int) -> Any:
        for _ in range(count):
            yield b"x" * 1024

    async with serving(max_body="2KiB") as served:
        url = f"{served.url}/webhook"
        assert (await ask(url, "POST", data=b"x" * 2048))[0] == 200
        assert (await ask(url, "POST", data=chunks(2)))[0] == 200
        for data in (b"x" * 2049, io.BytesIO(b"x" * 5_000_000), chunks(3), chunks(3000)):
            status, _, body = await ask(url, "POST", data=data)
            assert status == 413
            assert "[http] max_body" in body["error"]


async def test_compressed_bodies_are_refused() -> None:
    """A small one could become a huge one, and no device compresses."""
    async with serving() as served:
        for coding in ("gzip", "deflate", "br", "nonsense"):
            status, _, body = await ask(
                f"{served.url}/webhook", "POST", data=b"x", headers={"Content-Encoding": coding}
            )
            assert (status, body["parameter"]) == (415, "Content-Encoding")
        identity = {"Content-Encoding": "identity"}
        assert (await ask(f"{served.url}/webhook", "POST", data=b"x", headers=identity))[0] == 200


@pytest.mark.parametrize("body", [b"5\r\nab", b"zz\r\nab\r\n", b"-1\r\n\r\n", b"5\r\nabcdefgh\r\n", b"\xff\r\n"])
async def test_broken_chunks_are_a_bad_request(body: bytes) -> None:
    """Also where the client hangs up in the middle: nothing of it reaches a handler, or the log."""
    head = b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    async with serving(timeout="1s") as served:
        with capture_logs() as logs:
            answer = await raw(served.port, head + body)
        assert answer[9:12] in (b"400", b"408")
        assert logs == []


async def test_a_client_that_goes_away_is_no_event() -> None:
    """In the head, in the body, and while its answer is being made."""
    async with serving() as served:
        with capture_logs() as logs:
            for data in (b"GET /web", b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab"):
                _, writer = await asyncio.open_connection(HOST, served.port)
                writer.write(data)
                await writer.drain()
                await until(lambda: len(served.server._connections))
                writer.transport.abort()
                await until(lambda: not len(served.server._connections))
        assert logs == []


async def test_a_handler_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a dying card a commit may take minutes; the device has long gone, its connection has not."""
    monkeypatch.setattr(guard, "HANDLING", 0.05)
    from aiohttp import web  # noqa: PLC0415 - beside its only use

    async def hang(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    application = web.Application()
    application.router.add_get("", hang, allow_head=False)
    async with serving(parts={"/webhook": application}) as served:
        status, headers, _ = await ask(f"{served.url}/webhook")
        assert (status, headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize("expected", [b"tea", b")\xaa_IR"])
async def test_an_expectation_that_nobody_knows_is_refused(expected: bytes) -> None:
    """Also one that is no UTF-8, which aiohttp's own answer would repeat."""
    async with serving() as served:
        answer = await raw(
            served.port,
            b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nExpect: " + expected + b"\r\nConnection: close\r\n\r\n",
        )
        assert answer.startswith(b"HTTP/1.1 417")
        assert b"aiohttp" not in answer


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 200 + b"\r\n",
    ],
)
async def test_what_is_no_http_is_400_and_no_noise(data: bytes) -> None:
    """A port scanner must not fill the log; versions are told to nobody."""
    async with serving() as served:
        with capture_logs() as logs:
            answer = await raw(served.port, data)
        assert answer[9:12] == b"400", answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == "error"
        assert b"Server: edge-energy\r\n" in answer
        assert logs == []


@pytest.mark.parametrize(
    ("site", "path", "status"),
    [
        ("cross-site", "/webhook?power=1", 403),
        ("cross-site", "/health", 200),
        ("same-origin", "/webhook?power=1", 200),
        ("none", "/webhook?power=1", 200),  # typed by hand
    ],
)
async def test_an_image_on_a_page_of_a_stranger_records_nothing(site: str, path: str, status: int) -> None:
    """Browsers send no Origin with it, but (with TLS, and to localhost) say that the page is of another site."""
    async with serving() as served:
        assert (await ask(f"{served.url}{path}", headers={"Sec-Fetch-Site": site}))[0] == status


@pytest.mark.parametrize(
    "head",
    [
        b"GET /webhook?token=SECRET&power=\xd9\xa3 HTTP/1.1\r\n\r\n",
        b"GET /webhook?token=SECRET&x=" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /webhook HTTP/1.1\r\nAuthorization: Bearer SECRET" + b"a" * 9_000 + b"\r\n\r\n",
        b"GET /webhook HTTP/1.1\r\nAuthorization : Bearer SECRET\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_not_repeated(head: bytes) -> None:
    """There may be a token in it; why it is none is said all the same."""
    async with serving() as served:
        answer = await raw(served.port, head)
    assert b" 400 " in answer.splitlines()[0]
    assert b"SECRET" not in answer
    assert len(orjson.loads(answer.partition(b"\r\n\r\n")[2])["error"]) > 10


async def test_a_body_that_is_announced_too_large_is_not_waited_for() -> None:
    """The refusal comes while the device still sends, or never does."""
    async with serving(max_body="1KiB", timeout="60s") as served:
        head = f"POST /webhook HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1025\r\nConnection: close\r\n\r\n"
        assert (await raw(served.port, head.encode(), timeout=5)).startswith(b"HTTP/1.1 413 ")
