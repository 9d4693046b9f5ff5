"""The HTTP server of a Gen2 device: /rpc in all its forms, /shelly, and /relay/0 of old."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from simulator.shelly import rpc
from simulator.shelly.channel import LARGEST_FRAME, Channels

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.shelly.digest import Refusal
    from simulator.shelly.faults import Faults
    from simulator.shelly.node import Node

SERVER = "ShellyHTTP/1.0.0"
SOURCE = "HTTP_in"


class Gen2Http:
    """The routes of one device; `flush` sends out what a request changed."""

    def __init__(self, node: Node, channels: Channels, faults: Faults, flush: Callable[[], None]) -> None:
        self._node = node
        self._channels = channels
        self._faults = faults
        self._flush = flush

    def application(self) -> web.Application:
        """Make the application; one for each time that the server starts."""
        application = web.Application(client_max_size=LARGEST_FRAME)
        application.router.add_get("/rpc", self._socket)
        application.router.add_post("/rpc", self._frame)
        application.router.add_route("*", "/rpc/{method}", self._method)
        application.router.add_get("/shelly", self._shelly)
        application.router.add_get("/relay/0", self._relay)
        return application

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=LARGEST_FRAME, protocols=("json-rpc",))
        if not socket.can_prepare(request).ok:
            return await self._send({"code": 400, "message": "Bad request"}, 400)
        await socket.prepare(request)
        await self._channels.converse(socket, "WS_in")
        return socket

    async def _frame(self, request: web.Request) -> web.Response:
        payload = await request.read()
        wanted = rpc.parse(payload)
        if wanted is None:
            return await self._send({"code": -103, "message": "Invalid request"}, 400)
        if refusal := self._refusal(request, wanted.method):
            return await self._refuse(refusal)
        try:
            outcome = self._node.call(wanted.method, wanted.params, SOURCE)
        except rpc.RpcError as error:
            outcome = error
        return await self._send(rpc.answer(wanted, self._node.device.identity.id, outcome))

    async def _method(self, request: web.Request) -> web.Response:
        name = request.match_info["method"]
        if refusal := self._refusal(request, name):
            return await self._refuse(refusal)
        try:
            params = {key: _value(text) for key, text in request.query.items()} | await _body(request)
            return await self._send(self._node.call(name, params, SOURCE))
        except rpc.RpcError as error:
            return await self._send(error.body, 404 if error.code == 404 else 500)

    async def _shelly(self, _: web.Request) -> web.Response:
        return await self._send(self._node.device.info())

    async def _relay(self, request: web.Request) -> web.Response:
        """Answer the Gen1 way to switch, which Gen2 devices still understand."""
        if refusal := self._refusal(request, ""):
            return await self._refuse(refusal)
        switch, turn = self._node.device.switch, request.query.get("turn")
        if switch is None:
            return await self._send({"code": 404, "message": "Not found"}, 404)
        if turn in {"on", "off"}:
            after = _value(request.query.get("timer", "null"))
            params = {"id": 0, "on": turn == "on"} | ({"toggle_after": after} if after else {})
            try:
                self._node.call("Switch.Set", params, SOURCE)
            except rpc.RpcError as error:
                return await self._send(error.body, 500)
        status, relay = switch.status(), switch.relay
        return await self._send(
            {
                "ison": status["output"],
                "has_timer": relay.timer is not None,
                "timer_started_at": status.get("timer_started_at", 0),
                "timer_duration": relay.duration,
                "timer_remaining": round(relay.remaining, 2),
                "overpower": "overpower" in status.get("errors", ()),
                "source": "http",
            }
        )

    def _refusal(self, request: web.Request, name: str) -> Refusal | None:
        authorization = request.headers.get("Authorization")
        return self._node.admit(request.method, request.raw_path, authorization, name)

    async def _refuse(self, refusal: Refusal) -> web.Response:
        response = await self._send({"code": refusal.code, "message": refusal.message}, refusal.code)
        if refusal.header:
            response.headers["WWW-Authenticate"] = refusal.header
        return response

    async def _send(self, body: Any, status: int = 200) -> web.Response:
        """Make the answer, in time or late, sound or spoilt; the connection ends with it."""
        self._flush()
        if self._faults.slow:
            await asyncio.sleep(self._faults.slow)
        text = self._faults.spoil(orjson.dumps(body).decode())
        response = web.Response(text=text, status=status, content_type="application/json", headers={"Server": SERVER})
        response.force_close()
        return response


def _value(text: str) -> Any:
    """Read a parameter of a query: JSON where it is any, else a text."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


async def _body(request: web.Request) -> rpc.Json:
    if request.method != "POST" or not (payload := await request.read()):
        return {}
    params = _value(payload.decode(errors="replace"))
    if not isinstance(params, dict):
        raise rpc.RpcError(-103, "Invalid request")
    return params
