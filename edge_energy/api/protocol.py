"""One connection to a client of the HTTP server: aiohttp's, with limits."""

from __future__ import annotations

import re
from math import inf
from typing import TYPE_CHECKING, Any, cast

import structlog
from aiohttp import web

from edge_energy.api.answers import dress, failure
from edge_energy.api.connections import owner_of

if TYPE_CHECKING:
    import asyncio

    from edge_energy.api.connections import Connections

log = structlog.get_logger()

KEEP_ALIVE = 75.0  # seconds an idle connection is kept; a proxy in front keeps its own for 60
LINGERING = 2.0  # seconds in which the rest of a refused body is read, so that the refusal arrives
LARGEST_LINE = 8_190  # bytes of the request line, or of one header
LARGEST_HEAD = 32_768  # bytes in all; as many bytes as headers are allowed times the above is too much for a Pi
MOST_HEADERS = 64
_QUOTATION = re.compile(r"\n|:? \"?(?:bytearray\()?b['\"]")
"""Where aiohttp, behind its reason, begins to repeat what came."""


class Connection(web.RequestHandler):
    """Tells `Connections` when a request is complete, answered or late. The guard tells it `complete`."""

    def __init__(self, connections: Connections, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        options: dict[str, Any] = {
            "keepalive_timeout": KEEP_ALIVE,
            "lingering_time": LINGERING,
            "max_line_size": LARGEST_LINE,
            "max_field_size": LARGEST_LINE,
            "max_headers": MOST_HEADERS,
            "auto_decompress": False,  # no device compresses, and a small body could become a huge one
            "access_log": None,
        }
        super().__init__(server, loop=loop, **options)
        self.owner = ""
        self.deadline = loop.time() + connections.timeout
        self.handling: asyncio.Timeout | None = None
        """The time limit of the handler at work."""
        self._connections = connections
        self._answered = 0
        self._head = 0
        """Bytes of a request that is not known to be one yet."""
        self._stalled = inf
        self._body: Any = None
        """Of the last answered request: what of it has not arrived yet is no new request."""

    def complete(self) -> None:
        """Be told by the guard that the whole request is here."""
        self.deadline = inf
        self._connections.has_request(self)

    def stalled(self, now: float) -> float:
        """See `Held`."""
        return now - self._stalled

    def expire(self) -> None:
        """See `Held`. A browser that connects in advance and then asks nothing is told nothing."""
        if self._head:
            self._refuse("408 Request Timeout")
        else:
            self.drop()

    def drop(self) -> None:
        """See `Held`."""
        self._wire.abort()

    # -- what aiohttp tells -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place."""
        super().connection_made(transport)
        self._wire = cast("asyncio.Transport", transport)  # aiohttp forgets it while it still holds unread answers
        self.owner = owner_of(transport)
        self._connections.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Free the place."""
        super().connection_lost(exc)
        self._connections.closed(self)

    def data_received(self, data: bytes) -> None:
        """Watch the head of a request: the clock runs from its first byte, and its size is limited."""
        super().data_received(data)
        if self._upgraded or self._request_count > self._answered or not (self._body is None or self._body.is_eof()):
            self._head = 0
            return
        if not self._head:
            self.deadline = min(self.deadline, self._loop.time() + self._connections.timeout)
        self._head += len(data)
        if self._head > LARGEST_HEAD:
            self._refuse("431 Request Header Fields Too Large")

    def pause_writing(self) -> None:
        """Note since when the client does not read."""
        super().pause_writing()
        self._stalled = self._loop.time()

    def resume_writing(self) -> None:
        """Note that it does."""
        super().resume_writing()
        self._stalled = inf

    def set_parser(self, *arguments: Any, **options: Any) -> None:
        """Become a WebSocket, which may live long."""
        super().set_parser(*arguments, **options)
        if self.handling is not None:
            self.handling.reschedule(None)
        self._connections.became_socket(self)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer, count it, and wait for the next request."""
        finished = await super().finish_response(request, resp, start_time)
        self._connections.answers[finished[0].status // 100] += 1
        self._connections.await_request(self)
        self._answered += 1
        self._body = request.content
        self.deadline = inf
        return finished

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP with 400 and no noise in the log, and a defect of ours with 500 and a traceback."""
        if status >= 500:
            log.error("a defect in answering a request", exc_info=exc)
            message = "a defect of this server; its log says more"
        if request.writer.output_size > 0:
            raise ConnectionError("a part of an answer was sent already")
        reason = _QUOTATION.split(message or "", maxsplit=1)[0]  # what came may have a token in it
        answer = dress(failure(status, reason.rstrip(": ") or "not a request"))
        answer.force_close()
        return answer

    def _refuse(self, status: str) -> None:
        """Answer where no request was recognised, and hang up."""
        if self.transport is not None:
            self.transport.write(f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
            self.close()
            self.transport.close()
