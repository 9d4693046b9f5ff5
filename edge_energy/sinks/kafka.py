"""The Kafka sink."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from edge_energy.errors import Rejected, TooLarge
from edge_energy.kafka.line import Line
from edge_energy.kafka.session import TopicError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from edge_energy.config import Kafka
    from edge_energy.interfaces import Entry
    from edge_energy.messages import Message, Messages


class KafkaSink:
    """Writes entries as messages, a topic for each kind. What is written again has the same `ce_id`.

    A topic that did not take its messages is in doubt: the first of its next ones goes ahead, alone. All others
    wait for it, or they would arrive again at each attempt as long as one topic is missing.
    """

    name = "kafka"

    def __init__(self, settings: Kafka, messages: Messages, client_id: str) -> None:
        self.batch_size = settings.batch_size
        self.batch_age = settings.batch_age
        self._settings = settings
        self._messages = messages
        self._client_id = client_id
        self._doubtful: set[str] = set()
        self._line: Line

    async def __aenter__(self) -> Self:
        self._line = Line(self._settings, self._client_id)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._line.close()

    async def write(self, entries: Sequence[Entry]) -> None:
        """Write a batch; returns when the brokers have confirmed every message."""
        ahead = self._ahead(entries) if self._doubtful else {}
        gone = {entry.position for entry in ahead.values()}
        rest = [entry for entry in entries if entry.body and entry.position not in gone]
        await self._send(ahead.values())
        self._doubtful -= ahead.keys()
        try:
            await self._send(rest)
        except (Rejected, TooLarge) as error:
            error.accepted = {*error.accepted, *gone}
            raise

    def _ahead(self, entries: Sequence[Entry]) -> dict[str, Entry]:
        """Return the first entry of each topic in doubt."""
        found: dict[str, Entry] = {}
        for entry in entries:
            if entry.body and (topic := self._settings.topic(entry.kind)) in self._doubtful:
                found.setdefault(topic, entry)
        return found

    async def _send(self, entries: Collection[Entry]) -> None:
        if not entries:
            return
        try:
            await self._line.send(self._addressed(entries))
        except TopicError as error:
            # What is not named has taken its messages: sent ahead again and again, they would arrive as often.
            self._doubtful = self._doubtful - {self._settings.topic(entry.kind) for entry in entries} | error.topics
            raise

    def _addressed(self, entries: Collection[Entry]) -> Iterator[tuple[int, str, Message]]:
        """Yield position, topic and message of each entry."""
        for entry in entries:
            yield entry.position, self._settings.topic(entry.kind), self._messages.message(entry)
