"""One transaction writes all or nothing; trimming takes what may go, in the right order, and no position twice."""

from __future__ import annotations

import importlib.resources
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from edge_energy.errors import JournalError, JournalFull
from edge_energy.interfaces import COMMAND, INCIDENT, READING
from edge_energy.journal import files
from edge_energy.journal import store as store_module
from edge_energy.journal.opening import GAP
from edge_energy.journal.ranges import Debt
from edge_energy.journal.reader import Reader
from edge_energy.journal.store import UNREADABLE_KEPT, Commit, Store, Trimmed
from tests.unit.samples import BOOT, NOON, SECOND, new_entries, new_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PLENTY = 2**30
LATER = NOON + 10**6 * SECOND


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., Store]]:
    """Open the file as a start of the daemon does; what an earlier call opened is closed."""
    last: list[Store] = []

    def open_again(boot: str = BOOT, at: Path = path) -> Store:
        for store in last:
            store.close()
        last[:] = [Store(at)]
        last[0].begin(boot)
        return last[0]

    yield open_again
    for store in last:
        store.close()


@pytest.fixture
def store(opened: Callable[..., Store]) -> Store:
    return opened()


def rows(store: Store, sql: str = "SELECT position FROM entries ORDER BY position") -> list[Any]:
    found = store._db.execute(sql).fetchall()
    return [row[0] for row in found] if found and len(found[0]) == 1 else found


def let_it_be_full(store: Store) -> None:
    store._db.execute(f"PRAGMA max_page_count={store._value('PRAGMA page_count')}")


def let_it_have_space(store: Store) -> None:
    store._db.execute("PRAGMA max_page_count=1000000")


# -- commits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 255, 256, 257, 272, 273, 529, 1000])
def test_every_row_of_a_commit_is_written_whatever_its_size(store: Store, count: int) -> None:
    """Statements of 256, 16 and 1 rows together lose and double none."""
    assert store.commit(Commit(entries=new_entries(3))) == 3
    assert store.commit(Commit(entries=new_entries(count))) == 3 + count
    reader = Reader(store.path)
    extract = reader.read(1, 10_000, 10_000, store.boot)
    reader.close()
    assert [entry.position for entry in extract.entries] == [*range(1, count + 4)]
    assert [entry.body["power"] for entry in extract.entries[3:]] == [46.9 + number for number in range(count)]
    assert not extract.corrupt


def test_devices_are_numbers_and_keep_them(opened: Callable[..., Store], store: Store) -> None:
    """A name is written once, whatever is in it, and means the same after a restart."""
    names = ["plug", "salle/à manger", "it's", "\U0001f50c", "", "plug "]
    store.commit(Commit(entries=[new_entry(device=name) for name in names * 2]))
    assert [*store.devices] == names
    store = opened()
    assert {*store.devices} == {*names}
    assert len(rows(store, "SELECT DISTINCT device FROM entries")) == len(names)


@pytest.mark.parametrize("failure", ["a defect", "a full disk"])
def test_a_failed_commit_leaves_nothing_behind(store: Store, failure: str) -> None:
    """Neither entries nor state nor device numbers of it exist; the next commit goes on as if it had not been."""
    store.commit(Commit(entries=new_entries(1), state={"counter/a": 1.0}))
    commit = Commit(entries=[*new_entries(5_000, device="new"), new_entry(device="newer")], state={"counter/a": 2.0})
    if failure == "a full disk":
        let_it_be_full(store)
        with pytest.raises(JournalFull, match=r"free some, or lower \[journal\] max_size"):
            store.commit(commit)
        let_it_have_space(store)
    else:
        with pytest.raises(KeyError):
            store.commit(Commit(entries=[*commit.entries, new_entry(kind="no such kind")], state=commit.state))
    assert (rows(store), [*store.devices], store.newest) == ([1], ["plug"], 1)
    assert rows(store, "SELECT body FROM state") == ["1.0"]
    assert store.commit(Commit(entries=[new_entry(device="newer")])) == 2
    assert rows(store, "SELECT id, name FROM devices ORDER BY id") == [(1, "plug"), (2, "newer")]


def test_state_is_written_with_the_entries_and_deleted_by_none(store: Store) -> None:
    """A small fact is replaced by its key, and None removes it."""
    store.commit(Commit(state={"a": {"é": [1, None]}, "b": 2}))
    store.commit(Commit(state={"a": None, "b": 3, "never there": None}))
    assert rows(store, "SELECT key, body FROM state") == [("b", "3")]


def test_only_the_newest_unreadable_messages_are_kept_and_only_their_beginning(store: Store) -> None:
    """Rubbish cannot fill the disk: the newest 1,000 stay, 4 KiB of each."""
    for batch in range(3):
        messages = [(None, "mqtt a", f"{batch}-{number}", bytes(9_000)) for number in range(600)]
        store.commit(Commit(unreadable=messages))  # type: ignore[arg-type]
    kept = rows(store, "SELECT reason, length(payload) FROM unreadable ORDER BY id")
    assert len(kept) == UNREADABLE_KEPT
    assert (kept[0], kept[-1]) == (("1-200", 4096), ("2-599", 4096))


def test_what_is_owed_and_refused_is_replaced_as_a_whole(store: Store) -> None:
    """A sink's ranges replace its old ones only; a refusal is kept once and taken back by a retry."""
    store.commit(Commit(debts={"a": [(1, 5), (9, None)], "b": [(1, None)]}, set_aside=[("a", 3, "x"), ("a", 4, "x")]))
    store.commit(Commit(debts={"a": [(10, None)]}, set_aside=[("a", 3, "y")], retried=[("a", 4)]))
    assert rows(store, "SELECT * FROM pending ORDER BY sink") == [("a", 10, None), ("b", 1, None)]
    assert rows(store, "SELECT * FROM set_aside") == [("a", 3, "y")]


def test_sources_and_boots_keep_their_numbers(opened: Callable[..., Store], store: Store) -> None:
    """An origin and a boot mean the same after any number of restarts."""
    numbers = [store.source(name) for name in ("mqtt a", "mqtt b", "mqtt a")]
    assert [opened(boot).boot for boot in ("another", BOOT, "a third")] == [2, 1, 3]
    assert [opened().source(name) for name in ("mqtt b", "mqtt c")] == [numbers[1], 3]


# -- positions -----------------------------------------------------------------------------------------------


def test_a_position_is_never_given_twice(opened: Callable[..., Store], store: Store) -> None:
    """Trimming everything, and starting again, goes on behind the newest."""
    store.commit(Commit(entries=new_entries(2_500)))
    while store.trim(owing(store.newest + 1), LATER, (), PLENTY).more:
        pass
    assert rows(store) == [2_500]
    store = opened()
    assert store.commit(Commit(entries=new_entries(1))) == 2_501


def test_a_gap_outlives_a_restart_before_anything_was_written_behind_it(
    opened: Callable[..., Store], store: Store
) -> None:
    """Positions of lost entries stay lost, also when the appliance dies right after a recovery."""
    store.commit(Commit(entries=new_entries(10)))
    store.begin(BOOT, GAP)
    store = opened()
    assert store.commit(Commit(entries=new_entries(1))) == 10 + GAP + 1


@pytest.mark.parametrize("debts", [[(5_000_001, None)], [(7, 5_000_000), (6_000_000, None)], [(5, 5_000_000)]])
def test_new_entries_are_never_at_positions_that_a_sink_has_already_had(
    opened: Callable[..., Store], store: Store, debts: list[tuple[int, int | None]]
) -> None:
    """Where a damaged file lost more entries than the gap is wide, what sinks owe tells how far it went."""
    store.commit(Commit(entries=new_entries(10), debts={"influxdb": debts}))
    store.begin(BOOT, GAP)
    assert store.newest >= 5_000_000
    store = opened()
    assert store.newest >= 5_000_000 + GAP


# -- trimming ------------------------------------------------------------------------------------------------


def owing(first: int) -> Debt:
    """Return that everything from a position on is owed."""
    return Debt([(first, None)])


def trim_all(store: Store, floor: int, *, older_than: int = LATER, budget: int = PLENTY, sinks: Any = ()) -> Trimmed:
    total = Trimmed()
    while True:
        trimmed = store.trim(owing(floor), older_than, sinks, budget)
        total.delivered += trimmed.delivered
        total.dropped += trimmed.dropped
        if not trimmed.more:
            return total


@pytest.mark.parametrize(
    ("floor", "older_than", "delivered"),
    [
        pytest.param(4_001, LATER, 3_999, id="everything but the newest is delivered and old"),
        pytest.param(2_001, LATER, 2_000, id="half is owed"),
        pytest.param(1, LATER, 0, id="all is owed"),
        pytest.param(4_001, NOON, 0, id="nothing is old"),
        pytest.param(1_000, LATER, 0, id="too little to be worth it"),
        pytest.param(4_001, NOON + 1_500 * SECOND, 0, id="the bulk is not old to its end"),
    ],
)
def test_only_what_is_delivered_and_old_is_trimmed(store: Store, floor: int, older_than: int, delivered: int) -> None:
    """While the budget lasts, age and delivery both decide, in bulk."""
    store.commit(Commit(entries=new_entries(4_000)))
    assert trim_all(store, floor, older_than=older_than) == Trimmed(delivered=delivered)
    assert rows(store) == [*range(delivered + 1, 4_001)]


def test_age_is_counted_from_arrival_not_from_what_a_device_says(store: Store) -> None:
    """A device whose clock is years behind does not make the appliance forget what has just come."""
    store.commit(Commit(entries=new_entries(2_000, time=NOON - 10**9 * SECOND), anchors=[(0, NOON, "set")]))
    assert trim_all(store, 2_001, older_than=NOON) == Trimmed()
    assert trim_all(store, 2_001, older_than=LATER) == Trimmed(delivered=1_999)


def test_over_budget_goes_what_is_delivered_then_readings_then_the_rest(store: Store) -> None:
    """The budget is kept at the cost of the oldest readings; commands and incidents go last; all is counted."""
    kinds = [INCIDENT if n % 1_000 == 0 else COMMAND if n % 1_000 == 1 else READING for n in range(6_000)]
    store.commit(Commit(entries=[new_entry(n, kind=kind) for n, kind in enumerate(kinds)]))
    newest = store.newest

    def step() -> tuple[Trimmed, int, int]:
        trimmed = store.trim(owing(501), NOON, (), budget=0)  # positions 1 to 500 are delivered, none is old
        rare = rows(store, "SELECT count(*) FROM entries WHERE kind != 0")[0]
        return trimmed, rare, rows(store, "SELECT count(*) FROM entries")[0]

    assert step() == (Trimmed(delivered=500, more=True), 10, 5_500)
    assert step() == (Trimmed(dropped=5_000, more=True), 10, 500)
    assert step() == (Trimmed(dropped=489, more=True), 10, 11)
    assert step() == (Trimmed(dropped=10, more=True), 0, 1)
    assert step() == (Trimmed(), 0, 1)
    assert rows(store) == [newest]


def test_over_budget_delivered_entries_go_at_any_age(store: Store) -> None:
    """Nothing that is still owed is dropped while something delivered is there."""
    store.commit(Commit(entries=new_entries(3_000)))
    assert store.trim(owing(2_001), NOON, (), budget=store.used - 1) == Trimmed(delivered=2_000, more=True)
    assert store.trim(owing(2_001), NOON, (), budget=PLENTY) == Trimmed()
    assert rows(store) == [*range(2_001, 3_001)]


BACKLOG = Debt([(1_001, 5_000), (9_001, None)])
"""What waits behind an outage: what was recorded after it was delivered first, up to 9,000."""


def test_over_budget_what_was_delivered_behind_a_backlog_goes_before_it(store: Store) -> None:
    """Also a delivered entry that is younger: only what is owed may be called lost."""
    store.commit(Commit(entries=new_entries(10_000)))
    assert store.trim(BACKLOG, NOON, (), budget=0) == Trimmed(delivered=1_000, more=True)
    assert store.trim(BACKLOG, NOON, (), budget=0) == Trimmed(delivered=4_000, more=True)
    assert rows(store) == [*range(1_001, 5_001), *range(9_001, 10_001)]
    assert store.trim(BACKLOG, NOON, (), budget=0) == Trimmed(dropped=4_999, more=True)


def test_what_was_delivered_behind_a_backlog_is_trimmed_once_it_is_old(store: Store) -> None:
    """And the backlog itself when it has been delivered; what was refused stays."""
    store.commit(Commit(entries=new_entries(10_000), set_aside=[("here", 6_000, "bad"), ("here", 2_000, "bad")]))
    while store.trim(BACKLOG, LATER, ["here"], PLENTY).more:
        pass
    assert rows(store) == [*range(1_001, 5_001), 6_000, *range(9_001, 10_001)]
    while store.trim(owing(9_001), LATER, ["here"], PLENTY).more:
        pass
    assert rows(store) == [2_000, 6_000, *range(9_001, 10_001)]


def test_a_full_disk_finds_room_behind_a_backlog(store: Store) -> None:
    store.commit(Commit(entries=new_entries(12_000)))
    assert store.make_room(Debt([(1, 1_000), (12_000, None)]))
    assert rows(store) == [*range(1, 1_001), *range(11_001, 12_001)]


def test_what_was_brought_back_and_refused_again_is_not_forgotten(store: Store) -> None:
    """Both may be written by one transaction."""
    store.commit(Commit(entries=new_entries(5), set_aside=[("here", 2, "bad")]))
    store.commit(Commit(retried=[("here", 2)], set_aside=[("here", 2, "still bad")]))
    assert rows(store, "SELECT * FROM set_aside") == [("here", 2, "still bad")]


def test_refused_entries_outlive_trimming_while_their_sink_is_configured(store: Store) -> None:
    """`journal retry` finds what a configured sink refused; a sink that is gone pins nothing."""
    store.commit(Commit(entries=new_entries(2_000), set_aside=[("here", 7, "bad"), ("gone", 8, "bad")]))
    assert trim_all(store, 2_001, sinks=["here"]) == Trimmed(delivered=1_998)
    assert rows(store) == [7, 2_000]
    assert rows(store, "SELECT * FROM set_aside") == [("here", 7, "bad")]
    assert store.trim(owing(2_001), LATER, ["here"], budget=0).dropped == 1, "the budget comes first"
    assert rows(store, "SELECT * FROM set_aside") == []


def test_freed_pages_are_not_counted_as_used(store: Store) -> None:
    """`used` follows the rows, so that a file that grew once does not drop readings for ever."""
    store.commit(Commit(entries=new_entries(5_000)))
    full = store.used
    trim_all(store, 5_001)
    assert store.used < full / 3


# -- the full disk -------------------------------------------------------------------------------------------


class _Failing:
    """A connection on which one kind of statement finds the disk full."""

    def __init__(self, db: sqlite3.Connection, statement: str, code: int = sqlite3.SQLITE_FULL) -> None:
        self._db = db
        self._statement = statement
        self._code = code

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def execute(self, sql: str, *parameters: Any) -> Any:
        if sql.startswith(self._statement):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = self._code
            raise error
        return self._db.execute(sql, *parameters)


def test_room_is_made_of_what_is_delivered_however_young(store: Store) -> None:
    """On a full disk delivered entries go, what is owed stays, and the reserve is there again."""
    store.commit(Commit(entries=new_entries(12_000)))
    assert store.make_room(owing(11_001))
    assert rows(store) == [*range(11_001, 12_001)]
    assert files.reserve(store.path).stat().st_size == files.RESERVE


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("DELETE FROM entries", sqlite3.SQLITE_FULL),
        ("PRAGMA wal_checkpoint", sqlite3.SQLITE_FULL),
        ("PRAGMA wal_checkpoint", sqlite3.SQLITE_IOERR_WRITE),
        ("COMMIT", sqlite3.SQLITE_FULL),
    ],
)
def test_where_no_room_can_be_made_the_daemon_stays_up(
    store: Store, statement: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever finds the disk full while room is made, the answer is no, never the end of the process."""
    store.commit(Commit(entries=new_entries(2_000)))
    with monkeypatch.context() as patch:
        patch.setattr(store, "_db", _Failing(store._db, statement, code))
        assert store.make_room(owing(2_001)) is False
    assert store.make_room(owing(2_001)) is True


def test_damage_found_while_writing_is_left_for_the_next_start(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A corrupt file ends the process with `JournalError`, and a mark makes the next start salvage it."""
    monkeypatch.setattr(store, "_db", _Failing(store._db, "INSERT INTO entries", sqlite3.SQLITE_CORRUPT))
    with pytest.raises(JournalError):
        store.commit(Commit(entries=new_entries(1)))
    assert files.suspect_mark(store.path).exists()


# -- versions ------------------------------------------------------------------------------------------------


def test_every_file_has_an_identity_of_its_own_that_stays(opened: Callable[..., Store], tmp_path: Path) -> None:
    """(journal id, position) identifies an event for ever."""
    ids = [opened(at=tmp_path / name).journal_id for name in ("a.db", "b.db", "a.db")]
    assert ids[0] == ids[2] != ids[1]
    assert len(ids[0]) == 32


def test_a_file_of_a_newer_release_is_not_touched(path: Path, store: Store) -> None:
    """Going back to an older release is refused with what to do about it."""
    store._db.execute("PRAGMA user_version=99")
    with pytest.raises(JournalError, match=r"has schema 99.*install the newer release again"):
        Store(path)


def test_migrations_run_in_order_once_and_whole(
    opened: Callable[..., Store], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of an older release becomes the present one's, keeping its entries; half a migration is none."""
    store.commit(Commit(entries=new_entries(3)))
    store.close()
    scripts = tmp_path / "release"
    (scripts / "migrations").mkdir(parents=True)
    (scripts / "migrations" / "0002.sql").write_text("ALTER TABLE state ADD COLUMN two;")
    broken = scripts / "migrations" / "0003.sql"
    broken.write_text("ALTER TABLE state ADD COLUMN three; ALTER TABLE nowhere ADD COLUMN x;")
    monkeypatch.setattr(importlib.resources, "files", lambda _package: scripts)
    monkeypatch.setattr(store_module, "SCHEMA", 3)
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        Store(store.path)
    broken.write_text("ALTER TABLE state ADD COLUMN three;")
    for _ in range(2):
        store = opened()
        columns = rows(store, "SELECT name FROM pragma_table_info('state')")
        assert (columns[-2:], store._value("PRAGMA user_version"), rows(store)) == (["two", "three"], 3, [1, 2, 3])


def test_names_of_a_commit_that_failed_are_given_again(store: Store) -> None:
    """A device and a set of names that a failed commit introduced are written by the next, not taken for known."""
    entry = new_entry(0)._replace(device="new", body='{"never":1,"seen":2.5}')
    with pytest.raises(KeyError):
        store.commit(Commit(entries=[entry, entry._replace(kind="no such kind")]))
    store.commit(Commit(entries=[entry]))
    reader = Reader(store.path)
    try:
        found = reader.read(1, store.newest, 10, store.boot).entries
    finally:
        reader.close()
    assert [(got.device, got.body) for got in found] == [("new", {"never": 1, "seen": 2.5})]
