"""The Kafka sink."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from edge_energy.interfaces import COMMAND, INCIDENT, READING
from edge_energy.kafka.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_energy.config import Kafka
    from edge_energy.interfaces import Entry
    from edge_energy.messages import Message, Messages

_LONGEST_CLOSE = 1.0  # seconds
_LISTEN = 60.0  # seconds; a broker that is away is tried, and complained of, some times a second


class KafkaSink:
    """Writes entries as messages, a topic for each kind. What is written again has the same `ce_id`.

    All that blocks happens in one thread: making the messages, sending them, waiting for what the brokers say.
    """

    name = "kafka"

    def __init__(self, settings: Kafka, messages: Messages, client_id: str) -> None:
        self.batch_size = settings.batch_size
        self.batch_age = settings.batch_age
        self._settings = settings
        self._messages = messages
        self._client_id = client_id
        self._topics = {
            READING: settings.readings_topic,
            COMMAND: settings.commands_topic,
            INCIDENT: settings.incidents_topic,
        }
        self._session: Session | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, "kafka")
        self._listening = asyncio.create_task(self._listen(self._thread))
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._thread is not None and self._listening is not None:
            self._listening.cancel()
            closing = asyncio.get_running_loop().run_in_executor(self._thread, self._close)
            await asyncio.wait([closing, self._listening], timeout=_LONGEST_CLOSE)
            self._thread.shutdown(wait=False)
            self._thread = self._listening = None

    async def write(self, entries: Sequence[Entry]) -> None:
        """Write a batch; returns when the brokers have confirmed every message."""
        if not any(entry.body for entry in entries):
            return
        assert self._thread is not None, "write() outside of `async with`"  # noqa: S101 - a programmer's mistake
        stop = threading.Event()
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, entries, stop)
        finally:
            stop.set()  # the thread sees it when we are cancelled

    def _write(self, entries: Sequence[Entry], stop: threading.Event) -> None:
        """Do it, in the thread. A session that cannot be relied upon any more makes room for a new one."""
        if self._session is None:
            self._session = Session(self._settings, self._client_id)
        try:
            self._session.send(self._addressed(entries), stop)
        finally:
            if not self._session.usable:
                self._close()

    async def _listen(self, thread: ThreadPoolExecutor) -> None:
        while True:
            await asyncio.sleep(_LISTEN)
            await asyncio.get_running_loop().run_in_executor(thread, self._hear)

    def _hear(self) -> None:
        """Let an idle session speak; one that cannot go on makes room for a new one."""
        if self._session is not None:
            self._session.listen()
            if not self._session.usable:
                self._close()

    def _addressed(self, entries: Sequence[Entry]) -> Iterator[tuple[int, str, Message]]:
        """Yield position, topic and message of each entry; what one without values says is nothing."""
        for entry in entries:
            if entry.body:
                topic = self._topics.get(entry.kind, self._settings.appliance_topic)
                yield entry.position, topic, self._messages.message(entry)

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
