"""Reads what arrived, as anybody could who may read the topics."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from edge_energy.kafka.client import Trouble, configuration, explain, explained, known_topics, missing
from edge_energy.kafka.topics import topics

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from confluent_kafka import Message

    from edge_energy.config import Kafka

_MOST_AT_ONCE = 500
_STEP = 0.2  # seconds that a cancelled wait goes on for
_LARGEST_QUEUE = 8192  # KiB that are fetched ahead


async def tail(settings: Kafka, *, from_beginning: bool) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the messages of our four topics for ever: all that are kept, or those to come.

    Each has "topic", "partition", "offset", "key", "time" (RFC 3339), "attributes" (the headers) and "body" (an
    object, or the text of what is no JSON). No consumer group hears of it. Raises `Unavailable`.
    """
    trouble = Trouble()
    with explained(settings):
        consumer = Consumer(_configuration(settings, trouble))
    in_thread = asyncio.get_running_loop().run_in_executor
    with ThreadPoolExecutor(1, "kafka tail") as thread:
        try:
            known = await known_topics(consumer, settings, trouble)
            start = _from_beginning if from_beginning else _from_now
            await in_thread(thread, start, consumer, _partitions(known, settings), settings)
            while True:
                messages = await in_thread(thread, consumer.consume, _MOST_AT_ONCE, _STEP)
                if messages:
                    trouble.forget()
                for message in messages:
                    yield _readable(message, settings)
                if trouble.last is not None and trouble.hopeless():
                    raise explain(trouble.last, settings)
        finally:
            thread.submit(consumer.close)


def _configuration(settings: Kafka, trouble: Trouble) -> dict[str, Any]:
    return configuration(settings, "edge-energy-tail") | {
        "error_cb": trouble,
        "group.id": f"edge-energy-tail-{uuid.uuid4().hex}",  # a name has to be given; nobody joins it
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "queued.max.messages.kbytes": _LARGEST_QUEUE,
    }


def _partitions(known: dict[str, list[int]], settings: Kafka) -> list[TopicPartition]:
    found = []
    for topic in topics(settings):
        if topic not in known:
            raise missing(settings, topic)
        found += [TopicPartition(topic, number) for number in known[topic]]
    return found


def _from_beginning(consumer: Consumer, partitions: list[TopicPartition], _settings: Kafka) -> None:
    for partition in partitions:
        partition.offset = OFFSET_BEGINNING
    consumer.assign(partitions)


def _from_now(consumer: Consumer, partitions: list[TopicPartition], settings: Kafka) -> None:
    """Begin behind what each partition has now: what is asked for later would miss what comes meanwhile."""
    for partition in partitions:
        with explained(settings, partition.topic):
            _, partition.offset = consumer.get_watermark_offsets(partition, timeout=settings.timeout)
    consumer.assign(partitions)


def _readable(message: Message, settings: Kafka) -> dict[str, Any]:
    error = message.error()
    if error is not None:
        raise explain(error, settings, message.topic())
    _, milliseconds = message.timestamp()
    time = datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    return {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "key": _text(message.key()),
        "time": time.replace("+00:00", "Z"),
        "attributes": {name: _text(value) for name, value in headers},
        "body": _body(message.value()),
    }


def _text(value: bytes | None) -> str | None:
    """Return what bytes say, and for what they do not say a mark."""
    return None if value is None else value.decode(errors="replace")


def _body(value: bytes | None) -> Any:
    try:
        return orjson.loads(value or b"null")
    except orjson.JSONDecodeError:
        return _text(value)
