"""The yardstick of catching up to Kafka: a loop that reads rows of a SQLite table and produces them, batch by batch.

What a sensible engineer would write: 2,000 rows at a time, one idempotent producer, the same compression, the same
envelope in headers, a delivery report for each message, every batch confirmed before the next is read. It knows no
devices, no units, no checksums, no dates, no errors. `--bare` leaves out the table and the reports: what the library
does at most. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from confluent_kafka import Producer

from benchmarks.load import device, payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from confluent_kafka import KafkaError, Message

BATCH = 2_000
Row = tuple[int, int, str, str]


def main() -> None:
    """Produce `count` messages to `topic`."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("brokers", "topic", "compression"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--bare", action="store_true")
    args = parser.parse_args()
    chance = random.Random(1)
    rows = [(n, 1_800_000_000_000 + n, device(n), payload(n, 1.8e9, chance).decode()) for n in range(args.count)]
    settings = {"bootstrap.servers": args.brokers, "enable.idempotence": True, "compression.type": args.compression}
    producer = Producer(settings)
    producer.produce(args.topic, b"first")  # connecting is no speed
    producer.flush()
    confirmed = Confirmed()
    with tempfile.TemporaryDirectory() as directory:
        batches = _sliced(rows) if args.bare else _stored(rows, Path(directory))
        began, before = time.perf_counter(), _cpu()
        for batch in batches:
            for row in batch:
                _produce(producer, args.topic, row, None if args.bare else confirmed.report)
            producer.flush()
            assert args.bare or confirmed.count == len(batch)
            confirmed.count = 0
        seconds = time.perf_counter() - began
        print(json.dumps({"rate": args.count / seconds, "cpu": (_cpu() - before) / args.count * 1e4}))


class Confirmed:
    """Counts delivery reports."""

    count = 0

    def report(self, error: KafkaError | None, _message: Message) -> None:
        """Count a message that the broker has."""
        assert error is None
        self.count += 1


def _produce(
    producer: Producer, topic: str, row: Row, report: Callable[[KafkaError | None, Message], None] | None
) -> None:
    number, at, plug, values = row
    second, rest = divmod(at, 1000)
    timestamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)) + f".{rest:03}Z"
    body: dict[str, Any] = {"device": plug, "timestamp": timestamp, **orjson.loads(values)}
    headers: dict[str, str | bytes | None] = {
        "ce_specversion": "1.0",
        "ce_id": f"0123456789abcdef/{number}",
        "ce_source": "/edge-energy/house-1",
        "ce_type": "edge_energy.reading",
        "ce_time": timestamp,
        "content-type": "application/json",
    }
    producer.produce(topic, orjson.dumps(body), plug, headers=headers, timestamp=at, on_delivery=report)


def _sliced(rows: list[Row]) -> Iterator[list[Row]]:
    for begin in range(0, len(rows), BATCH):
        yield rows[begin : begin + BATCH]


def _stored(rows: list[Row], directory: Path) -> Iterator[list[Row]]:
    """Return what reads the rows from a file, once they are in it."""
    database = sqlite3.connect(directory / "messages.db")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, time INTEGER, device TEXT, payload TEXT)")
    database.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", rows)
    database.commit()
    rows.clear()

    def read() -> Iterator[list[Row]]:
        after = -1
        while found := database.execute(
            "SELECT * FROM messages WHERE id > ? ORDER BY id LIMIT ?", (after, BATCH)
        ).fetchall():
            after = found[-1][0]
            yield found

    return read()


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
