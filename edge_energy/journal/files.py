"""The files of a journal: their names, how SQLite opens them, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

from edge_energy.errors import JournalFull

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAGE = 4096
RESERVE = 4 * 2**20  # bytes that let delete and checkpoint succeed on a full disk
WAL_ALLOWANCE = 4 * 2**20  # bytes that the write-ahead log may take beside the file
_DISK_ERRORS = (
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_CANTOPEN,
)


def sync(path: Path) -> None:
    """Have a file, or the names in a directory, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_database(path: Path) -> sqlite3.Connection:
    """Open a connection with the journal's settings (for any thread, one at a time)."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    try:
        connection.execute(f"PRAGMA page_size={PAGE}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_autocheckpoint=250")
        connection.execute("PRAGMA journal_size_limit=4194304")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("PRAGMA cache_size=-1024")  # KiB; the largest commit touches a fifth of it
    except BaseException:
        connection.close()
        raise
    return connection


class Transaction:
    """BEGIN … COMMIT, rolled back on any error; SQLite's errors become ours."""

    def __init__(self, db: sqlite3.Connection, translate: Callable[[sqlite3.Error], None]) -> None:
        self._db = db
        self._translate = translate

    def __enter__(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self._translate(error)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            try:
                self._db.execute("COMMIT")
            except sqlite3.Error as failure:
                error = failure
            else:
                return
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            self._translate(error)


def disk_full(path: Path, error: sqlite3.Error, *, certain: bool = False) -> bool:
    """Tell whether an error means that the disk is full, which SQLite often calls an I/O error."""
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL or (certain and code in _DISK_ERRORS):
        return True
    stat = os.statvfs(path.parent)
    return code in _DISK_ERRORS and stat.f_bavail * stat.f_frsize < 2**20


def no_space(path: Path) -> JournalFull:
    """Return what the operator must know of a full disk."""
    return JournalFull(f"no space left for {path}: free some, or lower [journal] max_size")


def wal_of(path: Path) -> Path:
    """Return SQLite's write-ahead log of a file."""
    return path.with_name(f"{path.name}-wal")


def reserve(path: Path) -> Path:
    """Return the file whose release makes room on a full disk."""
    return path.with_suffix(".reserve")


def suspect_mark(path: Path) -> Path:
    """Return the file that tells the next start to salvage."""
    return path.with_suffix(".suspect")


def mark_suspect(path: Path, error: sqlite3.Error) -> None:
    """Note for the next start that the file is damaged, where that is what the error says."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        suspect_mark(path).write_text(f"{error}\n")
