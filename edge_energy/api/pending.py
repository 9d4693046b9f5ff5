"""Commands at work, by their ids: the same one sent again is the one at work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from aiohttp import web

from edge_energy.api.answers import BadRequest

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

MOST_PENDING = 64  # commands

Sent = TypeVar("Sent")
Result = TypeVar("Result")


class Pending(Generic[Sent, Result]):
    """Has each begun once; `same` tells whether two with the same id want the same."""

    def __init__(self, same: Callable[[Sent, Sent], bool]) -> None:
        self._same = same
        self._pending: dict[str, tuple[Sent, asyncio.Task[Result]]] = {}

    def submit(self, number: str, sent: Sent, begin: Callable[[Sent], asyncio.Task[Result]]) -> asyncio.Task[Result]:
        """Return the task of a command. Refuses another one with its id (409), and one too many (503)."""
        if number in self._pending:
            known, task = self._pending[number]
            if not self._same(known, sent):
                raise BadRequest("another command with this id is at work", "command_id", 409)
            return task
        if len(self._pending) >= MOST_PENDING:
            raise web.HTTPServiceUnavailable(text=f"{MOST_PENDING} commands are at work already")
        task = begin(sent)
        self._pending[number] = sent, task
        task.add_done_callback(lambda _: self._pending.pop(number, None))
        return task
