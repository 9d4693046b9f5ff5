"""Reads what arrived, as anybody could who may read the topics."""

from __future__ import annotations

import asyncio
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from edge_energy.kafka.client import Trouble, close, configuration, explain, explained, known_topics, missing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from confluent_kafka import Message

    from edge_energy.config import Kafka

_MOST_AT_ONCE = 500
_STEP = 0.2  # seconds for which the thread waits for messages
_QUESTION = 2.0  # seconds for which it waits for an answer, again and again
_LARGEST_QUEUE = 8192  # KiB that are fetched ahead
_PASSING = {"_TIMED_OUT", "_TRANSPORT", "LEADER_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION"}


async def tail(settings: Kafka, *, from_beginning: bool) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the messages of our four topics for ever: all that are kept, or those to come.

    Each has "topic", "partition", "offset", "key", "time" (RFC 3339), "attributes" (the headers) and "body" (an
    object, or the text of what is no JSON). No consumer group hears of it. Raises `Unavailable`.
    """
    trouble = Trouble()
    with explained(settings):
        consumer = Consumer(_configuration(settings, trouble))
    thread = ThreadPoolExecutor(1, "kafka tail")
    in_thread = partial(asyncio.get_running_loop().run_in_executor, thread)
    try:
        partitions = _partitions(await known_topics(consumer, settings, trouble, thread), settings)
        if not from_beginning:
            for partition in partitions:
                partition.offset = await _end(partition, consumer, settings, thread)
        await in_thread(consumer.assign, partitions)
        while True:
            messages = await in_thread(consumer.consume, _MOST_AT_ONCE, _STEP)
            if messages:
                trouble.forget()
            for message in messages:
                yield _readable(message, settings)
            if trouble.last is not None and trouble.hopeless():
                raise explain(trouble.last, settings)
    finally:  # behind what the thread still waits for; a reader who leaves does not wait for it
        thread.submit(close, consumer)
        thread.shutdown(wait=False)


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
    for topic in settings.topics():
        if topic not in known:
            raise missing(settings, topic)
        found += [TopicPartition(topic, number, OFFSET_BEGINNING) for number in known[topic]]
    return found


async def _end(partition: TopicPartition, consumer: Consumer, settings: Kafka, thread: ThreadPoolExecutor) -> int:
    """Return what is behind all that the partition has now: who asks later misses what comes meanwhile."""
    deadline = time.monotonic() + settings.timeout
    ask = partial(consumer.get_watermark_offsets, partition, timeout=min(settings.timeout, _QUESTION))
    while True:
        try:
            _, end = await asyncio.get_running_loop().run_in_executor(thread, ask)
        except KafkaException as error:
            if error.args[0].name() not in _PASSING or time.monotonic() > deadline:
                raise explain(error.args[0], settings, partition.topic) from None
        else:
            return end


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
