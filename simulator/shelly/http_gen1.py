"""The HTTP server of a Gen1 device."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from simulator.shelly import gen1_answers as answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.shelly.counts import Counts
    from simulator.shelly.faults import Faults
    from simulator.shelly.gen1 import Gen1Device

REALM = 'Basic realm="Shelly"'


class Gen1Http:
    """The routes of one device; `flush` sends out what a request changed."""

    def __init__(self, device: Gen1Device, faults: Faults, counts: Counts, flush: Callable[[], None]) -> None:
        self._device = device
        self._faults = faults
        self._counts = counts
        self._flush = flush

    def application(self) -> web.Application:
        """Make the application; one for each time that the server starts."""
        application = web.Application()
        device = self._device
        self._add(application, "/shelly", lambda _: answers.shelly(device), protected=False)
        self._add(application, "/status", lambda _: answers.status(device))
        self._add(application, "/settings", lambda _: answers.settings(device))
        self._add(application, "/relay/0", self._relay)
        self._add(application, "/meter/0", lambda _: answers.meter(device))
        self._add(application, "/reboot", self._reboot)
        return application

    def _add(
        self,
        application: web.Application,
        path: str,
        answer: Callable[[web.Request], Any],
        *,
        protected: bool = True,
    ) -> None:
        async def handle(request: web.Request) -> web.Response:
            self._counts.requests += 1
            if protected and not self._device.admits(request.headers.get("Authorization")):
                self._counts.unauthorized += 1
                return await self._send("401 Unauthorized", 401)
            return await self._send(answer(request))

        application.router.add_get(path, handle)

    def _relay(self, request: web.Request) -> Any:
        claims = self._device.turn(request.query)
        return answers.relay(self._device) | claims

    def _reboot(self, _: web.Request) -> Any:
        self._device.reboot_at = 0.0
        return {"ok": True}

    async def _send(self, body: Any, status: int = 200) -> web.Response:
        self._flush()
        if self._faults.slow:
            await asyncio.sleep(self._faults.slow)
        text = self._faults.spoil(orjson.dumps(body).decode())
        response = web.Response(text=text, status=status, content_type="application/json")
        if status == 401:
            response.headers["WWW-Authenticate"] = REALM
        response.force_close()
        return response
