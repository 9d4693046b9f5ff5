"""Commands for devices that are not here: published for the appliance that has them."""

from __future__ import annotations

import asyncio
from math import ceil
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from aiohttp import web

from edge_energy.api.answers import BadRequest, failure, json_response, retry_after
from edge_energy.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger()

SENT = "command sent"
MOST_PENDING = 64  # commands
_AWAY_RETRY = 5  # seconds
_LONGEST_RETRY = 300
_ELSEWHERE = "no device here is called so: the appliance that has it tells how it ends, in its topic of commands"


class Publisher(Protocol):
    """The way to the cloud."""

    async def close(self) -> None:
        """Disconnect; `publish` connects again."""
        ...

    async def publish(self, body: Mapping[str, Any]) -> str:
        """Publish a command; return the id of the message once it was accepted. Raises `Unavailable`."""
        ...


class Elsewhere:
    """Publishes each command once, however often it is sent while it is at work."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._pending: dict[str, tuple[Mapping[str, Any], asyncio.Task[Unavailable | None]]] = {}
        """By id: what nobody has accepted yet."""

    async def close(self, _: web.Application) -> None:
        """End the connection when the server does."""
        await self._publisher.close()

    async def send(self, body: Mapping[str, Any], *, waiting: bool) -> web.Response:
        """Publish a command and answer; `waiting` says that the outcome was asked for, which nobody here knows."""
        task = self._submit(body)
        await asyncio.wait([task])  # it goes on when whoever waits goes away
        if task.cancelled():
            return failure(503, "the daemon stops", headers=retry_after(_AWAY_RETRY))
        if (error := task.result()) is not None:
            seconds = min(ceil(error.retry_after or _AWAY_RETRY), _LONGEST_RETRY)
            return failure(503, f"not published: {error}", headers=retry_after(seconds))
        answer = {"status": SENT, "command_id": body["command_id"]}
        if waiting:
            return json_response({**answer, "outcome": "pending", "reason": _ELSEWHERE}, 202)
        return json_response(answer)

    def _submit(self, body: Mapping[str, Any]) -> asyncio.Task[Unavailable | None]:
        number = body["command_id"]
        if number in self._pending:
            known, task = self._pending[number]
            if known != body:
                raise BadRequest("another command with this id is at work", "command_id", 409)
            return task
        if len(self._pending) >= MOST_PENDING:
            raise web.HTTPServiceUnavailable(text=f"{MOST_PENDING} commands are being published already")
        task = asyncio.create_task(self._publish(body))
        self._pending[number] = body, task
        task.add_done_callback(lambda _: self._pending.pop(number, None))
        return task

    async def _publish(self, body: Mapping[str, Any]) -> Unavailable | None:
        """Return why it was not accepted: whoever asked may not be there any more."""
        try:
            message = await self._publisher.publish(body)
        except Unavailable as error:
            return error
        log.info("command published", device=body["device_id"], on=body["switch"], message=message)
        return None
