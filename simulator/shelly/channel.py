"""One WebSocket of a Gen2 device, whoever opened it: requests in, answers and notifications out."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import orjson
from aiohttp import ClientConnectionError, WSMsgType

from simulator.shelly import rpc

if TYPE_CHECKING:
    from aiohttp import ClientWebSocketResponse, web

    from simulator.shelly.counts import Counts
    from simulator.shelly.faults import Faults
    from simulator.shelly.gen2 import News
    from simulator.shelly.node import Node

    Socket = ClientWebSocketResponse | web.WebSocketResponse

QUEUE = 200  # frames; who reads more slowly is cut off
LARGEST_FRAME = 64 * 1024


class Channels:
    """The open WebSockets of one device."""

    def __init__(self, node: Node, faults: Faults, counts: Counts) -> None:
        self._node = node
        self._faults = faults
        self._counts = counts
        self._open: set[Channel] = set()

    def tell(self, news: list[News]) -> None:
        """Send notifications to everybody who has said who they are."""
        for channel in self._open:
            if channel.dst:
                self._counts.notifications += len(news)
                for method, params in news:
                    channel.offer(rpc.notification(self._node.device.identity.id, channel.dst, method, params))

    async def converse(self, socket: Socket, source: str, dst: str | None = None) -> None:
        """Serve one WebSocket until it ends; with a `dst` the device opened it and trusts the other side."""
        channel = Channel(socket, self._faults, dst)
        self._open.add(channel)
        writer = asyncio.create_task(channel.write())
        try:
            if dst:
                self.tell_one(channel, self._node.device.full_status())
            async for message in socket:
                if message.type not in {WSMsgType.TEXT, WSMsgType.BINARY}:
                    break
                await self._receive(channel, message.data, source, trusted=dst is not None)
        finally:
            self._open.discard(channel)
            writer.cancel()

    def tell_one(self, channel: Channel, news: News) -> None:
        """Send a notification to one."""
        self._counts.notifications += 1
        device = self._node.device.identity.id
        channel.offer(rpc.notification(device, channel.dst or "", news.method, news.params))

    async def _receive(self, channel: Channel, payload: str | bytes, source: str, *, trusted: bool) -> None:
        answer = self._node.answer_frame(payload, source, trusted=trusted)
        if answer is None:
            return
        if not trusted:
            channel.dst = answer.get("dst") or channel.dst
        if self._faults.slow:
            await asyncio.sleep(self._faults.slow)
        channel.offer(answer)


class Channel:
    """One WebSocket and what waits to be sent over it; `dst` is the name of the other side, None until known."""

    def __init__(self, socket: Socket, faults: Faults, dst: str | None) -> None:
        self.dst = dst
        self._socket = socket
        self._faults = faults
        self._queue: asyncio.Queue[str] = asyncio.Queue(QUEUE)

    def offer(self, frame: rpc.Json) -> None:
        """Send a frame soon; when too many wait, they and this one are lost."""
        with contextlib.suppress(asyncio.QueueFull):
            self._queue.put_nowait(orjson.dumps(frame).decode())

    async def write(self) -> None:
        """Send what waits, until the connection ends."""
        with contextlib.suppress(ClientConnectionError, ConnectionError):
            while True:
                await self._socket.send_str(self._faults.spoil(await self._queue.get()))
