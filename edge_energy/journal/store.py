"""The journal's file, written: blocking, used by the journal's writer thread only."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

from edge_energy.errors import JournalError, JournalFull
from edge_energy.interfaces import READING
from edge_energy.journal import shapes
from edge_energy.journal.dating import Anchors
from edge_energy.journal.files import (
    PAGE,
    RESERVE,
    Transaction,
    disk_full,
    mark_suspect,
    no_space,
    open_database,
    reserve,
)
from edge_energy.journal.rows import KIND_NUMBERS, checksum

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from edge_energy.interfaces import NewEntry
    from edge_energy.journal.ranges import Debt

SCHEMA = 1
UNREADABLE_KEPT = 1_000
UNREADABLE_BYTES = 4096
TRIM_ROWS = 5_000  # per transaction: some 10 ms, so that commits wait little
TRIM_LEAST = 1_000  # less is not worth the pages it rewrites

# One statement inserts many rows: SQLite steps once per statement, and each step gives up the interpreter lock,
# which a busy event loop returns only after up to 5 ms. Row by row, a commit of 1,000 rows took a second.
_CHUNKS = (256, 16, 1)
_COLUMNS = 10
_INSERT = {
    rows: "INSERT INTO entries VALUES " + ",".join(["(" + ",".join("?" * _COLUMNS) + ")"] * rows) for rows in _CHUNKS
}
# Positions that were given, where the entries themselves may be gone: a sink owes nothing before its first.
_HIGHEST = (
    "SELECT max(position) FROM entries",
    "SELECT max(max(first) - 1, ifnull(max(last), 0)) FROM pending",
    "SELECT body FROM state WHERE key = 'journal/newest'",
)


@dataclass(slots=True)
class Commit:
    """What one transaction writes."""

    entries: list[NewEntry] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    unreadable: list[tuple[int | None, str, str, bytes]] = field(default_factory=list)
    debts: dict[str, list[tuple[int, int | None]]] = field(default_factory=dict)
    set_aside: list[tuple[str, int, str]] = field(default_factory=list)
    retried: list[tuple[str, int]] = field(default_factory=list)
    anchors: list[tuple[int, int, str]] = field(default_factory=list)


@dataclass(slots=True)
class Trimmed:
    """What one trimming transaction removed: delivered rows, and rows that a sink still owed."""

    delivered: int = 0
    dropped: int = 0
    more: bool = False


class Store:
    """The writing side of one journal file. The only writer; no other process opens the file.

    Every method blocks. `JournalFull` means that nothing of the call was written; `JournalError` that the file
    or the disk failed and the process should end.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file; `begin` comes before all writing."""
        self.path = path
        self.newest = 0
        self.devices: dict[str, int] = {}
        self.sources: dict[str, int] = {}
        self.shapes: dict[shapes.Names, int] = {}
        self.used = 0
        """Bytes that rows take. What trimming frees is used again, though the file never shrinks."""
        self._reserve = reserve(path)
        self._trimmed: dict[int, int] = {}
        """Of each gap in what is owed, by its first position: how far it was trimmed."""
        self._db = open_database(path)
        try:
            self._migrate()
            self.journal_id = str(self._value("SELECT journal_id FROM meta"))
        except BaseException:
            self._db.close()
            raise

    # -- opening ----------------------------------------------------------------------------------------------

    def begin(self, boot: str, gap: int = 0) -> None:
        """Read what the file holds, and note this boot of the machine; leave `gap` positions out."""
        self.newest = max(int(self._value(sql) or 0) for sql in _HIGHEST) + gap
        if gap:  # also without an entry up there, the next start must go on from there
            self._db.execute("INSERT OR REPLACE INTO state VALUES ('journal/newest', NULL, ?)", (str(self.newest),))
        self.devices = self._names("devices")
        self.sources = self._names("sources")
        known_shapes = self._db.execute("SELECT id, names FROM shapes")
        self.shapes = {shapes.decode_names(names): number for number, names in known_shapes}
        known = "SELECT id FROM boots WHERE uuid = ?"
        if self._value(known, boot) is None:
            self._db.execute("INSERT INTO boots (uuid) VALUES (?)", (boot,))
        self.boot = int(self._value(known, boot))
        self._measure()
        self._make_reserve()

    def _migrate(self) -> None:
        version = int(self._value("PRAGMA user_version") or 0)
        if version > SCHEMA:
            raise JournalError(
                f"{self.path} has schema {version}, this release knows {SCHEMA}: install the newer release again, "
                "or move the file away"
            )
        scripts = resources.files("edge_energy.journal")
        if version == 0:
            identity = f"INSERT INTO meta VALUES ('{uuid.uuid4().hex}', {SCHEMA});"
            self._script(f"{(scripts / 'schema.sql').read_text()}\n{identity}", SCHEMA)
        for number in range(max(version, 1) + 1, SCHEMA + 1):
            self._script((scripts / "migrations" / f"{number:04}.sql").read_text(), number)

    def _script(self, sql: str, version: int) -> None:
        self._db.executescript(f"BEGIN;\n{sql}\nPRAGMA user_version={version};\nCOMMIT;")

    def _names(self, table: str) -> dict[str, int]:
        return {name: number for number, name in self._db.execute(f"SELECT id, name FROM {table}")}

    def _value(self, sql: str, *parameters: object) -> Any:
        row = self._db.execute(sql, parameters).fetchone()
        return None if row is None else row[0]

    def close(self) -> None:
        """Checkpoint and close."""
        self._db.close()

    def adopt(self, table: str, rows: Iterable[Sequence[object]], columns: str = "") -> int:
        """Take over rows from a damaged file, those that are there already excepted; return how many."""
        rows = list(rows)
        if not rows:
            return 0
        marks = ",".join("?" * len(rows[0]))
        target = f"{table} ({columns})" if columns else table
        with self._transaction():
            before = self._db.total_changes
            self._db.executemany(f"INSERT OR IGNORE INTO {target} VALUES ({marks})", rows)
            return self._db.total_changes - before

    def name_the_nameless(self) -> None:
        """Give a name to every number that entries refer to and whose own row is lost, so that no other gets it."""
        with self._transaction():
            for table, column, name in (("devices", "device", "name"), ("boots", "boot", "uuid")):
                self._db.execute(
                    f"INSERT OR IGNORE INTO {table} (id, {name}) "
                    f"SELECT DISTINCT {column}, 'unknown-' || {column} FROM entries"
                )
            number = "CAST(body AS INTEGER)"
            self._db.execute(
                f"INSERT OR IGNORE INTO shapes (id, names) SELECT DISTINCT {number}, "
                f"'[\"unknown-' || {number} || '\"]' "
                "FROM entries WHERE kind = 0 AND substr(body, 1, 1) != '{'"
            )

    def has(self, position: int) -> bool:
        """Tell whether there is an entry at a position."""
        return self._value("SELECT 1 FROM entries WHERE position = ?", position) is not None

    # -- writing ----------------------------------------------------------------------------------------------

    def commit(self, commit: Commit) -> int:
        """Write one transaction, durable on return; give its newest position."""
        devices, forms = len(self.devices), len(self.shapes)
        try:
            with self._transaction():
                newest = self._insert(commit.entries)
                self._write_small(commit)
        except BaseException:
            # What the transaction would have named is not there.
            _forget_behind(self.devices, devices)
            _forget_behind(self.shapes, forms)
            raise
        self.newest = newest
        self._measure()
        return newest

    def _insert(self, entries: list[NewEntry]) -> int:
        position = self.newest
        flat: list[object] = []
        for kind, device, time, uptime, body, span, origin in entries:
            position += 1
            number = KIND_NUMBERS[kind]
            device_id = self.devices.get(device) or self._add_device(device)
            stored = self._pack(body) if kind == READING else body
            crc = checksum(position, number, device_id, time, span, self.boot, uptime, origin, stored.encode())
            flat += (position, number, device_id, time, span, self.boot, uptime, origin, crc, stored)
        start, rows = 0, len(entries)
        for size in _CHUNKS:
            while rows - start >= size:
                self._db.execute(_INSERT[size], flat[start * _COLUMNS : (start + size) * _COLUMNS])
                start += size
        return position

    def _pack(self, body: str) -> str:
        names, values = shapes.split(body)
        number = self.shapes.get(names)
        if number is None:
            if len(self.shapes) >= shapes.MOST:
                return body
            number = self.shapes[names] = max(self.shapes.values(), default=0) + 1
            self._db.execute("INSERT INTO shapes VALUES (?, ?)", (number, shapes.encode_names(names)))
        return f"{number}{values}"

    def _add_device(self, name: str) -> int:
        number = max(self.devices.values(), default=0) + 1
        self._db.execute("INSERT INTO devices VALUES (?, ?)", (number, name))
        self.devices[name] = number
        return number

    def source(self, name: str) -> int:
        """Return the number of a source, given for ever."""
        if name not in self.sources:
            with self._transaction():
                self._db.execute("INSERT INTO sources (name) VALUES (?)", (name,))
            self.sources = self._names("sources")
        return self.sources[name]

    def _write_small(self, commit: Commit) -> None:
        db = self._db
        for key, body in commit.state.items():
            if body is None:
                db.execute("DELETE FROM state WHERE key = ?", (key,))
            else:
                db.execute("INSERT OR REPLACE INTO state VALUES (?, NULL, ?)", (key, json.dumps(body)))
        for sink, ranges in commit.debts.items():
            db.execute("DELETE FROM pending WHERE sink = ?", (sink,))
            db.executemany("INSERT INTO pending VALUES (?, ?, ?)", [(sink, *owed) for owed in ranges])
        # In this order: what was brought back may have been refused again since.
        db.executemany("DELETE FROM set_aside WHERE sink = ? AND position = ?", commit.retried)
        db.executemany("INSERT OR REPLACE INTO set_aside VALUES (?, ?, ?)", commit.set_aside)
        for uptime, time, quality in commit.anchors:
            db.execute("INSERT INTO anchors VALUES (?, ?, ?, ?)", (self.boot, uptime, time, quality))
        if commit.unreadable:
            db.executemany(
                "INSERT INTO unreadable (time, origin, reason, payload) VALUES (?, ?, ?, ?)",
                [(time, origin, why, payload[:UNREADABLE_BYTES]) for time, origin, why, payload in commit.unreadable],
            )
            db.execute("DELETE FROM unreadable WHERE id <= (SELECT max(id) FROM unreadable) - ?", (UNREADABLE_KEPT,))

    # -- trimming ---------------------------------------------------------------------------------------------

    def _measure(self) -> None:
        pages = int(self._value("PRAGMA page_count")) - int(self._value("PRAGMA freelist_count"))
        self.used = pages * PAGE

    def trim(self, owed: Debt, older_than: int, sinks: Iterable[str], budget: int) -> Trimmed:
        """Remove one bulk of rows, oldest first.

        What no sink owes goes once it arrived before `older_than` (UTC ns); over `budget` bytes it goes at any age,
        then readings that are still owed, then the rest. The newest row always stays, so that no position is ever
        given twice.
        """
        over = self.used > budget
        for first, last in self._free(owed):
            bound = self._bulk_end(first, last, 1 if over else TRIM_LEAST)
            if bound is not None and (over or self._arrived_before(bound, older_than)):
                delivered = self._delete(first, bound, "true", sinks)
                self._trimmed[first] = bound
                return Trimmed(delivered=delivered, more=True)
        if not over:
            return Trimmed()
        for kinds in ("kind = 0", "true"):
            bound = self._value(
                f"SELECT max(position) FROM (SELECT position FROM entries WHERE {kinds} AND position < ? "
                "ORDER BY position LIMIT ?)",
                self.newest,
                TRIM_ROWS,
            )
            if bound is not None:
                return Trimmed(dropped=self._delete(1, bound, kinds, ()), more=True)
        return Trimmed()

    def _free(self, owed: Debt) -> list[tuple[int, int]]:
        """Return the ranges of which nothing is owed, without the newest row."""
        gaps = owed.gaps(self.newest - 1)
        self._trimmed = {first: self._trimmed[first] for first, _ in gaps if first in self._trimmed}
        return gaps

    def _bulk_end(self, first: int, last: int, least: int = TRIM_LEAST) -> int | None:
        """Return the last position of the next bulk of a gap, or None where it is not worth it."""
        rows = self._db.execute(
            "SELECT position FROM entries WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
            (self._trimmed.get(first, first - 1), last, TRIM_ROWS),
        ).fetchall()
        return rows[-1][0] if len(rows) >= least else None

    def _arrived_before(self, position: int, instant: int) -> bool:
        boot, uptime, time = self._db.execute(
            "SELECT boot, uptime, time FROM entries WHERE position = ?", (position,)
        ).fetchone()
        dated = self.anchors().date(boot, uptime, uptime)
        arrival = dated[0] if dated else time
        return arrival is not None and arrival < instant

    def _delete(self, first: int, last: int, kinds: str, sinks: Iterable[str]) -> int:
        names = list(sinks)
        marks = ",".join("?" * len(names))
        with self._transaction():
            changed = self._db.execute(
                f"DELETE FROM entries WHERE position BETWEEN ? AND ? AND position < ? AND {kinds} "
                f"AND position NOT IN (SELECT position FROM set_aside WHERE sink IN ({marks}))",
                (first, last, self.newest, *names),
            ).rowcount
            self._db.execute(
                "DELETE FROM set_aside WHERE position BETWEEN ? AND ? AND position NOT IN "
                "(SELECT position FROM entries WHERE position BETWEEN ? AND ?)",
                (first, last, first, last),
            )
        self._measure()
        return changed

    def anchors(self) -> Anchors:
        """Return when the date was known."""
        return Anchors(self._db.execute("SELECT boot, uptime, time, quality FROM anchors").fetchall())

    # -- the full disk ----------------------------------------------------------------------------------------

    def make_room(self, owed: Debt) -> bool:
        """On a full disk: free what is delivered, with the help of the reserve; tell whether writing may go on."""
        self._reserve.unlink(missing_ok=True)
        try:
            for first, last in self._free(owed):
                while (bound := self._bulk_end(first, last)) is not None:
                    self._delete(first, bound, "true", ())
            self._checkpoint()
        except JournalFull:
            return False
        free = int(self._value("PRAGMA freelist_count")) * PAGE
        return self._make_reserve() or free >= RESERVE

    def _checkpoint(self) -> None:
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            self._raise(error, while_full=True)

    def _make_reserve(self) -> bool:
        try:
            with self._reserve.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, RESERVE)
        except (
            OSError,
            AttributeError,
        ):  # full; or a platform without fallocate, which goes on without reserve
            self._reserve.unlink(missing_ok=True)
            return not hasattr(os, "posix_fallocate")
        return True

    # -- transactions -----------------------------------------------------------------------------------------

    def _transaction(self) -> Transaction:
        return Transaction(self._db, self._raise)

    def _raise(self, error: sqlite3.Error, *, while_full: bool = False) -> None:
        if disk_full(self.path, error, certain=while_full):
            raise no_space(self.path) from error
        mark_suspect(self.path, error)
        raise JournalError(f"{self.path}: {error}") from error


def _forget_behind(numbers: dict[Any, int], count: int) -> None:
    for name in list(numbers)[count:]:
        del numbers[name]
