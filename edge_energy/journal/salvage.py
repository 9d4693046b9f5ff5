"""Tell whether a journal file is damaged, and read what is intact in it, page by page and without SQLite.

No b-tree is followed: each leaf page is read on its own, and the checksum of an entry, or the seal of a small
row (see schema.sql), tells whether it is what was written. So pages that SQLite would not look at may be read
too (on the freelist, in the WAL behind a damaged frame); at worst, trimmed rows come back.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from edge_energy.journal.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC = b"SQLite format 3\0\x10\0"  # the last two bytes say 4096
_PAGE = 4096  # as store.py makes it, whatever a damaged header says
_TABLE_LEAF, _INDEX_LEAF = 13, 10
_FRAME_HEADER = 24
_LOCAL, _LOCAL_LEAST = _PAGE - 35, (_PAGE - 12) * 32 // 255 - 23  # bytes of a long record on the leaf itself
_LARGEST = 2**20  # bytes of a record; what a garbled length claims is not followed further
_SIZES = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)  # of a column, by serial type
_ENTRY = (type(None), int, int, int | None, int | None, int, int, int | None, int, str)
_SEALED = {"devices": 2, "sources": 2, "boots": 2, "shapes": 2, "anchors": 4}  # columns before the seal
_CHANGING = {
    "meta": (str, int),
    "pending": (str, int, int | None),
    "set_aside": (str, int, str),
    "state": (str, int | None, str),
}
_Column = int | float | str | bytes | None


class Suspect(NamedTuple):
    """A row of `entries` whose checksum is wrong. What changed can be anything in it, the position too."""

    row: Row


class Fact(NamedTuple):
    """An intact row of `devices`, `sources`, `boots` or `anchors`, without the seal."""

    table: str
    columns: tuple[_Column, ...]


def salvage(path: Path) -> Iterator[Row | Suspect | Fact]:
    """Yield what the file and its WAL still hold. A `Row` is intact.

    The same one may come several times. Two different rows with one position can only come from a commit that
    a power cut ended, and the one that counts comes first: insert with OR IGNORE, suspects last.
    """
    with _open(path) as main, _open(path.with_name(f"{path.name}-wal")) as wal:
        image = _Image(main, wal)
        for page in image.pages():
            for rowid, columns in image.records(page):
                found = _recognised(rowid, columns)
                if found is not None:
                    yield found


def read_table(path: Path, table: str) -> tuple[list[tuple[_Column, ...]], bool]:
    """Read a table whose rows change: by SQL, because on a stray page an old row looks like a new one.

    Gives the rows that could be read, and whether these are all: half of `pending` is worse than none.
    """
    rows: list[tuple[_Column, ...]] = []
    shape = _CHANGING[table]
    try:
        if not path.stat().st_size:  # SQLite would delete the WAL
            return rows, False
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            for row in db.execute(f"SELECT * FROM {table}"):
                if not all(map(isinstance, row, shape)):
                    return rows, False
                rows.append(row)
    except (sqlite3.Error, OSError):
        return rows, False
    return rows, True


def damage(path: Path) -> str | None:
    """Tell what is wrong with the header or the freelist, which SQLite trusts when it writes.

    The WAL must have been checkpointed. Reads the header and the freelist's trunk pages only.
    """
    with _open(path) as file:
        header = _read(file, 0, 100)
        if not header.startswith(_MAGIC):
            return "the header is not that of a journal"
        pages, trunk, free = struct.unpack_from(">3I", header, 28)
        if not 0 < pages * _PAGE <= os.fstat(file.fileno()).st_size:
            return f"the file is shorter than its {pages} pages"
        listed = bytearray(pages + 1)
        while trunk:
            following, count, *leaves = struct.unpack(f">{_PAGE // 4}I", _page(file, trunk))
            for number in (trunk, *leaves[:count]):
                if not 1 < number <= pages or listed[number]:
                    return f"the freelist is wrong about page {number}"
                listed[number] = 1
            trunk = following
        return None if sum(listed) == free else f"the freelist has {sum(listed)} pages instead of {free}"


def broken_wal(wal: Path) -> str | None:
    """Tell whether commits lie behind a damaged place in the WAL: SQLite would forget them without a word.

    One commit there is no proof: a power cut may leave so much of the last one, which nobody was told of.
    """
    with _open(wal) as file:
        header = _read(file, 0, 32)
        order = ">" if header[3] & 1 else "<"
        starts = range(32, os.fstat(file.fileno()).st_size - _PAGE, _FRAME_HEADER + _PAGE)
        checksum = _wal_checksum(header[:24], (0, 0), order)
        intact = checksum == struct.unpack(">2I", header[24:])
        salts, commits = header[16:24], 0
        for number, at in enumerate(starts):
            frame = _read(file, at, _FRAME_HEADER)
            if not intact:
                salts = salts if number else frame[8:16]  # the header's may be what is damaged
                commits += frame[8:16] == salts and any(frame[4:8])
                continue
            checksum = _wal_checksum(frame[:8] + _read(file, at + _FRAME_HEADER, _PAGE), checksum, order)
            intact = frame[8:16] == salts and checksum == struct.unpack(">2I", frame[16:])
            commits += not intact and frame[8:16] == salts and any(frame[4:8])
        return f"{commits} commits lie behind a damaged place in the WAL" if commits > 1 else None


def _wal_checksum(data: bytes, before: tuple[int, int], order: str) -> tuple[int, int]:
    """Return SQLite's cumulative checksum of the WAL."""
    one, two = before
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = one + even + two & 0xFFFFFFFF
        two = two + odd + one & 0xFFFFFFFF
    return one, two


def _open(path: Path) -> BinaryIO:
    return (path if path.exists() else Path(os.devnull)).open("rb", buffering=0)


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    """Read so many bytes; where the file has none, or the card does not give them back, they are zeros."""
    try:
        return os.pread(file.fileno(), size, offset).ljust(size, b"\0")
    except OSError:
        return bytes(size)


def _page(file: BinaryIO, number: int) -> bytes:
    return _read(file, (number - 1) * _PAGE, _PAGE)


def _recognised(rowid: int | None, columns: list[_Column]) -> Row | Suspect | Fact | None:
    """Tell which table a record belongs to."""
    if len(columns) == len(_ENTRY) and rowid is not None:
        row = Row(rowid, *columns[1:])  # type: ignore[arg-type] # which is what intact() tells
        if row.intact():
            return row
        return Suspect(row) if all(map(isinstance, columns, _ENTRY)) else None
    if rowid is None:  # an index record: the rowid comes last
        columns = columns[:-1]
    seal = columns.pop() if columns else None
    table = seal.split(" ", 1)[0] if isinstance(seal, str) else ""
    fact = Fact(table, tuple(rowid if column is None else column for column in columns))
    whole = _SEALED.get(table) == len(columns) and seal == " ".join(map(str, (table, *fact.columns)))
    return fact if whole else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Decode SQLite's variable-length integer; give what it is and where the next thing begins."""
    value = 0
    for index in range(at, at + 8):
        byte = data[index]
        value = value << 7 | byte & 127
        if byte < 128:
            return value, index + 1
    value = value << 8 | data[at + 8]
    return value - (value >> 63 << 64), at + 9


def _decode(record: bytes) -> list[_Column]:
    """Decode the columns of a record; IndexError or ValueError where it is none."""
    start, at = _varint(record, 0)
    end = start
    columns: list[_Column] = []
    while at < start:
        serial, at = (record[at], at + 1) if record[at] < 128 else _varint(record, at)
        size = _SIZES[serial] if serial < 12 else (serial - 12) // 2
        raw, end = record[end : end + size], end + size
        if serial > 11:
            columns.append(raw.decode(errors="replace") if serial % 2 else raw)
        elif serial == 7:
            columns.append(struct.unpack(">d", raw)[0])
        elif size:
            columns.append(int.from_bytes(raw, signed=True))
        else:
            columns.append(serial - 8 if serial else None)
    if end != len(record):
        raise ValueError("not a record")
    return columns


class _Image:
    """The pages of a file and of its WAL."""

    def __init__(self, main: BinaryIO, wal: BinaryIO) -> None:
        self._main = main
        self._wal = wal
        self._frames = self._committed()
        self._newest = dict(self._frames)

    def _committed(self) -> list[tuple[int, int]]:
        """Return page number and offset of the WAL's frames up to its last commit, as they were written.

        The salts of its generation, which are in the header and in each frame, tell whether a frame counts. Its
        checksum does not: it covers all frames before, so that one damaged frame would lose what follows; and
        rows have their own.
        """
        header = _read(self._wal, 0, 32)
        whole = _FRAME_HEADER + _PAGE
        starts = range(32, os.fstat(self._wal.fileno()).st_size - whole + 1, whole)
        found = [(_read(self._wal, at, _FRAME_HEADER), at + _FRAME_HEADER) for at in starts]
        salts = {header[16:24], *(frame[8:16] for frame, _ in found[:1])}  # either may be what is damaged
        ours = [(frame, at) for frame, at in found if frame[8:16] in salts]
        while ours and not any(ours[-1][0][4:8]):  # where a commit ends, these tell the size of the file
            ours.pop()
        return [(int.from_bytes(frame[:4]), at) for frame, at in ours]

    def pages(self) -> Iterator[bytes]:
        """Yield every page: those of the file, even where it ends within one, then all versions in the WAL."""
        for at in range(0, os.fstat(self._main.fileno()).st_size, _PAGE):
            yield _read(self._main, at, _PAGE)
        for _, at in self._frames:
            yield _read(self._wal, at, _PAGE)

    def records(self, page: bytes) -> Iterator[tuple[int | None, list[_Column]]]:
        """Yield rowid (None in an index) and columns of the records on a leaf page, where they make sense."""
        kind, count = struct.unpack_from(">BxxH", page)
        if kind not in (_TABLE_LEAF, _INDEX_LEAF):
            return
        for at in struct.unpack_from(f">{min(count, _PAGE // 2 - 4)}H", page, 8):
            try:
                length, start = _varint(page, at)
                rowid, start = _varint(page, start) if kind == _TABLE_LEAF else (None, start)
                yield rowid, _decode(self._payload(page, start, length))
            except (IndexError, ValueError, struct.error):
                continue

    def _payload(self, page: bytes, start: int, length: int) -> bytes:
        """Return a cell's record, followed through its overflow pages where it has some."""
        if length <= _LOCAL:
            return page[start : start + length]
        if length > _LARGEST:
            raise ValueError("not a length")
        end = _LOCAL_LEAST + (length - _LOCAL_LEAST) % (_PAGE - 4)
        end = start + (end if end <= _LOCAL else _LOCAL_LEAST)
        payload, following = page[start:end], int.from_bytes(page[end : end + 4])
        while following and len(payload) < length:
            at = self._newest.get(following)
            page = _page(self._main, following) if at is None else _read(self._wal, at, _PAGE)
            payload, following = payload + page[4:], int.from_bytes(page[:4])
        return payload[:length]
