"""The HTTP server for everybody but the command line: one application, with a part for each theme."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from edge_energy.api.answers import FULL_RETRY, dress, explained, failure, ok, retry_after
from edge_energy.api.connections import MOST_CONNECTIONS, MOST_SOCKETS, Connections
from edge_energy.api.guard import Guard
from edge_energy.api.hosts import Hosts
from edge_energy.api.protocol import Connection
from edge_energy.api.tls import TlsHandshake, tls_context
from edge_energy.errors import Unavailable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from edge_energy.api.access import Access
    from edge_energy.config import Http

FILES_ELSEWHERE = 256  # that the rest of the daemon may have open
STOPPING = 0.5  # seconds for requests at work; a commit is due within a quarter of one
_BACKLOG = 256


class HttpServer:
    """Serves sub-applications by prefix. A component: `run` listens until cancelled."""

    def __init__(
        self,
        settings: Http,
        access: Access,
        applications: Mapping[str, web.Application],
        writable: Callable[[], bool],
    ) -> None:
        """`applications` by their prefix, like "/webhook"; `writable` tells whether the journal accepts entries."""
        self.name = f"http {settings.host}:{settings.port}"
        self.up = asyncio.Event()
        self._settings = settings
        self._writable = writable
        self._connections = Connections(settings.timeout)
        hosts = Hosts(socket.gethostname(), settings.allowed_hosts)
        self._guard = Guard(settings, access, hosts, self._connections)
        self.application = web.Application(
            middlewares=[explained, self._guard.middleware], client_max_size=settings.max_body
        )
        self.application.router.add_get("/health", self._get_health)
        for prefix, application in applications.items():
            self.application.add_subapp(prefix, application)
        self.application.on_response_prepare.append(_dressed)
        self.application.on_shutdown.append(self._close_sockets)  # after those of the parts, which are kinder

    def status(self) -> dict[str, Any]:
        """Return what happened since the start."""
        connections = self._connections
        return {
            "kind": "http",
            "requests": {f"{hundreds}xx": count for hundreds, count in sorted(connections.answers.items())},
            "rate_limited": self._guard.rate_limited,
            "slow_clients": connections.slow,
            "displaced": connections.displaced,
            "connections": len(connections),
            "websockets": connections.sockets,
        }

    async def run(self) -> None:
        """Listen until cancelled. Raises `Unavailable` where that is not possible, naming the setting."""
        context = tls_context(self._settings)
        files = _allow_files(MOST_CONNECTIONS + MOST_SOCKETS)
        self._connections.most, self._connections.most_sockets = files * 2 // 3, files // 3
        runner = web.AppRunner(self.application, access_log=None, shutdown_timeout=STOPPING)
        await runner.setup()
        try:
            listening = await self._listen(runner, context)
            try:
                self.up.set()
                await self._connections.watch()
            finally:
                listening.close()
        finally:
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner, context: ssl.SSLContext | None) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        server, connections = cast("web.Server", runner.server), self._connections
        server.request_handler = _expecting_nothing(server.request_handler)

        def accept() -> asyncio.Protocol:
            connection = Connection(connections, server, loop)
            return connection if context is None else TlsHandshake(connections, connection, context)

        host, port = self._settings.host, self._settings.port
        try:
            return await loop.create_server(accept, host, port, backlog=_BACKLOG)
        except OSError as error:
            raise Unavailable(_explanation(error, host, port)) from None

    async def _get_health(self, _request: web.Request) -> web.Response:
        if self._writable():
            return ok()
        return failure(503, "the disk is full: nothing is recorded", headers=retry_after(FULL_RETRY))

    async def _close_sockets(self, _application: web.Application) -> None:
        self._connections.close_sockets()


def _expecting_nothing(handle: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse what a client expects beyond 100-continue: aiohttp would repeat it, and fail where it is no UTF-8."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect", "100-continue").lower() == "100-continue":
            answer: web.StreamResponse = await handle(request)
            return answer
        answer = failure(417, "expected nothing but 100-continue", "Expect")
        dress(answer)
        return answer

    return handler


async def _dressed(_request: web.Request, answer: web.StreamResponse) -> None:
    dress(answer)


def _explanation(error: OSError, host: str, port: int) -> str:
    """Return which setting makes it impossible to listen."""
    if error.errno == errno.EADDRINUSE:
        return f"[http] port = {port}: another program listens on it; stop it, or choose another port"
    if error.errno == errno.EACCES:
        return f"[http] port = {port}: the daemon may not listen on it; choose one above 1023"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f'[http] host = "{host}": this machine has no such address; "0.0.0.0" listens on all'
    return f'[http] host = "{host}", port = {port}: {error}'


def _allow_files(connections: int) -> int:
    """Raise the soft limit of open files where it is too low; return how many connections there may be."""
    needed = connections + FILES_ELSEWHERE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(16, min(connections, allowed - FILES_ELSEWHERE))
