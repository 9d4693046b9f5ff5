"""The way back over a change of the journal's schema: nothing of the old file is lost, the newer one is kept."""

from __future__ import annotations

import itertools
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge_energy.errors import ConfigError, JournalError
from edge_energy.journal.opening import Lock
from edge_energy.journal.store import SCHEMA, Store
from edge_energy.setup.journal import forget, keep, needs_copy, put_back

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def make(directory: Path) -> str:
    with closing(Store(directory / "journal.db")) as store:
        store.begin("boot")
        return store.journal_id


def raise_schema(directory: Path) -> None:
    with closing(sqlite3.connect(directory / "journal.db", isolation_level=None)) as database:
        database.execute("CREATE TABLE future (x)")
        database.execute(f"PRAGMA user_version={SCHEMA + 1}")


@pytest.fixture
def next_release(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Become the release that writes the next schema, or the one of before again."""
    schemas = itertools.cycle([SCHEMA + 1, SCHEMA])
    return lambda: monkeypatch.setattr("edge_energy.setup.journal.SCHEMA", next(schemas))


def test_a_copy_is_needed_where_the_schema_changes(tmp_path: Path, next_release: Callable[[], None]) -> None:
    """The new release tells it by the file alone: the old one may not start any more. The daemon may run."""
    assert not needs_copy(tmp_path), "no journal, no copy"
    with closing(Store(tmp_path / "journal.db")):
        assert not needs_copy(tmp_path)
        next_release()
        assert needs_copy(tmp_path)


def test_a_journal_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"no database" * 500)
    with pytest.raises(JournalError, match="cannot be read"):
        needs_copy(tmp_path)


def test_only_what_is_forgotten_is_deleted(tmp_path: Path) -> None:
    make(tmp_path)
    keep(tmp_path)
    forget(tmp_path)
    assert [file.name for file in tmp_path.glob("*before*")] == []
    forget(tmp_path)
    assert put_back(tmp_path) is None


def test_the_copy_comes_back_and_the_newer_file_stays(tmp_path: Path) -> None:
    """The old release opens it; its positions cannot be mistaken for those that were given since."""
    identity = make(tmp_path)
    assert keep(tmp_path) == tmp_path / "journal.db.before-upgrade"
    raise_schema(tmp_path)
    with pytest.raises(JournalError):
        Store(tmp_path / "journal.db")
    assert put_back(tmp_path) == tmp_path / f"journal.db.schema-{SCHEMA + 1}"
    with closing(Store(tmp_path / "journal.db")) as store:
        assert store.journal_id != identity
    with closing(sqlite3.connect(tmp_path / f"journal.db.schema-{SCHEMA + 1}")) as database:
        database.execute("SELECT * FROM future")
    assert put_back(tmp_path) is None, "a second time there is nothing to do"


def test_every_way_back_keeps_what_was_acknowledged_meanwhile(tmp_path: Path) -> None:
    """The second one does not delete what the first has put aside; an interrupted one goes on."""
    make(tmp_path)
    for kept in (f"journal.db.schema-{SCHEMA + 1}", f"journal.db.schema-{SCHEMA + 1}.2"):
        keep(tmp_path)
        raise_schema(tmp_path)
        os.link(tmp_path / "journal.db", tmp_path / kept)  # killed here, and run again
        assert put_back(tmp_path) == tmp_path / kept
    assert len(list(tmp_path.glob("*.schema-*"))) == 2


def test_what_the_new_release_left_in_its_log_does_not_spoil_the_copy(tmp_path: Path) -> None:
    """A write-ahead log beside a file that it does not belong to would be the end of both."""
    make(tmp_path)
    keep(tmp_path)
    raise_schema(tmp_path)
    (tmp_path / "journal.db-wal").write_bytes(b"left")
    put_back(tmp_path)
    assert not (tmp_path / "journal.db-wal").exists()


def test_without_a_copy_it_says_so(tmp_path: Path) -> None:
    make(tmp_path)
    raise_schema(tmp_path)
    with pytest.raises(JournalError, match="no copy"):
        put_back(tmp_path)


def test_a_running_daemon_is_not_disturbed(tmp_path: Path) -> None:
    make(tmp_path)
    lock = Lock(tmp_path)
    try:
        with pytest.raises(ConfigError):
            keep(tmp_path)
        with pytest.raises(ConfigError):
            put_back(tmp_path)
    finally:
        lock.release()
