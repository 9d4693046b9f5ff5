"""The journal, copied whole while the daemon writes to it, and looked through afterwards.

The copy is made inside one read transaction: of the moment at which it began, however long it takes. Without that
SQLite's backup would begin anew at every commit, and never end. Readers of a WAL do not block its writer; meanwhile
the WAL grows by what is recorded. And the copy goes to the disk in small pieces, so that a commit waits behind one of
those at most.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_energy.journal.files import open_database, reserve, wal_of
from edge_energy.journal.rows import checksum
from edge_energy.journal.salvage import broken_wal
from edge_energy.journal.store import SCHEMA
from edge_energy.upkeep.errors import NotDone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES = 512  # of a step: 2 MiB
REPAIR = "start the daemon, which repairs it, then try again"
_NOT_ALLOWED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)  # to make the files that belong to a WAL
_WAIT = 10.0  # seconds; while a daemon that just starts has the file for itself


class Contents(NamedTuple):
    """What a journal holds; `wrong` entries have a checksum that is not theirs."""

    journal_id: str
    position: int
    schema: int
    entries: int
    wrong: int


def refuse_in_pieces(journal: Path) -> None:
    """Raise `NotDone` where the file is not all there is: after a power cut the rest may lie beside it.

    That is a repair which the next start of the daemon completes, or a WAL whose file is empty: SQLite would take
    that for a new one and delete the WAL.
    """
    around = [path.name for path in journal.parent.glob("journal.*") if path not in (journal, reserve(journal))]
    empty = not journal.exists() or journal.stat().st_size == 0
    if (empty and around) or f"{journal.name}.recovered" in around:
        raise NotDone(f"{journal} is in the middle of a repair ({', '.join(sorted(around))}): {REPAIR}")


def size(journal: Path) -> int:
    """Return how many bytes a copy takes. Raises `NotDone`."""
    with _whole(journal), closing(_open(journal)) as db:
        return int(_ask(db, "PRAGMA page_count")) * int(_ask(db, "PRAGMA page_size"))


def copy(journal: Path, target: Path) -> None:
    """Copy the journal into a file that does not exist yet. Raises `NotDone`, and `OSError` for the target."""
    handle = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with (
            _whole(journal),
            closing(_open(journal)) as source,
            closing(sqlite3.connect(target, isolation_level=None)) as copied,
        ):
            copied.execute("PRAGMA journal_mode=OFF")
            copied.execute("PRAGMA synchronous=OFF")  # we do that ourselves
            source.execute("BEGIN")
            _ask(source, "SELECT journal_id FROM meta")
            source.backup(copied, pages=PAGES, progress=lambda *_: os.fsync(handle))
            copied.execute("PRAGMA journal_mode=DELETE")  # or whoever opens it makes a WAL beside it
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _whole(journal: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
            raise NotDone("no space left for a copy of the journal: free some, or back up to another disk") from None
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_ALLOWED and os.geteuid() != 0:
            raise NotDone(f"{journal} cannot be read by you alone ({error}): run this as root (sudo)") from None
        raise NotDone(f"{journal} cannot be copied ({error}): {REPAIR}") from None


def settle(journal: Path) -> None:
    """Bring what is in the WAL of a stopped journal into its file, so that it is one; of a damaged one, nothing.

    Nor of an empty file: SQLite would delete its WAL.
    """
    if journal.exists() and journal.stat().st_size and broken_wal(wal_of(journal)) is None:
        with suppress(sqlite3.Error), closing(open_database(journal)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def identify(journal: Path) -> str:
    """Return the id of a journal; nothing where there is none."""
    if not journal.exists():
        return ""
    with closing(_open(journal)) as db:
        return str(_ask(db, "SELECT journal_id FROM meta"))


def examine(copied: Path) -> Contents:
    """Look through a copy, every page and every entry. Raises `NotDone` where it is no whole journal."""
    try:
        with closing(_open(copied)) as db:
            schema = _ask(db, "PRAGMA user_version")
            if schema > SCHEMA:
                raise NotDone(
                    f"the journal has schema {schema}, this release knows {SCHEMA}: "
                    "use the newer release that wrote it"
                )
            if (found := _ask(db, "PRAGMA integrity_check(1)")) != "ok":
                raise NotDone(f"the journal is damaged ({found.splitlines()[0]})")
            position = _ask(db, "SELECT max(position) FROM entries") or 0
            return Contents(_ask(db, "SELECT journal_id FROM meta"), position, schema, *_count(db))
    except (sqlite3.Error, TypeError) as error:
        raise NotDone(f"the journal is damaged ({error})") from None


def _count(db: sqlite3.Connection) -> tuple[int, int]:
    """Return how many entries there are, and how many of them are not what was written."""
    entries = wrong = 0
    db.text_factory = bytes  # of a damaged row it may be no text
    for row in db.execute("SELECT * FROM entries"):
        entries += 1
        try:
            position, kind, device, time, span, boot, uptime, origin, crc, body = row
            wrong += checksum(position, kind, device, time, span, boot, uptime, origin, body) != crc
        except (struct.error, TypeError):
            wrong += 1
    return entries, wrong


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=_WAIT)


def _ask(db: sqlite3.Connection, sql: str) -> Any:
    return db.execute(sql).fetchone()[0]
