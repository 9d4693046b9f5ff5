"""The journal's file, read: blocking, on a connection of its own, used by the journal's reader thread only."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from edge_energy.errors import JournalError
from edge_energy.interfaces import Entry
from edge_energy.journal import shapes
from edge_energy.journal.dating import Anchors
from edge_energy.journal.files import mark_suspect, open_database
from edge_energy.journal.rows import KINDS, Row

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_PIECE = 500  # rows decoded at a time: they take ten times the memory that they take on disk
_RANGE = "SELECT * FROM entries WHERE position BETWEEN ? AND ? ORDER BY position LIMIT ?"
# One row out means one step, and so one wait for the interpreter lock instead of one for each row (see store.py).
_PACKED = (
    "SELECT json_group_array(json_array(position, kind, device, time, span, boot, uptime, origin, crc, body)) "
    f"FROM ({_RANGE})"
)


class Extract(NamedTuple):
    """What `Reader.read` found in a range of positions.

    `reached` is the last position that was looked at: the end of the range, or of what the limit allowed, or
    the one before an entry that nobody can date yet. `corrupt` are positions whose checksum failed.
    """

    entries: list[Entry]
    corrupt: list[int]
    reached: int


class Reader:
    """The reading side of one journal file. Every method blocks and leaves no cursor open."""

    def __init__(self, path: Path) -> None:
        """Open a connection of its own; the file must exist."""
        self.path = path
        self._db = open_database(path)
        self._db.execute("PRAGMA query_only=ON")
        self._names: dict[int, str] = {}
        self._shapes: dict[int, shapes.Names] = {}
        self._anchors = Anchors([])
        self._last_uptimes: dict[int, int] = {}

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def read(self, first: int, last: int, limit: int, boot: int) -> Extract:
        """Read at most `limit` rows of a range, checked and dated. `boot` is the present one."""
        entries: list[Entry] = []
        corrupt: list[int] = []
        while limit > 0:
            rows = self._rows(first, last, min(limit, _PIECE))
            for row in rows:
                if not row.intact():
                    corrupt.append(row.position)
                    continue
                entry = self._entry(row, boot)
                if entry is None:
                    return Extract(entries, corrupt, row.position - 1)
                entries.append(entry)
            if len(rows) < min(limit, _PIECE):
                return Extract(entries, corrupt, last)
            limit -= len(rows)
            first = rows[-1].position + 1
        return Extract(entries, corrupt, first - 1)

    def _entry(self, row: Row, boot: int) -> Entry | None:
        """Return the entry of an intact row, or None while nobody can date it."""
        dated = (row.time, row.span) if row.time is not None else self._date(row, boot)
        if dated is None:
            return None
        position, kind, device, *_ = row
        body = self._body(row.body)
        return Entry(position, KINDS[kind], self._device(device), dated[0], dated[1], row.boot, row.uptime, body)

    def _rows(self, first: int, last: int, limit: int) -> list[Row]:
        try:
            try:
                packed = self._db.execute(_PACKED, (first, last, limit)).fetchone()[0]
                return [Row(*columns) for columns in orjson.loads(packed)]
            except (sqlite3.OperationalError, orjson.JSONDecodeError):
                # A damaged row holds what JSON cannot: read one by one, and let the checksums tell which it is.
                self._db.text_factory = lambda raw: raw.decode(errors="replace")
                return [Row(*columns) for columns in self._db.execute(_RANGE, (first, last, limit)).fetchall()]
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _body(self, stored: str) -> dict[str, Any]:
        number = shapes.number(stored)
        if number is None:
            decoded: dict[str, Any] = orjson.loads(stored)
            return decoded
        if number not in self._shapes:
            rows = self.query("SELECT id, names FROM shapes")
            self._shapes = {known: shapes.decode_names(names) for known, names in rows}
        return shapes.join(self._shapes.get(number, ()), stored)

    def _device(self, number: int) -> str:
        name = self._names.get(number)
        if name is None:
            self._names = dict(self.query("SELECT id, name FROM devices"))
            name = self._names.setdefault(number, f"unknown-{number}")
        return name

    def _date(self, row: Row, boot: int) -> tuple[int, int | None] | None:
        dated = self._anchors.date(row.boot, row.uptime, self._last_uptimes.get(row.boot, row.uptime))
        if dated is None:
            if row.boot != boot and not self._last_uptimes:
                # Reads the whole file, but only after a boot that never learned the date.
                self._last_uptimes = dict(self.query("SELECT boot, max(uptime) FROM entries GROUP BY boot"))
            anchors = self.query("SELECT boot, uptime, time, quality FROM anchors")
            self._anchors = Anchors(anchors, self._last_uptimes)
            dated = self._anchors.date(row.boot, row.uptime, self._last_uptimes.get(row.boot, row.uptime))
        if dated is not None and row.span is not None:  # a backlog that came before the date was known
            return dated[0], max(row.span, dated[1] or 0)
        return dated

    def recall(self, source: int, limit: int, depth: int) -> list[tuple[int, str, str]]:
        """Return (packet id, device, body) of a source's newest entries, newest first.

        Looks at the newest `depth` positions only: there is no index to find more, and what a broker may
        deliver again is among the newest.
        """
        rows = self.query(
            "SELECT origin & 65535, device, body FROM entries WHERE origin >> 16 = ? "
            "AND position > (SELECT max(position) FROM entries) - ? ORDER BY position DESC LIMIT ?",
            source,
            depth,
            limit,
        )
        return [
            (packet, self._device(device), orjson.dumps(self._body(body)).decode()) for packet, device, body in rows
        ]

    def tail(self, count: int, boot: int) -> list[Entry]:
        """Return the newest entries, oldest first; what cannot be dated or trusted is left out."""
        newest = self.query("SELECT max(position) FROM entries")[0][0] or 0
        return self.read(max(1, newest - count + 1), newest, count, boot).entries

    def last_arrival(self, source: int, depth: int) -> int | None:
        """Return when (UTC ns) a source's newest entry arrived; None without a date; depth as for `recall`."""
        rows = self.query(
            "SELECT boot, uptime FROM entries WHERE position > (SELECT max(position) FROM entries) - ? "
            "AND origin >> 16 = ? ORDER BY position DESC LIMIT 1",
            depth,
            source,
        )
        if not rows:
            return None
        boot, uptime = rows[0]
        dated = Anchors(self.query("SELECT boot, uptime, time, quality FROM anchors")).date(boot, uptime, uptime)
        return dated[0] if dated and dated[1] is None else None

    def oldest(self) -> tuple[int, int | None] | None:
        """Return (position, time) of the oldest entry."""
        rows = self.query("SELECT position, time FROM entries ORDER BY position LIMIT 1")
        return rows[0] if rows else None

    def time_of(self, position: int) -> int | None:
        """Return the time of the first entry at or behind a position."""
        rows = self.query("SELECT time FROM entries WHERE position >= ? ORDER BY position LIMIT 1", position)
        return rows[0][0] if rows else None

    def last_before(self, boot: int, uptime: int) -> int:
        """Return the newest position that arrived before an uptime (ns) of a boot, or in another one; 0 for none."""
        rows = self.query(
            "SELECT position FROM entries WHERE boot != ? OR uptime < ? ORDER BY position DESC LIMIT 1", boot, uptime
        )
        return int(rows[0][0]) if rows else 0

    def pending(self, sink: str) -> list[tuple[int, int | None]] | None:
        """Return the ranges that a sink owed at the last save, or None for a sink never seen before."""
        return self.query("SELECT first, last FROM pending WHERE sink = ? ORDER BY first", sink) or None

    def set_aside(self) -> list[tuple[str, int, str]]:
        """Return (sink, position, reason) of all entries that a sink refused."""
        return self.query("SELECT sink, position, reason FROM set_aside ORDER BY position")

    def unreadable(self, count: int) -> list[tuple[int | None, str, str, bytes]]:
        """Return (time, origin, reason, start of the payload) of the newest unreadable messages, oldest first."""
        return self.query("SELECT time, origin, reason, payload FROM unreadable ORDER BY id DESC LIMIT ?", count)[
            ::-1
        ]

    def state(self, prefix: str) -> dict[str, Any]:
        """Return the small durable facts whose keys start with `prefix`."""
        rows: Iterable[tuple[str, str]] = self.query(
            "SELECT key, body FROM state WHERE substr(key, 1, ?) = ?", len(prefix), prefix
        )
        return {key: json.loads(body) for key, body in rows}

    def query(self, sql: str, *parameters: object) -> list[Any]:
        """Run a bounded query to its end."""
        try:
            return self._db.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> JournalError:
        mark_suspect(self.path, error)
        return JournalError(f"{self.path}: {error}")
