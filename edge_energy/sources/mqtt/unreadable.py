"""Counts what no reading could be made of, and keeps some of it for whoever looks later."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from edge_energy.interfaces import Recorder

log = structlog.get_logger()

KEEP_EVERY = 60.0  # seconds between two messages kept of one topic
MOST_TOPICS = 1_000


@dataclass(slots=True)
class Topic:
    """The unreadable messages of one topic."""

    reason: str
    count: int = 0
    kept_at: float = float("-inf")


class Unreadable:
    """The unreadable messages of one source: logged once per topic, the first of each minute kept aside."""

    def __init__(self, source: str, recorder: Recorder) -> None:
        self.count = 0
        self.topics: dict[str, Topic] = {}
        self._source = source
        self._recorder = recorder

    def take(self, topic: str, reason: str, payload: bytes) -> None:
        """Take one message."""
        self.count += 1
        known = self.topics.get(topic)
        if known is None:
            if len(self.topics) >= MOST_TOPICS:
                return
            known = self.topics[topic] = Topic(reason)
            log.warning("unreadable message", source=self._source, topic=topic, reason=reason)
        known.count += 1
        known.reason = reason
        if time.monotonic() - known.kept_at >= KEEP_EVERY:
            known.kept_at = time.monotonic()
            self._recorder.keep_aside(f"{self._source} {topic}", reason, payload)
