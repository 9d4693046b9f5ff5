"""The local socket's routes for forwarding: a test goes all the way, and whoever reads along is not kept for ever."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from edge_energy.api import forward_local
from edge_energy.api.answers import explained
from edge_energy.api.forward_local import FarSide, forward_routes
from edge_energy.app.chronicle import Chronicle
from edge_energy.clock import Clock
from edge_energy.delivery import Delivery
from edge_energy.errors import Rejected, Unavailable
from edge_energy.status import Status
from edge_energy.supervisor import Supervisor
from tests.unit.api.serving import until
from tests.unit.samples import running_journal
from tests.unit.test_delivery import FakeSink, fine

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path


MESSAGES = [{"topic": "t", "body": {"power": float(number)}} for number in range(3)]


class Broker:
    """A far side with topics: yields `MESSAGES`, and then waits or fails."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.fails: Unavailable | None = None
        self.open = 0

    async def create_topics(self, partitions: int, replication: int) -> list[tuple[str, str]]:
        """Say what was asked."""
        self.asked.append((partitions, replication))
        if self.fails:
            raise self.fails
        return [("shelly_data", "created"), ("commands", "exists")]

    async def tail(self, from_beginning: bool) -> AsyncGenerator[dict[str, Any], None]:  # noqa: FBT001 - as it is called
        """Yield, then wait for ever."""
        self.asked.append((from_beginning,))
        self.open += 1
        try:
            for message in MESSAGES:
                yield message
            if self.fails:
                raise self.fails
            await asyncio.Event().wait()
        finally:
            self.open -= 1


class Bench:
    """A real journal and its delivery to a sink that does as told."""

    def __init__(self, client: TestClient[web.Request, web.Application], sink: FakeSink, broker: Broker) -> None:
        self.client, self.sink, self.broker = client, sink, broker

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        """Ask."""
        response = await self.client.post(path, json=body)
        return response.status, await response.json()

    async def hops(self, **body: Any) -> list[tuple[str, bool, str]]:
        """Try the sink out; return each hop."""
        status, answer = await self.post("/forward/test", sink="fake", **body)
        assert status == 200, answer
        assert all(hop["milliseconds"] >= 0 for hop in answer["hops"])
        return [(hop["hop"], hop["passed"], hop["text"]) for hop in answer["hops"]]


@asynccontextmanager
async def bench(tmp_path: Path, *, trusted: bool = True, topics: bool = True) -> AsyncIterator[Bench]:
    clock, sink, broker = Clock(lambda: trusted), FakeSink(fine), Broker()
    async with running_journal(tmp_path, clock=clock) as journal:
        delivery = Delivery(sink, await journal.outbox("fake"))
        status = Status("house-1", journal, None, clock, None)  # type: ignore[arg-type]
        status.deliveries = [delivery]
        status.supervisors = [Supervisor(delivery)]
        far_sides = {"fake": FarSide(broker.create_topics, broker.tail)} if topics else {}
        application = web.Application(middlewares=[explained])
        application.add_routes(forward_routes(status, journal, far_sides, Chronicle("house-1", journal, clock)))
        running = asyncio.create_task(status.supervisors[0].run())
        try:
            async with TestClient(TestServer(application)) as client:
                yield Bench(client, sink, broker)
        finally:
            running.cancel()
            await asyncio.wait([running])


async def test_a_test_goes_through_the_journal_to_the_sink(tmp_path: Path) -> None:
    """One marked entry by the way that all take; it says where it can be found."""
    async with bench(tmp_path) as forward:
        journal, sink = await forward.hops()
        assert (journal[:2], sink[:2]) == (("journal", True), ("fake", True))
        position = int(journal[2].rpartition(" ")[2])
        assert sink[2].startswith("confirmed, as ")
        assert sink[2].endswith(f"/{position}")
        assert forward.sink.accepted[-1] == position


async def test_a_sink_that_is_away_is_named_with_its_reason(tmp_path: Path) -> None:
    def away(_positions: list[int]) -> None:
        raise Unavailable("cannot reach kafka1:9092: correct [kafka] brokers")

    async with bench(tmp_path) as forward:
        forward.sink.verdict = away
        _, (name, passed, text) = await forward.hops(timeout=0.5)
        assert (name, passed) == ("fake", False)
        assert text == "not confirmed within 0.5 s: cannot reach kafka1:9092: correct [kafka] brokers"


async def test_a_refused_entry_is_no_success(tmp_path: Path) -> None:
    """It is settled, and yet it never arrived."""

    def refuses(_positions: list[int]) -> None:
        raise Rejected("no such field", certain=True)

    async with bench(tmp_path) as forward:
        forward.sink.verdict = refuses
        assert (await forward.hops())[1] == ("fake", False, "refused, and set aside: no such field")


async def test_without_the_date_nothing_is_delivered_and_that_is_said(tmp_path: Path) -> None:
    async with bench(tmp_path, trusted=False) as forward:
        ((name, passed, text),) = await forward.hops()
        assert (name, passed) == ("journal", False)
        assert "the date is not known yet" in text


@pytest.mark.parametrize(
    ("body", "status", "parameter"),
    [
        ({"sink": "other"}, 404, "sink"),
        ({}, 404, "sink"),
        ({"sink": 5}, 404, "sink"),
        ({"sink": "fake", "timeout": 0}, 400, "timeout"),
        ({"sink": "fake", "timeout": True}, 400, "timeout"),
        ({"sink": "fake", "timeout": 1e9}, 400, "timeout"),
        ({"sink": "fake", "other": 1}, 400, "other"),
    ],
)
async def test_what_cannot_be_tested_is_refused(
    tmp_path: Path, body: dict[str, Any], status: int, parameter: str
) -> None:
    async with bench(tmp_path) as forward:
        code, answer = await forward.post("/forward/test", **body)
        assert (code, answer["parameter"]) == (status, parameter)


async def test_topics_are_made_and_named(tmp_path: Path) -> None:
    async with bench(tmp_path) as forward:
        status, answer = await forward.post("/forward/create-topics", partitions=6, replication=3)
        assert (status, forward.broker.asked) == (200, [(6, 3)])
        assert answer["topics"] == [
            {"sink": "fake", "topic": "shelly_data", "outcome": "created"},
            {"sink": "fake", "topic": "commands", "outcome": "exists"},
        ]
        forward.broker.fails = Unavailable("may not")
        status, answer = await forward.post("/forward/create-topics")
        assert (status, answer["error"]) == (502, "fake: may not")
        for wrong in ({"partitions": 0}, {"partitions": "6"}, {"replication": 99}, {"replication": True}):
            assert (await forward.post("/forward/create-topics", **wrong))[0] == 400
    async with bench(tmp_path, topics=False) as forward:
        assert (await forward.post("/forward/create-topics"))[0] == 409
        response = await forward.client.get("/forward/tail?sink=fake")
        assert response.status == 409


@pytest.mark.parametrize("from_beginning", [True, False])
async def test_what_arrives_is_told_line_by_line_until_nobody_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, from_beginning: bool
) -> None:
    """Whoever goes away leaves no reader behind at the broker, also while nothing arrives."""
    monkeypatch.setattr(forward_local, "QUIET", 0.02)
    async with bench(tmp_path) as forward:
        query = "&from_beginning=1" if from_beginning else ""
        response = await forward.client.get(f"/forward/tail?sink=fake{query}")
        lines = [orjson.loads(await response.content.readline()) for _ in MESSAGES]
        assert (lines, forward.broker.asked) == (MESSAGES, [(from_beginning,)])
        assert await response.content.readline() == b"\n"
        assert forward.broker.open == 1
        response.close()
        await until(lambda: not forward.broker.open)


async def test_a_broker_that_goes_away_is_the_last_line(tmp_path: Path) -> None:
    async with bench(tmp_path) as forward:
        forward.broker.fails = Unavailable("kafka1:9092 has gone away")
        response = await forward.client.get("/forward/tail?sink=fake")
        lines = (await response.read()).splitlines()
        assert orjson.loads(lines[-1]) == {"error": "kafka1:9092 has gone away"}
