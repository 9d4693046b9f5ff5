"""`forward tail`: what arrived, as others read it."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from edge_energy.config import Kafka as Settings
from edge_energy.errors import Unavailable
from edge_energy.interfaces import APPLIANCE
from edge_energy.kafka.tail import tail
from edge_energy.kafka.topics import create_topics
from edge_energy.messages import Messages
from edge_energy.sinks.kafka import KafkaSink
from tests.servers import kcat
from tests.unit.samples import NOON, entry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from edge_energy.interfaces import Entry
    from tests.servers.kafka import Kafka


def settings(kafka: Kafka, **more: Any) -> Settings:
    return Settings.model_validate({"brokers": kafka.brokers, "timeout": "20s", **kafka.topics} | more)


async def write(kafka: Kafka, *entries: Entry) -> None:
    async with KafkaSink(settings(kafka), Messages("house-1", "journal"), "test") as sink:
        await sink.write(entries)


async def read(kafka: Kafka, count: int, *, from_beginning: bool = True, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with (
        asyncio.timeout(30),
        aclosing(tail(settings(kafka, **more), from_beginning=from_beginning)) as messages,
    ):
        async for message in messages:
            found.append(message)
            if len(found) == count:
                break
    return found


async def test_everything_that_is_kept_is_shown(kafka: Kafka) -> None:
    """Of all four topics and all partitions, with what an operator asks for."""
    kafka.fresh_topics(partitions=2)
    await write(
        kafka, *[entry(n, device=f"plug-{n}") for n in range(20)], entry(20, kind=APPLIANCE, body={"event": "start"})
    )
    found = await read(kafka, 21)
    assert {m["attributes"]["ce_id"] for m in found} == {f"journal/{n}" for n in range(21)}
    (appliance,) = (m for m in found if m["topic"] == kafka.topics["appliance_topic"])
    assert appliance == {
        "topic": kafka.topics["appliance_topic"],
        "partition": appliance["partition"],
        "offset": 0,
        "key": "plug",
        "time": "2026-09-21T14:13:20.000Z",
        "attributes": {
            "ce_specversion": "1.0",
            "ce_id": "journal/20",
            "ce_source": "/edge-energy/house-1",
            "ce_type": "edge_energy.appliance",
            "ce_time": "2026-09-21T14:13:20.000Z",
            "content-type": "application/json",
        },
        "body": {"device": "plug", "timestamp": "2026-09-21T14:13:20.000Z", "event": "start"},
    }
    assert {m["partition"] for m in found} == {0, 1}
    assert NOON // 10**9 == 1_790_000_000


async def test_only_new_ones_without_from_beginning(kafka: Kafka) -> None:
    """What is there before is not shown; what comes from then on is."""
    await write(kafka, entry(1))
    reading = asyncio.create_task(read(kafka, 1, from_beginning=False))
    async with asyncio.timeout(30):
        position = 2
        while not reading.done():  # the moment at which it begins to read shows nowhere else
            await write(kafka, entry(position))
            position += 1
            await asyncio.wait([reading], timeout=0.2)
    (found,) = await reading
    assert found["attributes"]["ce_id"] != "journal/1"


async def test_what_others_wrote_is_shown_as_it_is(kafka: Kafka) -> None:
    """No JSON, no key, bytes that are no text: an operator wants to see just these."""
    for payload in (b"not json \xff", b"[1]"):
        kcat.write(kafka, kafka.topics["commands_topic"], payload)
    first, second = await read(kafka, 2)
    assert (first["key"], first["body"], first["attributes"]) == (None, "not json \ufffd", {})
    assert second["body"] == [1]


async def test_no_consumer_group_is_left_behind(kafka: Kafka) -> None:
    """Nobody wants to clean up after who only looks."""
    await write(kafka, entry(1))
    await read(kafka, 1)
    admin = AdminClient({"bootstrap.servers": kafka.brokers, "log_level": 0})
    groups = await asyncio.wrap_future(admin.list_consumer_groups(request_timeout=10))
    assert not [group.group_id for group in groups.valid if "tail" in group.group_id]


async def test_looking_ends_at_once(kafka: Kafka) -> None:
    """Ctrl-C waits for no message."""
    reading = asyncio.create_task(read(kafka, 1))
    await asyncio.wait([reading], timeout=1)
    reading.cancel()
    async with asyncio.timeout(1):
        with pytest.raises(asyncio.CancelledError):
            await reading


@pytest.mark.parametrize("question", ["list_topics", "get_watermark_offsets", "consume"])
async def test_a_reader_who_leaves_holds_up_nobody(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    """The appliance switches relays in the same loop, while the thread still waits for a broker that hangs.

    Nothing is closed beside a question: librdkafka would use what is freed.
    """
    monkeypatch.setattr("edge_energy.kafka.client._LONGEST_QUESTION", 1.0)
    monkeypatch.setattr("edge_energy.kafka.tail._QUESTION", 1.0)
    monkeypatch.setattr("edge_energy.kafka.tail._STEP", 1.0)
    hanging = HangingConsumer(kafka, question)
    monkeypatch.setattr("edge_energy.kafka.tail.Consumer", hanging.make)
    reading = asyncio.create_task(read(kafka, 1, from_beginning=False))
    async with asyncio.timeout(10):
        await hanging.asked.wait()
        async with longest_standstill() as standstill:
            reading.cancel()
            await asyncio.wait([reading])
            await hanging.closed.wait()
    assert max(standstill) < 0.6  # of the second for which the thread is held up
    assert not hanging.closed_beside


class HangingConsumer:
    """Makes a consumer whose broker hangs from a question on; tells when that was asked, and when it was closed."""

    def __init__(self, kafka: Kafka, question: str) -> None:
        self.asked, self.closed = asyncio.Event(), asyncio.Event()
        self.closed_beside = False
        self._loop = asyncio.get_running_loop()
        self._kafka = kafka
        self._question = question
        self._asking = False

    def make(self, configuration: dict[str, Any]) -> Any:
        """Do what `Consumer` does."""
        consumer = Consumer(configuration)
        found = Mock(wraps=consumer)
        getattr(found, self._question).side_effect = partial(self._ask, getattr(consumer, self._question))
        found.close.side_effect = partial(self._close, consumer)
        return found

    def _ask(self, ask: Callable[..., object], *arguments: Any, **named: Any) -> object:
        self._kafka.pause()
        self._asking = True
        self._loop.call_soon_threadsafe(self.asked.set)
        try:
            return ask(*arguments, **named)
        finally:
            self._asking = False

    def _close(self, consumer: Consumer) -> None:
        self.closed_beside = self._asking
        consumer.close()
        self._loop.call_soon_threadsafe(self.closed.set)


@asynccontextmanager
async def longest_standstill() -> AsyncIterator[list[float]]:
    """Note for how long (s) nothing else could run in the event loop."""
    found = [0.0]

    async def watch() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            found.append(time.monotonic() - began)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    try:
        yield found
    finally:
        await asyncio.sleep(0.02)  # it has to notice
        watching.cancel()


async def test_a_missing_topic_and_a_wrong_password_are_named(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere."""
    monkeypatch.setattr("edge_energy.kafka.client.PATIENCE", 0.2)
    monkeypatch.setattr("edge_energy.kafka.client._LONGEST_QUESTION", 0.5)
    with pytest.raises(Unavailable, match=r"no topic 'nowhere'.*create-topics.*\[kafka\] incidents_topic"):
        await read(kafka, 1, incidents_topic="nowhere")
    login: dict[str, Any] = {"brokers": kafka.sasl_brokers, "tls": True, "ca_file": str(kafka.certificates.ca)}
    with pytest.raises(Unavailable, match=r"correct \[kafka\] username or password"):
        await read(kafka, 1, **login, username=kafka.user, password="wrong")


async def test_a_file_that_is_no_certificate_is_named(kafka: Kafka, tmp_path: Path) -> None:
    """Before anybody is asked anything; also by who makes the topics."""
    (tmp_path / "ca.pem").write_text("nonsense")
    files: dict[str, Any] = {"tls": True, "ca_file": str(tmp_path / "ca.pem")}
    with pytest.raises(Unavailable, match=r"correct \[kafka\] ca_file"):
        await read(kafka, 1, **files)
    with pytest.raises(Unavailable, match=r"correct \[kafka\] ca_file"):
        await create_topics(settings(kafka, **files), partitions=1, replication=1, commands=False)
