"""The journal is copied whole while somebody writes to it, and damage in the copy is found."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge_energy.journal.store import SCHEMA, Commit, Store
from edge_energy.upkeep import snapshot
from edge_energy.upkeep.errors import NotDone
from tests.unit.samples import BOOT, new_entries
from tests.unit.upkeep.appliance import look, record

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "journal.db"
    record(path, 2_000)
    return path


def test_a_copy_is_of_one_moment_though_commits_go_on(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It neither waits for an end of the writing, nor holds up a commit, nor has half of one."""
    monkeypatch.setattr(snapshot, "PAGES", 1)
    target, stop, longest, done = tmp_path / "copy.db", threading.Event(), [0.0], [0]

    def write() -> None:
        with closing(Store(journal)) as store:
            store.begin(BOOT)
            while not stop.is_set():
                began = time.monotonic()
                store.commit(Commit(entries=new_entries(10)))
                longest[0] = max(longest[0], time.monotonic() - began)
                done[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while done[0] < 5:
            time.sleep(0.001)
        newest = done[0]
        snapshot.copy(journal, target)
        after = done[0]
    finally:
        stop.set()
        writer.join()
    found = snapshot.examine(target)
    assert after > newest
    assert 2_000 + newest * 10 <= found.position <= 2_000 + (after + 1) * 10
    assert found.position % 10 == 0
    assert (found.entries, found.wrong, found.schema) == (found.position, 0, SCHEMA)
    assert longest[0] < 8
    assert not list(tmp_path.glob("copy.db-*"))


def test_a_wal_that_nobody_has_folded_in_is_copied_too(journal: Path, tmp_path: Path) -> None:
    """After a power cut most of the journal may be there; and it stays as it is, for a repair."""
    crashed = tmp_path / "crashed" / "journal.db"
    crashed.parent.mkdir()
    with closing(Store(journal)) as store:
        store.begin(BOOT)
        store.commit(Commit(entries=new_entries(10)))
        for suffix in ("", "-wal"):
            crashed.with_name(crashed.name + suffix).write_bytes(
                journal.with_name(journal.name + suffix).read_bytes()
            )
    wal = crashed.with_name("journal.db-wal").read_bytes()
    assert wal
    snapshot.copy(crashed, tmp_path / "copy.db")
    assert snapshot.examine(tmp_path / "copy.db").position == 2_010
    assert crashed.with_name("journal.db-wal").read_bytes() == wal


def test_an_entry_that_the_disk_has_changed_is_counted(journal: Path, tmp_path: Path) -> None:
    """It is no reason to have no backup; a page that is damaged is one."""
    with closing(sqlite3.connect(journal)) as db, db:
        db.execute("UPDATE entries SET body = replace(body, '4', '9') WHERE position = 1")
        db.execute("UPDATE entries SET body = x'ff00' WHERE position = 8")
    snapshot.copy(journal, tmp_path / "copy.db")
    assert snapshot.examine(tmp_path / "copy.db")[3:] == (2_000, 2)
    content = bytearray(journal.read_bytes())
    content[20 * 4096 : 21 * 4096] = b"\x55" * 4096
    journal.write_bytes(content)
    with pytest.raises(NotDone, match="damaged"):
        snapshot.examine(journal)


def test_a_journal_of_a_newer_release_is_named(journal: Path) -> None:
    """An older program must not go on with it."""
    with closing(sqlite3.connect(journal)) as db:
        db.execute(f"PRAGMA user_version={SCHEMA + 1}")
    with pytest.raises(NotDone, match="newer release"):
        snapshot.examine(journal)


@pytest.mark.parametrize("content", [b"", b"no database at all" * 1000])
def test_what_is_no_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    """Whatever it is."""
    file = tmp_path / "journal.db"
    file.write_bytes(content)
    with pytest.raises(NotDone, match="damaged"):
        snapshot.examine(file)
    with pytest.raises(NotDone, match="start the daemon"):
        snapshot.copy(file, tmp_path / "copy.db")


def test_settled_is_one_file(journal: Path) -> None:
    """What is put aside has nothing beside it that belongs to it."""
    with closing(Store(journal)) as store:
        store.begin(BOOT)
        store.commit(Commit(entries=new_entries(10)))
        kept = {path.name: path.read_bytes() for path in journal.parent.iterdir()}
    for name, content in kept.items():
        (journal.parent / name).write_bytes(content)
    snapshot.settle(journal)
    assert not journal.with_name("journal.db-wal").exists()
    assert look(journal, "SELECT max(position) FROM entries") == [(2_010,)]


@pytest.mark.parametrize(("user", "said"), [(0, "start the daemon"), (1000, r"root \(sudo\)")])
def test_whoever_may_only_read_is_told_to_be_root(
    journal: Path, monkeypatch: pytest.MonkeyPatch, user: int, said: str
) -> None:
    """SQLite makes files beside a journal whose daemon is stopped, and calls the refusal a read-only database."""
    refusal = sqlite3.OperationalError("attempt to write a readonly database")
    refusal.sqlite_errorcode = sqlite3.SQLITE_READONLY

    def refuse(_: Path) -> None:
        raise refusal

    monkeypatch.setattr(snapshot, "_open", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with pytest.raises(NotDone, match=said):
        snapshot.size(journal)
