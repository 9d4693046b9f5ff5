"""The thread in which a sink's sessions live: it is heard of when it fails, and is nobody else's."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from edge_energy.config import Kafka as Settings
from edge_energy.errors import Unavailable
from edge_energy.kafka.line import Line
from edge_energy.kafka.session import Session
from edge_energy.messages import Messages
from tests.unit.kafka.mock_cluster import PRODUCE, MockCluster
from tests.unit.samples import entry

if TYPE_CHECKING:
    from collections.abc import Iterator

TOPIC = "shelly_data"
BATCH = [(1, TOPIC, Messages("house-1", "journal").message(entry(1)))]


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster(TOPIC) as cluster:
        yield cluster


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[Session]:
    """Give the sessions that were closed, in this order."""
    found: list[Session] = []
    close = Session.close

    def noted(session: Session) -> None:
        found.append(session)
        close(session)

    monkeypatch.setattr(Session, "close", noted)
    return found


def line(cluster: MockCluster) -> Line:
    return Line(Settings.model_validate({"brokers": cluster.brokers, "timeout": "10s"}), "test")


async def test_a_session_lasts_until_its_first_failure(cluster: MockCluster, closed: list[Session]) -> None:
    """The next batch begins another."""
    using = line(cluster)
    await using.send(BATCH)
    await using.send(BATCH)
    assert not closed
    cluster.answer(PRODUCE, 29)
    with pytest.raises(Unavailable):
        await using.send(BATCH)
    assert len(closed) == 1
    await using.send(BATCH)
    await using.close()
    assert len(closed) == 2


async def test_a_defect_while_nothing_is_written_is_heard_of(
    cluster: MockCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By who writes next: else librdkafka's complaints would fill up the memory, and nobody would know."""
    monkeypatch.setattr("edge_energy.kafka.line._LISTEN", 0.01)
    broken = asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen(_: Session) -> None:
        loop.call_soon_threadsafe(broken.set)
        raise ZeroDivisionError

    monkeypatch.setattr(Session, "listen", listen)
    using = line(cluster)
    await using.send(BATCH)
    await broken.wait()
    await asyncio.wait([using._listening])
    with pytest.raises(ZeroDivisionError):
        await using.send(BATCH)
    await using.close()


async def test_a_defect_at_the_end_is_heard_of(cluster: MockCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor logs it."""

    def close(_: Session) -> None:
        raise ZeroDivisionError

    using = line(cluster)
    await using.send(BATCH)
    monkeypatch.setattr(Session, "close", close)
    with pytest.raises(ZeroDivisionError):
        await using.close()


async def test_a_thread_that_ends_late_ends_no_session_but_its_own(
    cluster: MockCluster, closed: list[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs for longer than a stop waits; meanwhile the sink was opened again."""
    monkeypatch.setattr("edge_energy.kafka.line._LONGEST_CLOSE", 0.05)
    hangs, goes_on = threading.Event(), threading.Event()
    send = Session.send

    def hang(session: Session, *arguments: Any) -> None:
        hangs.set()
        goes_on.wait()
        send(session, *arguments)

    first, second = line(cluster), line(cluster)
    with monkeypatch.context() as patched:
        patched.setattr(Session, "send", hang)
        writing = asyncio.create_task(first.send(BATCH))
        await asyncio.to_thread(hangs.wait)
        writing.cancel()
        await first.close()
        assert not closed
    await second.send(BATCH)
    goes_on.set()
    await asyncio.to_thread(first._thread.shutdown)
    assert len(closed) == 1
    await second.send(BATCH)
    assert len(closed) == 1
    await second.close()
    assert len({*closed}) == 2
