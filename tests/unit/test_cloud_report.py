"""The tables and the report of config/cloud/, run for real: BigQuery's dialect translated to that of DuckDB."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import orjson
import pytest
import sqlglot
from sqlglot.dialects.bigquery import BigQuery

from edge_energy.messages import Messages
from edge_energy.pubsub.body import with_more
from tests.unit.samples import entry

if TYPE_CHECKING:
    from collections.abc import Iterator

CLOUD = Path(__file__).parents[2] / "config" / "cloud"
MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)
TODAY, TOMORROW = date(2026, 11, 20), date(2026, 11, 21)
HOUR = timedelta(hours=1)
INSERT = (
    "INSERT INTO energy.readings (device, timestamp, energy, power, message_id, publish_time, attributes) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)


class Table:
    """BigQuery's tables, filled as a subscription does it."""

    def __init__(self) -> None:
        self._database = duckdb.connect()
        self._database.execute("SET TimeZone='UTC'; CREATE SCHEMA energy")
        self._positions = 0
        for statement in sql("bigquery.sql"):
            self._database.execute(statement)

    def add(self, at: datetime, *, deliveries: int = 1, device: str = "plug", **values: float) -> None:
        """Add a reading, as often as it is delivered."""
        self._positions += 1
        found = entry(self._positions, device=device, time=int(at.timestamp()) * 10**9, body=values)
        message = Messages("house-1", "j").message(with_more(found))
        row = orjson.loads(message.body)
        fields = [row.get(name) for name in ("device", "timestamp", "energy", "power")]
        for delivery in range(deliveries):
            metadata = [f"{self._positions}-{delivery}", at, orjson.dumps(message.attributes).decode()]
            self._database.execute(INSERT, [*fields, *metadata])

    def report(self, first: date = TODAY, last: date = TODAY) -> list[tuple[Any, ...]]:
        """Return the rows of the report."""
        (query,) = sql("bigquery-energy-report.sql")
        rows: list[tuple[Any, ...]] = self._database.execute(query, {"first": first, "last": last}).fetchall()
        return rows

    def close(self) -> None:
        """End it."""
        self._database.close()


def sql(name: str) -> list[str]:
    text = (CLOUD / name).read_text("utf-8").replace("DATASET.", "energy.")
    statements: list[str] = sqlglot.transpile(text, read="bigquery", write="duckdb")
    return statements


@pytest.fixture
def table() -> Iterator[Table]:
    made = Table()
    yield made
    made.close()


def test_energy_is_what_the_counter_gained(table: Table) -> None:
    """From the last reading of the day before; mean and highest power beside it."""
    table.add(MIDNIGHT - HOUR, energy=100.0, power=10.0)
    table.add(MIDNIGHT + HOUR, energy=130.0, power=20.0)
    table.add(MIDNIGHT + 2 * HOUR, energy=150.0, power=40.0)
    table.add(MIDNIGHT + 3 * HOUR, energy=190.0, power=0.0)
    assert table.report() == [("plug", TODAY, 90.0, 30.0, 40.0)]


def test_what_was_delivered_twice_counts_once(table: Table) -> None:
    """Duplicates have the same ce_id; two events that look the same do not."""
    for deliveries in (1, 3):
        for hour, power in enumerate([100.0, 500.0, 300.0]):
            table.add(
                MIDNIGHT + hour * HOUR, deliveries=deliveries, device=f"d{deliveries}", energy=power, power=power
            )
    once, often = table.report()
    assert once[1:] == often[1:]


def test_a_counter_that_was_reset_goes_on_from_zero(table: Table) -> None:
    """What it shows then was used since; a fall by a rounding is none, and what rises after it was not used."""
    for hour, energy in enumerate([10_000.0, 10_100.0, 5.0, 25.0]):
        table.add(MIDNIGHT + hour * HOUR, energy=energy)
    for hour, energy in enumerate([10_000.0, 10_100.0, 10_099.9, 10_150.0]):
        table.add(MIDNIGHT + hour * HOUR, device="rounds", energy=energy)
    (plug, rounds) = table.report()
    assert plug[2] == pytest.approx(125.0)
    assert rounds[2] == pytest.approx(150.0)
    assert (plug[3], plug[4]) == (None, None)


def test_a_counter_that_wobbles_uses_nothing(table: Table) -> None:
    for minute in range(0, 600, 2):
        table.add(MIDNIGHT + timedelta(minutes=minute), energy=1000.0)
        table.add(MIDNIGHT + timedelta(minutes=minute + 1), energy=999.9)
    ((_, _, energy, _, _),) = table.report()
    assert energy == pytest.approx(0.0, abs=0.2)


def test_what_was_used_in_a_gap_is_the_same_whoever_asks(table: Table) -> None:
    """Of a day alone, or of the week around it."""
    table.add(MIDNIGHT - 30 * HOUR, energy=100.0)
    table.add(MIDNIGHT + HOUR, energy=200.0)
    week = [row for row in table.report(TODAY - timedelta(days=5)) if row[1] == TODAY]
    assert table.report() == week
    assert week[0][2] == pytest.approx(100.0)


def test_a_power_that_is_told_seldom_lasts_until_the_next(table: Table) -> None:
    """The mean is that of the time, not of the messages; nobody knows what was in a gap of hours."""
    table.add(MIDNIGHT, power=1000.0)
    for second in range(1, 11):
        table.add(MIDNIGHT + 0.5 * HOUR + timedelta(seconds=second), power=0.0)
    table.add(MIDNIGHT + 9 * HOUR, power=0.0)
    ((_, _, energy, mean, peak),) = table.report()
    assert energy is None
    assert mean == pytest.approx(1000.0 * 1801 / (1801 + 9 + 3600))
    assert peak == 1000.0


def test_days_and_devices_are_apart(table: Table) -> None:
    """And only what was asked for is shown."""
    for hour in range(-30, 60):
        for device, watts in (("a", 10.0), ("b", 20.0)):
            table.add(MIDNIGHT + hour * HOUR, device=device, energy=1000.0 + watts * hour, power=watts)
    assert table.report(TODAY, TOMORROW) == [
        ("a", TODAY, 240.0, 10.0, 10.0),
        ("a", TOMORROW, 240.0, 10.0, 10.0),
        ("b", TODAY, 480.0, 20.0, 20.0),
        ("b", TOMORROW, 480.0, 20.0, 20.0),
    ]


def test_bigquery_s_own_words_are_in_quotes() -> None:
    """`current`, `on` and `for` mean something in its SQL."""
    bare = re.findall(r"^  (\w+) ", (CLOUD / "bigquery.sql").read_text("utf-8"), re.MULTILINE)
    assert len(bare) > 40
    assert not {name.lower() for name in bare} & {word.lower() for word in BigQuery.Generator.RESERVED_KEYWORDS}
