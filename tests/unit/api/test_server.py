"""The server listens where it is told, says why where it cannot, stops in good order, and starts again."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from edge_energy.api import server as module
from edge_energy.api.access import Access
from edge_energy.api.server import HttpServer
from edge_energy.api.tls import tls_context
from edge_energy.config import Http
from edge_energy.errors import Unavailable
from tests.servers.base import HOST, free_port
from tests.servers.certificates import make_certificates
from tests.unit.api.serving import applications, raw, running, serving, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def make(**settings: Any) -> HttpServer:
    http = Http(**{"host": HOST, **settings})
    return HttpServer(http, Access(lambda _text: None, webhook_auth=False), applications(), lambda: True)


async def health(url: str, **options: Any) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/health", **options) as answer:
        return answer.status


async def test_it_runs_again_after_a_failure() -> None:
    """The supervisor calls `run` of the same object until the port is free."""
    port = free_port()
    server = make(port=port)
    with closing(socket.create_server((HOST, port))):
        for _ in range(2):
            with pytest.raises(Unavailable, match=rf"^\[http\] port = {port}: another program"):
                await server.run()
            assert not server.up.is_set()
    for _ in range(3):
        async with running(server):
            assert await health(f"http://{HOST}:{port}") == 200
        with pytest.raises(aiohttp.ClientConnectorError):
            await health(f"http://{HOST}:{port}")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "192.0.2.1"}, r'\[http\] host = "192.0.2.1": this machine has no such address'),
        ({"host": "nowhere.invalid"}, r'\[http\] host = "nowhere.invalid": this machine has no such address'),
    ],
)
async def test_an_address_of_somebody_else_is_named(settings: dict[str, Any], words: str) -> None:
    """Network interfaces come up late; so it is tried again, and meanwhile said why not."""
    with pytest.raises(Unavailable, match=words):
        await make(port=free_port(), **settings).run()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda files: files["cert"].write_text("no certificate"),
        lambda files: files["key"].write_bytes(files["other"].read_bytes()),
        lambda files: files["key"].unlink(),
        lambda files: files["cert"].write_bytes(b"\x00\xff"),
    ],
)
async def test_a_bad_certificate_is_named(certificates: Any, tmp_path: Path, spoil: Callable[[Any], object]) -> None:
    """With its file, and without asking for a password on the terminal."""
    files = {"cert": tmp_path / "server.crt", "key": tmp_path / "server.key", "other": certificates.client_key}
    files["cert"].write_bytes(certificates.server.read_bytes())
    files["key"].write_bytes(certificates.server_key.read_bytes())
    server = make(port=free_port(), cert_file=files["cert"], key_file=files["key"])
    spoil(files)
    with pytest.raises(Unavailable, match=r"^\[http\] cert_file = .*server.crt.* key_file = .*server.key.*expected"):
        await server.run()


async def test_tls_is_1_2_at_least(certificates: Any) -> None:
    """What is older can be read on the way."""
    context = tls_context(Http(cert_file=certificates.server, key_file=certificates.server_key))
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert tls_context(Http()) is None
    trusted = ssl.create_default_context(cafile=certificates.ca)
    async with serving(cert_file=certificates.server, key_file=certificates.server_key) as served:
        assert await health(served.url, ssl=trusted) == 200


async def test_what_is_at_work_is_finished_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A webhook whose commit is under way gets its answer; what is idle does not delay the end."""
    monkeypatch.setattr(module, "STOPPING", 5.0)  # which no machine needs where nobody waits
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def work(_request: web.Request) -> web.Response:
        arrived.set()
        await go_on.wait()
        return web.Response(text="done")

    application = web.Application()
    application.router.add_get("", work, allow_head=False)
    request = b"GET /webhook HTTP/1.1\r\nHost: localhost\r\n\r\n"
    server = HttpServer(
        Http(host=HOST, port=(port := free_port())),
        Access(lambda _text: None, webhook_auth=False),
        {"/webhook": application},
        lambda: True,
    )
    task = asyncio.create_task(server.run())
    await server.up.wait()
    _, idle = await asyncio.open_connection(HOST, port)
    answer = asyncio.create_task(raw(port, request))
    await arrived.wait()
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    assert (await answer).endswith(b"done")
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < module.STOPPING
    idle.close()


async def test_what_hangs_does_not_delay_the_end_for_long() -> None:
    """Systemd would kill us."""

    async def hang(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    application = web.Application()
    application.router.add_get("", hang, allow_head=False)
    async with serving(parts={"/webhook": application}) as served:
        hanging = asyncio.create_task(raw(served.port, b"GET /webhook HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        await until(lambda: served.server._connections and not served.server._connections._waiting)
        began = time.monotonic()
    assert time.monotonic() - began < 3 * module.STOPPING
    await hanging


async def test_the_parts_say_goodbye_first() -> None:
    """A part that holds WebSockets closes them in its own words before the server cuts what is left."""
    order = []

    async def goodbye(_application: web.Application) -> None:
        order.append("part")

    parts = applications()
    parts["/shelly"].on_shutdown.append(goodbye)
    async with serving(parts=parts) as served:
        close = served.server._connections.close_sockets
        served.server._connections.close_sockets = lambda: (order.append("server"), close())[1]  # type: ignore[method-assign, func-returns-value]
    assert order == ["part", "server"]


async def test_the_status_counts_what_happened() -> None:
    """By class of answer, also what never reached a handler."""
    async with serving() as served:
        await health(served.url)
        await raw(served.port, b"nonsense\r\n\r\n")
        async with (
            aiohttp.ClientSession(served.url) as session,
            session.get("/nowhere"),
            session.get("/webhook/full"),
        ):
            assert served.server.status()["connections"] >= 1
        assert served.server.status()["requests"] == {"2xx": 1, "4xx": 2, "5xx": 1}
        await until(lambda: not served.server.status()["connections"])
    assert served.server.name == f"http {HOST}:{served.port}"


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "connections"),
    [
        (4096, 4096, None, 768),
        (256, 4096, 1024, 768),
        (256, 512, 512, 256),
        (256, 256, 256, 16),
        (256, resource.RLIM_INFINITY, 1024, 768),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None, 768),
    ],
)
def test_files_are_enough_for_the_connections(
    soft: int, hard: int, raised: int | None, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The soft limit is raised as far as needed and allowed; where that is not enough, fewer are taken."""
    limits = []
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _what, found: limits.append(found))
    assert module._allow_files(768) == connections
    assert limits == ([] if raised is None else [(raised, hard)])


async def test_tokens_are_never_logged() -> None:
    """Neither in the path, nor in the query, nor in a header, whatever goes wrong with the request."""
    secret = "ee_0123abcd_" + "S" * 43
    with capture_logs() as logs:
        async with serving(webhook_auth=True) as served, aiohttp.ClientSession(served.url) as session:
            for path in (f"/webhook?token={secret}", f"/shelly/ws/{secret}", f"/{secret}", f"/webhook/{secret}"):
                for host in ("localhost", "evil.example"):
                    headers = {"Authorization": f"Bearer {secret}", "Host": host}
                    async with session.get(path, headers=headers) as answer:
                        assert secret not in await answer.text()
    assert "SSSS" not in str(logs)
