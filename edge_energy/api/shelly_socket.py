"""Where Shelly devices dial in: their outbound WebSockets. The guard has checked the secret in the path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from edge_energy.api.answers import failure
from edge_energy.api.guard import TOKEN

if TYPE_CHECKING:

    class Outbound(Protocol):
        """Who reads the sockets."""

        async def serve(self, socket: web.WebSocketResponse, address: str, owner: str) -> None:
            """Read one socket, dialled from an address with the token of this name, until it ends."""
            ...

        async def close(self) -> None:
            """End all of them."""
            ...


HEARTBEAT = 30.0  # seconds between pings; a line is dead when one is not answered in half of that
MAX_FRAME = 256 * 1024  # bytes; a full status has 5 KiB
CLOSE_TIMEOUT = 1.0  # seconds for the last word
_MAPPED = "::ffff:"  # an IPv4 address on a socket for both


def shelly_application(outbound: Outbound) -> web.Application:
    """Return the application for `/shelly`; its sockets end with it."""

    async def socket(request: web.Request) -> web.StreamResponse:
        answer = web.WebSocketResponse(
            heartbeat=HEARTBEAT,
            max_msg_size=MAX_FRAME,
            timeout=CLOSE_TIMEOUT,
            compress=False,
            protocols=("json-rpc",),
        )
        if not answer.can_prepare(request):
            return failure(426, "expected a WebSocket", headers={"Upgrade": "websocket"})
        await answer.prepare(request)
        token = request[TOKEN]
        owner = "" if token is None else token.name
        await outbound.serve(answer, (request.remote or "").removeprefix(_MAPPED), owner)
        return answer

    async def close(_application: web.Application) -> None:
        await outbound.close()

    application = web.Application()
    application.router.add_get("/ws/{secret}", socket, allow_head=False)
    application.on_shutdown.append(close)
    return application
