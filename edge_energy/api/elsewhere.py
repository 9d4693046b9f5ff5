"""Commands for devices that are not here: published for the appliance that has them."""

from __future__ import annotations

import asyncio
import operator
from math import ceil
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from edge_energy.api.answers import LONGEST_REASON, json_response, retry_after
from edge_energy.api.pending import Pending
from edge_energy.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

log = structlog.get_logger()

SENT = "command sent"
_AWAY_RETRY = 5  # seconds
_LONGEST_RETRY = 300
_ELSEWHERE = "no device here is called so: the appliance that has it tells how it ends, in its topic of commands"


class Publisher(Protocol):
    """The way to the cloud."""

    async def close(self) -> None:
        """Disconnect; `publish` connects again."""
        ...

    async def publish(self, body: Mapping[str, Any]) -> str:
        """Publish a command; return the id of the message once it was accepted.

        Raises `Unavailable`, which says whether it was published, if anybody knows.
        """
        ...


class Elsewhere:
    """Publishes each command once, however often it is sent while it is at work."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._pending: Pending[Mapping[str, Any], Unavailable | None] = Pending(operator.eq)

    async def close(self, _: web.Application) -> None:
        """End the connection when the server does."""
        await self._publisher.close()

    async def send(self, body: Mapping[str, Any], *, waiting: bool) -> web.Response:
        """Publish a command and answer; `waiting` says that the outcome was asked for, which nobody here knows."""
        number = body["command_id"]
        task = self._pending.submit(number, body, self._begin)
        await asyncio.wait([task])  # it goes on when whoever waits goes away
        if task.cancelled():
            return _failure(Unavailable("the daemon stops: nobody knows whether it was published"), number)
        if (error := task.result()) is not None:
            return _failure(error, number)
        answer = {"status": SENT, "command_id": number}
        if waiting:
            return json_response({**answer, "outcome": "pending", "reason": _ELSEWHERE}, 202)
        return json_response(answer)

    def _begin(self, body: Mapping[str, Any]) -> asyncio.Task[Unavailable | None]:
        return asyncio.create_task(self._publish(body))

    async def _publish(self, body: Mapping[str, Any]) -> Unavailable | None:
        """Return why it was not accepted: whoever asked may not be there any more."""
        try:
            message = await self._publisher.publish(body)
        except Unavailable as error:
            return error
        log.info("command published", device=body["device_id"], on=body["switch"], message=message)
        return None


def _failure(error: Unavailable, number: str) -> web.Response:
    """Return the answer to a command that may be published all the same: with the id by which it can be repeated."""
    seconds = min(ceil(error.retry_after or _AWAY_RETRY), _LONGEST_RETRY)
    body = {"status": "error", "error": str(error)[:LONGEST_REASON], "command_id": number}
    return json_response(body, 503, retry_after(seconds))
