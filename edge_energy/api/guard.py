"""What every request passes before its handler: rate, host, origin, access, size; and the handler's time limit."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, cast

import structlog
from aiohttp import web

from edge_energy.api.answers import failure, retry_after
from edge_energy.api.hosts import Hosts, same_origin
from edge_energy.api.rates import Rates

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_energy.api.access import Access
    from edge_energy.api.connections import Connections
    from edge_energy.api.protocol import Connection
    from edge_energy.api.tokens import Token
    from edge_energy.config import Http

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger()

TOKEN: web.RequestKey[Token | None] = web.RequestKey("token")
"""Where a handler finds the token that let its request in."""
HANDLING = 35.0  # seconds; /send may wait for 30, and a commit takes a fraction of one unless the card is dying
BUSY_RETRY = 5  # seconds
MOST_LOGGED = 100  # unknown hosts
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """The middleware of the main application. It refuses in order of what a refusal costs."""

    def __init__(self, settings: Http, access: Access, hosts: Hosts, connections: Connections) -> None:
        self.rate_limited = 0
        self._max_body = settings.max_body
        self._access = access
        self._hosts = hosts
        self._rates = Rates(settings.rate_limit)
        self._connections = connections
        self._logged: set[str] = set()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse, or read the body and hand over to the handler."""
        for check in (self._rate, self._host, self._origin, self._permission, self._size):
            if (refusal := check(request)) is not None:
                return refusal
        connection = cast("Connection", request.protocol)  # which server.py makes
        if (refusal := await self._read(request, connection)) is not None:
            return refusal
        connection.complete()
        try:
            async with asyncio.timeout(HANDLING) as connection.handling:
                return await handler(request)
        except TimeoutError:
            log.error("a request took too long", seconds=HANDLING, route=_route(request))  # noqa: TRY400 - no defect
            return failure(503, "this took too long", headers=retry_after(BUSY_RETRY))
        finally:
            connection.handling = None

    # -- the checks: each returns a refusal or None -----------------------------------------------------------

    def _rate(self, request: web.Request) -> web.Response | None:
        wait = self._rates.wait(request.remote or "", asyncio.get_running_loop().time())
        if not wait:
            return None
        self.rate_limited += 1
        return failure(429, "too many requests from this address", headers=retry_after(math.ceil(wait)))

    def _host(self, request: web.Request) -> web.Response | None:
        if self._hosts.known(request.host):
            return None
        self._tell_once(request.host)
        return failure(421, "this server has another name: add the one you used to [http] allowed_hosts")

    def _tell_once(self, host: str) -> None:
        host = ascii(host[:100])
        if host not in self._logged and len(self._logged) < MOST_LOGGED:
            self._logged.add(host)
            log.warning("a request for an unknown host: if it is right, add it to [http] allowed_hosts", host=host)

    def _origin(self, request: web.Request) -> web.Response | None:
        """Refuse what a page of a stranger makes a browser send."""
        # An image needs no script. Browsers say whose page it is on, but only to a server with TLS and to localhost:
        # elsewhere [http] webhook_auth is what keeps them out.
        strange = request.headers.get("Sec-Fetch-Site") == "cross-site"
        if strange and self._access.changes_something(request.method, _route(request)):
            return failure(403, "pages of other servers may not do this", "Sec-Fetch-Site")
        origin = request.headers.get("Origin")
        if origin is None or (request.method in _READING and not _upgrade(request)):
            return None
        if same_origin(origin, request.host):
            return None
        return failure(403, "pages of other servers may not do this", "Origin")

    def _permission(self, request: web.Request) -> web.Response | None:
        if request.match_info.http_exception is not None:  # 404 or 405, which tell nothing that is secret
            raise request.match_info.http_exception
        route, method = _route(request), request.method
        header = request.headers.get("Authorization")
        presented = self._access.presented(method, route, header, request.query, request.match_info)
        decision = self._access.decide(method, route, presented)
        if decision.allowed:
            request[TOKEN] = decision.token
            return None
        headers = {"WWW-Authenticate": 'Bearer realm="edge-energy"'} if decision.status == 401 else None
        return failure(decision.status, decision.reason, headers=headers)

    def _size(self, request: web.Request) -> web.Response | None:
        if (request.content_length or 0) > self._max_body:
            return self._too_large()
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            return failure(415, "expected a body that is not compressed", "Content-Encoding", {"Accept-Encoding": ""})
        if _upgrade(request) and self._connections.sockets >= self._connections.most_sockets:
            return failure(503, "too many WebSockets", headers=retry_after(BUSY_RETRY))
        return None

    def _too_large(self) -> web.Response:
        return failure(413, f"expected a body of at most {self._max_body} bytes ([http] max_body)")

    async def _read(self, request: web.Request, connection: Connection) -> web.Response | None:
        """Read the whole body, so that no handler has to wait for a slow client or fail with it."""
        if not request.can_read_body:
            return None
        late = min(connection.deadline, asyncio.get_running_loop().time() + self._connections.timeout)
        try:
            async with asyncio.timeout_at(late):
                await request.read()
        except TimeoutError:
            self._connections.slow += 1
            refusal = failure(408, "the body came too slowly")
        except web.HTTPRequestEntityTooLarge:
            return self._too_large()
        except (web.RequestPayloadError, ConnectionError):
            refusal = failure(400, "the body is not what its headers announce")
        else:
            return None
        refusal.force_close()
        return refusal


def _route(request: web.Request) -> str:
    """Return the route as it was declared: it has no secrets in it."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""


def _upgrade(request: web.Request) -> bool:
    return "Upgrade" in request.headers
