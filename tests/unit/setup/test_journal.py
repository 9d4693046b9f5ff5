"""The way back over a change of the journal's schema: nothing of the old file is lost, the newer one is kept."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge_energy.errors import ConfigError, JournalError
from edge_energy.journal.opening import Lock
from edge_energy.journal.store import SCHEMA, Store
from edge_energy.setup.journal import keep, put_back

if TYPE_CHECKING:
    from pathlib import Path


def make(directory: Path) -> str:
    with closing(Store(directory / "journal.db")) as store:
        store.begin("boot")
        return store.journal_id


def raise_schema(directory: Path) -> None:
    with closing(sqlite3.connect(directory / "journal.db", isolation_level=None)) as database:
        database.execute("CREATE TABLE future (x)")
        database.execute(f"PRAGMA user_version={SCHEMA + 1}")


def test_with_one_schema_nothing_is_copied(tmp_path: Path) -> None:
    """And an older copy, which no release needs any more, goes."""
    make(tmp_path)
    (tmp_path / "journal.db.before-upgrade").write_text("old")
    assert keep(tmp_path, SCHEMA) is None
    assert not (tmp_path / "journal.db.before-upgrade").exists()
    assert put_back(tmp_path) is None


def test_no_journal_needs_no_copy(tmp_path: Path) -> None:
    assert keep(tmp_path, SCHEMA + 1) is None
    assert put_back(tmp_path) is None


def test_the_copy_comes_back_and_the_newer_file_stays(tmp_path: Path) -> None:
    """The old release opens it; its positions cannot be mistaken for those that were given since."""
    identity = make(tmp_path)
    assert keep(tmp_path, SCHEMA + 1) == tmp_path / "journal.db.before-upgrade"
    raise_schema(tmp_path)
    with pytest.raises(JournalError):
        Store(tmp_path / "journal.db")
    assert put_back(tmp_path) == tmp_path / f"journal.db.schema-{SCHEMA + 1}"
    with closing(Store(tmp_path / "journal.db")) as store:
        assert store.journal_id != identity
    with closing(sqlite3.connect(tmp_path / f"journal.db.schema-{SCHEMA + 1}")) as database:
        database.execute("SELECT * FROM future")
    assert put_back(tmp_path) is None, "a second time there is nothing to do"


def test_what_the_new_release_left_in_its_log_does_not_spoil_the_copy(tmp_path: Path) -> None:
    """A write-ahead log beside a file that it does not belong to would be the end of both."""
    make(tmp_path)
    keep(tmp_path, SCHEMA + 1)
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
            keep(tmp_path, SCHEMA + 1)
        with pytest.raises(ConfigError):
            put_back(tmp_path)
    finally:
        lock.release()
