"""The one local door: HTTP on a unix socket, for the command line. The socket's permissions are its authorisation."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web

from edge_energy.api.answers import BadRequest, explained, json_response
from edge_energy.errors import JournalFull
from edge_energy.journal.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edge_energy.journal.journal import Journal
    from edge_energy.status import Status

MOST_ENTRIES = 10_000


class LocalApi:
    """Serves `status`, `devices` and `journal` to the command line, and what other parts add."""

    name = "local socket"

    def __init__(
        self, path: Path, status: Status, journal: Journal, routes: Iterable[web.AbstractRouteDef] = ()
    ) -> None:
        """`routes` are those of other parts; what they raise is answered as `answers.explained` says."""
        self.up = asyncio.Event()
        self._path = path
        self._status = status
        self._journal = journal
        self._routes = list(routes)

    async def run(self) -> None:
        """Serve until cancelled."""
        application = web.Application(middlewares=[explained])
        application.add_routes(
            [
                web.get("/status", self._get_status),
                web.get("/devices", self._get_devices),
                web.get("/journal/stats", self._get_stats),
                web.get("/journal/tail", self._get_tail),
                web.get("/journal/rejections", self._get_rejections),
                web.post("/journal/retry", self._post_retry),
                *self._routes,
            ]
        )
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            await web.UnixSite(runner, str(self._path)).start()
            self._path.chmod(0o660)
            self.up.set()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
            with suppress(OSError):
                self._path.unlink()

    async def _get_status(self, _request: web.Request) -> web.Response:
        return json_response(await self._status.report())

    async def _get_devices(self, _request: web.Request) -> web.Response:
        return json_response(self._status.devices())

    async def _get_stats(self, _request: web.Request) -> web.Response:
        return json_response(await self._status.journal())

    async def _get_tail(self, request: web.Request) -> web.Response:
        entries = await self._journal.tail(_count(request))
        return json_response([entry._asdict() for entry in entries])

    async def _get_rejections(self, request: web.Request) -> web.Response:
        with suppress(JournalFull):
            await self._journal.flush()
        set_aside = await self._journal.query(Reader.set_aside)
        unreadable = await self._journal.query(Reader.unreadable, _count(request))
        return json_response(
            {
                "set_aside": [{"sink": s, "position": p, "reason": r} for s, p, r in set_aside],
                "unreadable": [
                    {"time": t, "origin": o, "reason": r, "payload": p.decode(errors="backslashreplace")}
                    for t, o, r, p in unreadable
                ],
            }
        )

    async def _post_retry(self, request: web.Request) -> web.Response:
        sink = request.query.get("sink")
        if sink is not None and sink not in self._journal.outboxes:
            raise BadRequest(
                f"no sink named {sink!r}; configured: {', '.join(self._journal.outboxes) or 'none'}", status=404
            )
        return json_response({"retried": await self._journal.retry(sink)})


def _count(request: web.Request) -> int:
    try:
        return max(1, min(MOST_ENTRIES, int(request.query.get("count", "20"))))
    except ValueError:
        raise BadRequest("expected a number", "count") from None
