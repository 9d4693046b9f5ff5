"""What Kafka and Pub/Sub get of an entry: a flat JSON object, in an envelope of CloudEvents 1.0. No I/O.

Source: CloudEvents 1.0, "Kafka Protocol Binding", binary content mode; the same attributes go to Pub/Sub.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from edge_energy.interfaces import Entry

RESERVED = frozenset({"device", "timestamp", "span"})
"""What every message says itself; a value of that name gets a `_` behind it."""
_CONTENT_TYPE = "application/json"


class Message(NamedTuple):
    """One entry as it travels. `key` is the device: what has one key keeps its order.

    `time` is UTC nanoseconds; `attributes` are CloudEvents' (`ce_id`, …) and `content-type`.
    """

    kind: str
    key: str
    body: bytes
    attributes: dict[str, str]
    time: int


class Messages:
    """Makes messages of entries. One event has one `ce_id` for ever: journal id and position.

    Each sink has its own: it remembers the second that it has just written, and Kafka's works in a thread.
    """

    def __init__(self, appliance: str, journal_id: str) -> None:
        self._journal_id = journal_id
        self._source = f"/edge-energy/{appliance}"
        self._second = -1
        self._prefix = ""

    def message(self, entry: Entry) -> Message:
        """Return the message of an entry."""
        timestamp = self._timestamp(entry.time)
        attributes = {
            "ce_specversion": "1.0",
            "ce_id": f"{self._journal_id}/{entry.position}",
            "ce_source": self._source,
            "ce_type": f"edge_energy.{entry.kind}",
            "ce_time": timestamp,
            "content-type": _CONTENT_TYPE,
        }
        return Message(entry.kind, entry.device, orjson.dumps(body(entry, timestamp)), attributes, entry.time)

    def _timestamp(self, time: int) -> str:
        """Return an instant as RFC 3339 has it, to the millisecond, or to the microsecond where it is finer."""
        second, nanoseconds = divmod(time, 1_000_000_000)
        if second != self._second:  # nearly always that of the entry before
            self._second, self._prefix = second, datetime.fromtimestamp(second, UTC).isoformat()[:19]
        microseconds = nanoseconds // 1000
        if microseconds % 1000:
            return f"{self._prefix}.{microseconds:06}Z"
        return f"{self._prefix}.{microseconds // 1000:03}Z"


def body(entry: Entry, timestamp: str) -> dict[str, Any]:
    """Return the object that a message carries: device, timestamp, `span` (s) where there is one, and all values."""
    values = entry.body
    if not RESERVED.isdisjoint(values):
        values = {_free(name, values): value for name, value in values.items()}
    if entry.span is None:
        return {"device": entry.device, "timestamp": timestamp, **values}
    return {"device": entry.device, "timestamp": timestamp, "span": entry.span / 1e9, **values}


def _free(name: str, values: dict[str, Any]) -> str:
    if name in RESERVED:
        while name in RESERVED or name in values:
            name += "_"
    return name
