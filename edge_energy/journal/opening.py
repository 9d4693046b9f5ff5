"""Opens the journal, whatever state its file is in: a damaged one is moved aside and what is intact taken over."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import structlog

from edge_energy.errors import ConfigError, JournalError, JournalFull
from edge_energy.journal.files import disk_full, no_space, open_database, reserve, suspect_mark, sync, wal_of
from edge_energy.journal.rows import Row
from edge_energy.journal.salvage import Fact, Suspect, broken_wal, damage, read_table, salvage
from edge_energy.journal.store import Store

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger()

# Positions of a recovered file go on far above the highest known: those that were lost are never given again.
GAP = 1_000_000
_BULK = 10_000
_TABLES: tuple[str, ...] = ("meta", "entries", "pending", "set_aside", "state", "unreadable")
_TABLES += ("devices", "sources", "boots", "shapes", "anchors")
_SEALED_COLUMNS = {
    "devices": "id, name",
    "sources": "id, name",
    "boots": "id, uuid",
    "shapes": "id, names",
    "anchors": "boot, uptime, time, quality",
}


class Lock:
    """Keeps other daemons away from a state directory, for as long as the process lives."""

    def __init__(self, directory: Path) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            # No link is followed, and nothing truncated: root opens it, too, and the directory is not root's.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.fdopen(os.open(directory / "lock", flags, 0o644), "w")
        except OSError as error:
            raise ConfigError(
                [f"[appliance] state_dir = {str(directory)!r}: cannot write there ({error.strerror})"]
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise ConfigError(
                [f"[appliance] state_dir = {str(directory)!r}: another daemon is using it; give each its own"]
            ) from error

    def release(self) -> None:
        """Let others in."""
        self._file.close()


def open_store(path: Path, boot: str) -> tuple[Store, str | None]:
    """Open or create the journal; return it, and in words what had to be repaired.

    Raises `JournalFull` where the disk is so full that even the reserve does not help; nothing was changed then.
    """
    try:
        return _open_or_recover(path, boot)
    except JournalFull:
        if not reserve(path).exists():
            raise
    reserve(path).unlink()  # this is what it is for; it is made again once there is space
    return _open_or_recover(path, boot)


def _open_or_recover(path: Path, boot: str) -> tuple[Store, str | None]:
    try:
        if _recovered(path).exists():
            aside = _swap(path)
            return _begin(
                Store(path), boot
            ), f"the file was damaged and moved to {aside.name}; its repair was completed"
        reason = _why_not(path)
        if reason is None:
            try:
                return _begin(Store(path), boot), None
            except sqlite3.DatabaseError as error:
                if disk_full(path, error) or not _is_damage(error):
                    raise
                reason = str(error)
        log.error("the journal is damaged: taking over what is intact", file=str(path), reason=reason)
        return _recover(path, boot, reason)
    except sqlite3.Error as error:
        if disk_full(path, error):
            raise no_space(path) from error
        raise JournalError(f"{path}: {error}") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise no_space(path) from error
        raise


def _begin(store: Store, boot: str) -> Store:
    try:
        store.begin(boot)
    except BaseException:
        store.close()
        raise
    return store


def _is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,  # a schema that is not ours, or no longer there
        sqlite3.SQLITE_IOERR,
    )


def _why_not(path: Path) -> str | None:
    """Tell why the file should not be opened as it is."""
    mark = suspect_mark(path)
    if mark.exists():
        return mark.read_text().strip() or "an earlier run found it damaged"
    if not path.exists() or path.stat().st_size == 0:
        # SQLite takes an empty file for a new one and deletes the WAL, which may hold everything.
        wal = wal_of(path)
        return "the file is empty" if wal.exists() and wal.stat().st_size else None
    if reason := broken_wal(wal_of(path)):
        return reason
    try:
        with closing(open_database(path)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            for table in _TABLES:
                for order in ("ASC", "DESC"):
                    database.execute(f"SELECT * FROM {table} ORDER BY rowid {order} LIMIT 1").fetchone()
    except sqlite3.DatabaseError as error:
        if disk_full(path, error):
            raise
        return str(error) if _is_damage(error) else None
    return damage(path)


def _recover(path: Path, boot: str, reason: str) -> tuple[Store, str]:
    """Make a new file, with a new id, of everything intact in the damaged one, and put it in its place.

    The damaged file stays where it is, and marked, until the new one is complete: after a power cut in between the
    next start begins again.
    """
    suspect_mark(path).write_text(f"{reason}\n")
    unfinished = path.with_name(f"{path.name}.unfinished")
    for suffix in ("", "-wal", "-shm"):
        unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
    found: Counter[str] = Counter()
    with closing(Store(unfinished)) as store:
        _take_over(store, path, found)
        owed = _take_over_changing(store, path)
        store.begin(boot, gap=GAP)
    reserve(unfinished).unlink(missing_ok=True)
    unfinished.rename(_recovered(path))
    aside = _swap(path)
    words = (
        f"the file was damaged ({reason}) and moved to {aside.name}: {found['entries']} entries were recovered, "
        f"{found['suspects']} with a wrong checksum were kept aside as unreadable"
    )
    if not owed:
        words += ", and everything is delivered again"
    log.warning("recovered", file=str(path), result=words)
    return _begin(Store(path), boot), words


def _recovered(path: Path) -> Path:
    """Return the name of a complete new file that waits to replace the damaged one."""
    return path.with_name(f"{path.name}.recovered")


def _swap(path: Path) -> Path:
    """Put the complete new file into the place of the damaged one, which is kept; return its new name.

    Whatever a power cut interrupts is done again at the next start. Files kept by earlier repairs are deleted: one
    is enough on a small disk.
    """
    sync(path.parent)
    for old in path.parent.glob(f"{path.name}.damaged-*"):
        old.unlink()
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
    for source, target in ((path, aside), (wal_of(path), wal_of(aside))):
        if source.exists():
            source.rename(target)
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    sync(path.parent)  # the old WAL must not lie beside the new file
    _recovered(path).rename(path)
    sync(path.parent)
    suspect_mark(path).unlink(missing_ok=True)
    return aside


def _take_over(store: Store, aside: Path, found: Counter[str]) -> None:
    """Copy entries and the names they refer to; of two rows with one position the first counts, suspects last."""
    rows: list[Row] = []
    suspects: dict[int, Row] = {}
    facts: set[Fact] = set()
    for item in salvage(aside):
        if isinstance(item, Row):
            rows.append(item)
            if len(rows) >= _BULK:
                found["entries"] += store.adopt("entries", rows)
                rows = []
        elif isinstance(item, Suspect):
            suspects[item.row.position] = item.row
        elif isinstance(item, Fact):
            facts.add(item)
    found["entries"] += store.adopt("entries", rows)
    for fact in facts:
        store.adopt(fact.table, [fact.columns], _SEALED_COLUMNS[fact.table])
    store.name_the_nameless()
    lost = [row for position, row in suspects.items() if not store.has(position)]
    found["suspects"] = len(lost)
    store.adopt(
        "unreadable",
        [(row.time, "journal", f"entry {row.position}: the checksum is wrong", row.body.encode()) for row in lost],
        "time, origin, reason, payload",
    )


def _take_over_changing(store: Store, aside: Path) -> bool:
    """Copy what sinks owe, what they refused, and the small facts; tell whether it is known what they owe."""
    owed, complete = read_table(aside, "pending")
    if complete:
        store.adopt("pending", owed)
    for table in ("set_aside", "state"):
        store.adopt(table, read_table(aside, table)[0])
    return complete
