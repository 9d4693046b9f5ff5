"""The WebSocket that a device opens itself, to the server that its configuration names."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

from aiohttp import ClientError, ClientSession, ClientTimeout

from simulator.shelly.channel import LARGEST_FRAME, Channels

if TYPE_CHECKING:
    from aiohttp import ClientWebSocketResponse

    from simulator.shelly.component import Connected

SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
CONNECT_TIMEOUT = 10.0
NAME = "ws"  # what the device calls the other side


async def connect_forever(service: Connected, channels: Channels) -> None:
    """Keep the connection up while the configuration that counts wants it; ends by being cancelled."""
    if not service.active["enable"] or not service.active["server"]:
        return
    pause = SHORTEST_PAUSE
    async with ClientSession(timeout=ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT)) as session:
        while True:
            with contextlib.suppress(ClientError, OSError, TimeoutError, ValueError):
                async with session.ws_connect(
                    service.active["server"],
                    ssl=_tls(service.active["ssl_ca"]),
                    protocols=("json-rpc",),
                    max_msg_size=LARGEST_FRAME,
                    heartbeat=30,
                ) as connection:
                    service.connected = True
                    pause = SHORTEST_PAUSE
                    await _use(connection, channels)
            service.connected = False
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


async def _use(connection: ClientWebSocketResponse, channels: Channels) -> None:
    try:
        await channels.converse(connection, "WS_out", NAME)
    except asyncio.CancelledError:  # the network is gone: no goodbye
        if stream := connection.get_extra_info("socket"):
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        raise


def _tls(authorities: str | None) -> bool | ssl.SSLContext:
    """Check the server's certificate unless the configuration says `*`."""
    return False if authorities in {"*", None} else ssl.create_default_context()
