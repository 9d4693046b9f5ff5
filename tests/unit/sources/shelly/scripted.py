"""A scripted device on loopback for what the simulated ones cannot do, and where its readings go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

import orjson
from aiohttp import WSMsgType, web

from edge_energy.clock import Clock
from edge_energy.collector import Collector
from edge_energy.increments import Increments
from edge_energy.interfaces import READING
from edge_energy.live import Live
from edge_energy.sources.shelly.recording import Receivers
from edge_energy.ways import Ways
from tests.unit.sources.mqtt.recorder import Disk

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_energy.interfaces import NewEntry

OWN_ID = "shellypro1pm-ec62608ab9a4"
DEVICE = "shelly-ec62608ab9a4"
INFO = {
    "name": "charging post",
    "id": OWN_ID,
    "mac": "EC62608AB9A4",
    "model": "SPSW-201PE16EU",
    "gen": 2,
    "ver": "1.7.5",
    "app": "Pro1PM",
    "auth_en": False,
    "auth_domain": None,
}
STATUS = {"switch:0": {"id": 0, "output": True, "apower": 5.2, "voltage": 232.1, "aenergy": {"total": 100.5}}}
VALUES = {"output": True, "power": 5.2, "voltage": 232.1}


class House:
    """A journal without a disk behind a real collector."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.disk = Disk()
        self.live = Live()
        self.clock = clock or Clock(lambda: True)
        self.collector = Collector(self.disk, self.live, self.clock, Ways(), Increments({}))
        self.receivers = Receivers(self.collector, self.live, self.clock)

    def recorded(self) -> list[tuple[NewEntry, dict[str, Any]]]:
        """Return all readings with their values."""
        self.disk.commit()
        return [(entry, orjson.loads(entry.body)) for entry in self.disk.entries if entry.kind == READING]


class Device:
    """A device that answers over HTTP and WebSocket as a test tells it; attributes may be replaced at any time."""

    def __init__(self) -> None:
        self.info: dict[str, Any] = dict(INFO)
        self.answer: Callable[[dict[str, Any]], dict[str, Any]] = lambda _request: {"result": STATUS}
        """Makes the rest of the answer to a request."""
        self.admit: Callable[[web.Request], web.Response | None] = lambda _request: None
        """Looks at each HTTP request but those for the WebSocket; may answer it itself."""
        self.sockets = True
        """Whether there is a WebSocket."""
        self.deaf = False
        """Whether its WebSockets answer nothing, not even a ping."""
        self.requests: list[str] = []
        """Paths of HTTP requests, methods of frames."""
        self.answers: list[dict[str, Any]] = []
        """To what it asked itself, by WebSocket."""
        self.open: list[web.WebSocketResponse] = []
        self.opened = 0
        self.fixed_port = 0
        self.port = 0

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get("/rpc", self._socket)
        application.router.add_route("*", "/{path:.*}", self._http)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.fixed_port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()
        await self._runner.cleanup()

    async def say(self, frame: dict[str, Any] | str) -> None:
        """Send a frame over every WebSocket."""
        for socket in self.open:
            await socket.send_str(frame if isinstance(frame, str) else orjson.dumps(frame).decode())

    async def cut(self) -> None:
        """End every WebSocket."""
        for socket in list(self.open):
            await socket.close()

    async def _http(self, request: web.Request) -> web.Response:
        self.requests.append(request.path)
        answer = self.admit(request)
        if answer is None and request.path == "/rpc":
            answer = web.json_response(self._answer(await request.json()))
        answer = answer or web.json_response(self.info)
        answer.force_close()
        return answer

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        self.opened += 1
        if not self.sockets:
            return web.Response(status=404)
        socket = web.WebSocketResponse(timeout=0.1, autoping=not self.deaf)
        await socket.prepare(request)
        self.open.append(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT and not self.deaf:
                    asked = orjson.loads(message.data)
                    if "method" not in asked:
                        self.answers.append(asked)
                    elif answer := self._answer(asked):
                        await socket.send_str(orjson.dumps(answer).decode())
        finally:
            self.open.remove(socket)
        return socket

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a frame; nothing where the test gives None."""
        self.requests.append(request["method"])
        rest = self.answer(request)
        return {"id": request["id"], "src": OWN_ID, "dst": request["src"], **rest} if rest else {}


async def until(condition: Callable[[], Any], seconds: float = 5) -> None:
    """Wait for a condition without holding up the loop."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nobody tells of most of what tests wait for
            await asyncio.sleep(0.005)
