"""What the local socket offers for forwarding: make topics, try a sink out, read what arrived."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import orjson
from aiohttp import web

from edge_energy.api.answers import BadRequest, ok
from edge_energy.api.switches import only
from edge_energy.devices.payload import parse
from edge_energy.errors import JournalFull, Unavailable
from edge_energy.journal.reader import Reader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from edge_energy.delivery import Delivery
    from edge_energy.journal.journal import Journal
    from edge_energy.status import Status

PATIENCE = 20.0  # seconds until a test is given up
LONGEST_PATIENCE = 300.0
MOST_PARTITIONS = 10_000
QUIET = 2.0  # seconds between signs of life on a connection that has nothing to tell
_LINE = "application/x-ndjson"


class FarSide(NamedTuple):
    """A far side that has topics. Both raise `Unavailable`."""

    create_topics: Callable[[int, int], Awaitable[list[tuple[str, str]]]]
    """Make the topics that lack, with so many partitions and replicas; return all with what became of them."""
    tail: Callable[[bool], AsyncGenerator[dict[str, Any], None]]
    """Yield what arrives there, and before that what has arrived since the beginning, if that is wanted."""


class Marks(Protocol):
    """What can send an entry through the journal."""

    async def mark(self, event: str, **details: Any) -> int:
        """Record an appliance entry; return its position once it is durable. Raises `JournalFull`, `Unavailable`."""
        ...


def forward_routes(
    status: Status, journal: Journal, far_sides: Mapping[str, FarSide], marks: Marks
) -> list[web.RouteDef]:
    """Return what the local socket offers to the command line."""
    handler = _Forwarding(status, journal, far_sides, marks)
    return [
        web.post("/forward/create-topics", handler.post_create_topics),
        web.post("/forward/test", handler.post_test),
        web.get("/forward/tail", handler.get_tail),
    ]


class _Forwarding:
    def __init__(self, status: Status, journal: Journal, far_sides: Mapping[str, FarSide], marks: Marks) -> None:
        self._status = status
        self._journal = journal
        self._far_sides = far_sides
        self._marks = marks

    async def post_create_topics(self, request: web.Request) -> web.Response:
        """Answer with `topics`: far side, topic, and what became of it."""
        body = parse(await request.read())
        only(body, "partitions", "replication")
        partitions = _whole(body.get("partitions", 1), MOST_PARTITIONS, "partitions")
        replication = _whole(body.get("replication", 1), 15, "replication")
        if not self._far_sides:
            raise BadRequest("there is neither [kafka] nor [pubsub] in the configuration", status=409)
        topics = []
        for name, far_side in self._far_sides.items():
            try:
                made = await far_side.create_topics(partitions, replication)
            except Unavailable as error:
                raise BadRequest(f"{name}: {error}", status=502) from None
            topics += [{"sink": name, "topic": topic, "outcome": outcome} for topic, outcome in made]
        return ok(topics=topics)

    async def post_test(self, request: web.Request) -> web.Response:
        """Send one marked entry and wait until the sink has confirmed it; answer with each hop, in order."""
        body = parse(await request.read())
        only(body, "sink", "timeout")
        delivery = self._delivery(body.get("sink"))
        patience = body.get("timeout", PATIENCE)
        if type(patience) not in (int, float) or not 0 < patience <= LONGEST_PATIENCE:
            raise BadRequest(f"expected seconds, more than 0 and at most {LONGEST_PATIENCE:g}", "timeout")
        mark, began = secrets.token_hex(8), time.monotonic()
        try:
            position = await self._marks.mark("test", test=mark, sink=delivery.name)
        except (JournalFull, Unavailable) as error:
            return ok(test=mark, hops=[_hop("journal", began, str(error), passed=False)])
        hops = [_hop("journal", began, f"recorded at position {position}")]
        try:
            async with asyncio.timeout(patience):
                await delivery.settled(position)
        except TimeoutError:
            why = await self._why_not(delivery)
            hops.append(_hop(delivery.name, began, f"not confirmed within {patience:g} s: {why}", passed=False))
        else:
            hops.append(await self._settled(delivery.name, position, began))
        return ok(test=mark, hops=hops)

    async def _why_not(self, delivery: Delivery) -> str:
        sink = await self._status.sink(delivery)
        if sink["unavailable_seconds"] is not None:
            return str(sink["last_error"])
        return f"{sink['lag_entries']} entries wait for it" if sink["lag_entries"] > 1 else "it has not answered yet"

    async def _settled(self, sink: str, position: int, began: float) -> dict[str, Any]:
        """Return the last hop of an entry that is not owed any more: confirmed, or refused for good."""
        with suppress(JournalFull):
            await self._journal.flush()
        refused = {(name, at): reason for name, at, reason in await self._journal.query(Reader.set_aside)}
        if reason := refused.get((sink, position)):
            return _hop(sink, began, f"refused, and set aside: {reason}", passed=False)
        return _hop(sink, began, f"confirmed, as {self._journal.journal_id}/{position}")

    async def get_tail(self, request: web.Request) -> web.StreamResponse:
        """Answer with a line of JSON for each message, until the client goes away or the far side does."""
        only(dict(request.query), "sink", "from_beginning")
        name = self._delivery(request.query.get("sink")).name
        if name not in self._far_sides:
            raise BadRequest(f"{name} has no topics to read; these have: {_names(self._far_sides)}", "sink", 409)
        messages = self._far_sides[name].tail(request.query.get("from_beginning") == "1")
        response = web.StreamResponse(headers={"Content-Type": _LINE})
        await response.prepare(request)
        with suppress(ConnectionError):  # whoever read has gone away
            async with aclosing(_lines(messages)) as lines:
                async for line in lines:
                    await response.write(line)
        return response

    def _delivery(self, name: object) -> Delivery:
        known = {delivery.name: delivery for delivery in self._status.deliveries}
        if type(name) is not str or name not in known:
            raise BadRequest(f"no sink of that name; configured: {_names(known)}", "sink", 404)
        return known[name]


async def _lines(messages: AsyncGenerator[dict[str, Any], None]) -> AsyncGenerator[bytes, None]:
    """Yield messages as lines, and empty ones between them: only writing shows that nobody reads any more."""
    async with aclosing(messages):
        while True:
            following = asyncio.ensure_future(anext(messages, None))
            try:
                while not (await asyncio.wait([following], timeout=QUIET))[0]:
                    yield b"\n"
                message = following.result()
            except Unavailable as error:
                yield orjson.dumps({"error": str(error)}) + b"\n"
                return
            finally:
                following.cancel()
                await asyncio.wait([following])
            if message is None:
                return
            yield orjson.dumps(message, default=str) + b"\n"


def _whole(value: object, most: int, parameter: str) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise BadRequest(f"expected a whole number from 1 to {most}", parameter)
    return value


def _names(known: Mapping[str, object]) -> str:
    return ", ".join(known) or "none"


def _hop(name: str, began: float, text: str, *, passed: bool = True) -> dict[str, Any]:
    milliseconds = round((time.monotonic() - began) * 1000, 1)
    return {"hop": name, "passed": passed, "text": text, "milliseconds": milliseconds}
