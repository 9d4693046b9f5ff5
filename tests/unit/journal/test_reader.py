"""What is read is what was written, checked and dated; what is not, is named and stops nothing."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from edge_energy.errors import JournalError
from edge_energy.interfaces import COMMAND
from edge_energy.journal.dating import LONGEST
from edge_energy.journal.files import PAGE, suspect_mark
from edge_energy.journal.reader import Reader
from edge_energy.journal.store import Commit, Store
from tests.unit.samples import BOOT, NOON, SECOND, new_entries, new_entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_energy.interfaces import NewEntry


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "journal.db")
    store.begin(BOOT)
    yield store
    store.close()


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.path)
    yield reader
    reader.close()


def write(store: Store, *entries: NewEntry, **more: Any) -> None:
    store.commit(Commit(entries=[*entries], **more))


def positions(reader: Reader, store: Store, first: int = 1, last: int = 100, limit: int = 100) -> list[int]:
    return [entry.position for entry in reader.read(first, last, limit, store.boot).entries]


def test_an_entry_is_read_as_it_was_recorded(store: Store, reader: Reader) -> None:
    """Every column comes back, numbers as floats and relay states as booleans."""
    values = {"power": 46.9, "energy": 1e16, "tiny": 5e-324, "output": True, "é\n": -0.0}
    write(store, new_entry(3, device="salle/é", kind=COMMAND, span=7, values=values))
    (entry,) = reader.read(1, 1, 1, store.boot).entries
    assert tuple(entry) == (1, COMMAND, "salle/é", NOON + 3 * SECOND, 7, store.boot, 3 * SECOND, values)
    assert {type(value) for value in entry.body.values()} == {float, bool}


@pytest.mark.parametrize(
    ("first", "last", "limit", "read", "reached"),
    [
        (1, 10, 100, [*range(1, 11)], 10),
        (1, 1_000, 100, [*range(1, 11)], 1_000),
        (3, 7, 100, [3, 4, 5, 6, 7], 7),
        (3, 7, 5, [3, 4, 5, 6, 7], 7),
        (3, 7, 2, [3, 4], 4),
        (11, 20, 5, [], 20),
    ],
)
def test_reached_is_how_far_one_looked(
    store: Store, reader: Reader, first: int, last: int, limit: int, read: list[int], reached: int
) -> None:
    """The end of the range, or of what the limit allowed: what lies before it is dealt with."""
    write(store, *new_entries(10))
    extract = reader.read(first, last, limit, store.boot)
    assert [entry.position for entry in extract.entries] == read
    assert extract.reached == reached


@pytest.mark.parametrize(
    "damage",
    [
        "body = replace(body, '49.9', '99.9')",
        "body = x'7b7d'",
        "body = CAST(x'7bff7d' AS TEXT)",
        "body = '{'",
        "body = 9e999",
        "kind = 1",
        "kind = 99999",
        "kind = 'reading'",
        "device = 2",
        "time = 9e999",
        "time = 1.5",
        "time = NULL",
        "span = 1",
        "boot = 2",
        "uptime = uptime + 1",
        "origin = 65537",
        "crc = crc + 1",
        "crc = 'x'",
        "position = 40",
    ],
)
def test_a_changed_row_is_named_and_the_others_are_read(store: Store, reader: Reader, damage: str) -> None:
    """One digit changed on disk never becomes a measurement, whatever else JSON or SQLite makes of it."""
    write(store, *new_entries(23))
    store._db.execute(f"UPDATE entries SET {damage} WHERE position = 4")  # noqa: S608 - one of the above
    for _ in range(2):
        extract = reader.read(1, 100, 100, store.boot)
        assert extract.corrupt == [40 if "position" in damage else 4]
        assert [entry.position for entry in extract.entries] == [1, 2, 3, *range(5, 24)]
        assert extract.reached == 100


def test_an_entry_that_cannot_be_dated_yet_waits_and_those_before_it_do_not(store: Store, reader: Reader) -> None:
    """Reading ends before it; once the date is known the entry has its exact time."""
    write(store, *new_entries(2), new_entry(5, time=None), new_entry(6))
    extract = reader.read(1, 4, 100, store.boot)
    assert ([entry.position for entry in extract.entries], extract.reached) == ([1, 2], 2)
    extract = reader.read(3, 4, 100, store.boot)
    assert (extract.entries, extract.reached) == ([], 2)
    write(store, anchors=[(60 * SECOND, NOON, "set")])
    waiting = reader.read(3, 4, 100, store.boot).entries[0]
    assert (waiting.time, waiting.span) == (NOON - 55 * SECOND, None)


def test_entries_of_a_boot_without_a_clock_are_dated_by_the_next(store: Store, reader: Reader) -> None:
    """The latest possible time, with the span that says how much earlier it may have been."""
    write(store, new_entry(5, time=None), new_entry(9, time=None, span=3))
    store.begin("the next boot")
    write(store, anchors=[(0, NOON, "set")])
    first, second = reader.read(1, 2, 100, store.boot).entries
    assert (first.time, first.span) == (NOON - 4 * SECOND, LONGEST)
    assert (second.time, second.span) == (NOON, LONGEST)


def test_the_span_of_a_backlog_outlives_dating(store: Store, reader: Reader) -> None:
    """What waited at the broker happened earlier than it arrived, also where the arrival is dated later."""
    write(store, new_entry(5, time=None, span=77), anchors=[(0, NOON, "set")])
    (entry,) = reader.read(1, 1, 1, store.boot).entries
    assert (entry.time, entry.span) == (NOON + 5 * SECOND, 77)


def test_recall_gives_a_source_s_newest_messages_newest_first(store: Store, reader: Reader) -> None:
    """What the broker may deliver again: of this source alone, with its packet ids, no deeper than told."""
    ours, other = (source << 16 for source in (3, 4))
    write(store, *(new_entry(n, origin=ours | 65_000 + n) for n in range(5)))
    write(store, new_entry(origin=other | 1), new_entry(), new_entry(origin=ours, device="b", values={"x": 1.5}))
    assert [packet for packet, _, _ in reader.recall(3, 100, 100)] == [0, *range(65_004, 64_999, -1)]
    assert reader.recall(3, 1, 100) == [(0, "b", '{"x":1.5}')]
    assert [packet for packet, _, _ in reader.recall(3, 100, 4)] == [0, 65_004]
    assert reader.recall(5, 100, 100) == []


def test_the_small_questions_of_status(store: Store, reader: Reader) -> None:
    """Tail, oldest, time of a position, debts, refusals, unreadable messages and facts, in their order."""
    assert (reader.oldest(), reader.time_of(1), reader.tail(5, store.boot)) == (None, None, [])
    assert reader.pending("a") is None
    write(
        store,
        *new_entries(5),
        debts={"a": [(9, None), (1, 5)]},
        set_aside=[("a", 4, "x"), ("b", 2, "y")],
        unreadable=[(None, "mqtt t", f"r{number}", b"\xff") for number in range(3)],
        state={"counter/a": 1.5, "counter/b": 2, "counter": 3, "x": 4},
    )
    assert reader.oldest() == (1, NOON)
    assert reader.time_of(3) == NOON + 2 * SECOND
    assert [entry.position for entry in reader.tail(2, store.boot)] == [4, 5]
    assert len(reader.tail(100, store.boot)) == 5
    assert reader.pending("a") == [(1, 5), (9, None)]
    assert reader.set_aside() == [("b", 2, "y"), ("a", 4, "x")]
    assert reader.unreadable(2) == [(None, "mqtt t", "r1", b"\xff"), (None, "mqtt t", "r2", b"\xff")]
    assert reader.state("counter/") == {"counter/a": 1.5, "counter/b": 2}
    assert reader.state("100%_") == {}


def test_devices_named_after_the_reader_was_opened_are_known(store: Store, reader: Reader) -> None:
    """A new device needs no restart of anything."""
    write(store, new_entry(device="first"))
    assert positions(reader, store) == [1]
    write(store, new_entry(device="second"))
    assert [entry.device for entry in reader.read(1, 9, 9, store.boot).entries] == ["first", "second"]


def test_a_damaged_file_ends_the_process_and_is_marked(store: Store, reader: Reader) -> None:
    """What SQLite cannot read is `JournalError`, and the next start salvages."""
    write(store, *new_entries(2_000))
    (root,) = store._db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entries'").fetchone()
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with store.path.open("r+b") as file:
        file.seek((root - 1) * PAGE)
        file.write(b"\xaa" * PAGE)
    with pytest.raises(JournalError):
        reader.read(1, 100, 100, store.boot)
    assert suspect_mark(store.path).exists()


def test_the_reader_never_writes(store: Store, reader: Reader) -> None:
    """One connection alone writes the file."""
    with pytest.raises(JournalError, match="readonly"):
        reader.query("DELETE FROM entries")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.execute("INSERT INTO state VALUES ('a', NULL, '1')")
    assert store.path.exists()
