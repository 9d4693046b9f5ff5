"""Whatever page is destroyed: every row on an intact page is found, and none that was not written."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import struct
from collections import Counter
from functools import cache
from importlib import resources
from time import thread_time
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_energy.journal.rows import Row, checksum
from edge_energy.journal.salvage import Fact, Suspect, damage, read_table, salvage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PAGE = 4096
ROWS = 5_000
TRIMMED = 400
LONG = {1_000: 6_000, 2_500: 30_000, ROWS: 4_100}
"""Positions whose bodies need overflow pages, and their sizes."""
BORDER = {100_000 + size: size for size in (*range(3_950, 4_070), *range(8_040, 8_160))}
"""Some of these just fit on a page, or on two. Not in every file."""
PENDING = [("influxdb", 4_000, None), ("kafka", 900, 950), ("kafka", 4_990, None)]
NAMES = {
    *(Fact("devices", (number, f"shelly-ec62608ab9{number:02}")) for number in range(1, 40)),
    *(Fact("sources", (number, name)) for number, name in enumerate(("mqtt", "http"), 1)),
    *(Fact("boots", (number, f"{number:08}-aaaa-bbbb-cccc-0123456789ab")) for number in (1, 2)),
}
ANCHORS = {Fact("anchors", (2, uptime * 10**9, 1_790_000_000 * 10**9 + uptime, "ntp")) for uptime in (1, 60, 3600)}


@cache
def row(position: int) -> Row:
    body = f'{{"power":{position % 97}.5,"voltage":230.1,"energy":{position + 10_000}.0,"output":true}}'
    if position in LONG:
        body = f'{{"message":"{f"long-{position} " * (LONG[position] // 10)}ß"}}'
    if position in BORDER:
        body = "x" * BORDER[position]
    kind = 1 if position % 500 == 0 else 0
    time = None if position < 700 else 1_790_000_000 * 10**9 + position * 10**8
    head = (
        position,
        kind,
        1 + position % 39,
        time,
        None,
        2,
        position * 10**8,
        65536 + position if kind else None,
    )
    return Row(*head, checksum(*head, body.encode()), body)


def connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    return db


def insert(db: sqlite3.Connection, positions: Iterable[int]) -> None:
    db.execute("BEGIN")
    db.executemany("INSERT INTO entries VALUES (?,?,?,?,?,?,?,?,?,?)", map(row, positions))
    db.execute("COMMIT")


def create(path: Path, rows: int = ROWS) -> sqlite3.Connection:
    db = connect(path)
    db.executescript((resources.files("edge_energy.journal") / "schema.sql").read_text())
    db.execute("BEGIN")
    for fact in sorted(NAMES | ANCHORS, key=str):
        columns = ",".join("?" * len(fact.columns))
        db.execute(f"INSERT INTO {fact.table} VALUES ({columns})", fact.columns)  # noqa: S608
    db.execute("INSERT INTO meta VALUES ('0123', 1)")
    db.executemany("INSERT INTO pending VALUES (?, ?, ?)", PENDING)
    db.execute("COMMIT")
    insert(db, range(1, rows + 1))
    return db


class Pristine(NamedTuple):
    """An undamaged file, and where its rows are according to its b-tree."""

    content: bytes
    pages: int
    where: dict[int, set[int]]
    """Position to the pages that it needs."""

    def rows_without(self, lost: set[int]) -> set[int]:
        """Return the rows that need none of these pages."""
        return {position for position, pages in self.where.items() if not pages & lost}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Pristine:
    path = tmp_path_factory.mktemp("pristine") / "journal.db"
    db = create(path)
    db.execute("DELETE FROM entries WHERE position <= ?", (TRIMMED,))
    root = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'entries'").fetchone()[0]
    db.close()
    content = path.read_bytes()
    where = {
        position: {leaf}
        for leaf, above, last in leaves(content, root, 0, ROWS)
        for position in range(max(above, TRIMMED) + 1, last + 1)
    }
    for position in LONG:
        marker = f"long-{position} ".encode()
        where[position] |= {
            at // PAGE + 1 for at in range(0, len(content), PAGE) if marker in content[at : at + PAGE]
        }
        assert len(where[position]) > 1
    return Pristine(content, len(content) // PAGE, where)


def leaves(content: bytes, number: int, above: int, last: int) -> Iterator[tuple[int, int, int]]:
    """Walk the b-tree by its interior pages alone: (leaf page, its keys lie above this, up to this)."""
    page = content[(number - 1) * PAGE : number * PAGE]
    if page[0] == 13:
        yield number, above, last
        return
    assert page[0] == 5
    count, right = struct.unpack(">3xHxxxI", page[:12])
    for at in struct.unpack_from(f">{count}H", page, 12):
        key = 0
        for byte in page[at + 4 : at + 13]:
            key = key << 7 | byte & 127
            if byte < 128:
                break
        yield from leaves(content, int.from_bytes(page[at : at + 4]), above, key)
        above = key
    yield from leaves(content, right, above, last)


def found(path: Path) -> tuple[set[int], set[int], set[Fact]]:
    """Salvage; check that every row is what was written; return positions, suspects and facts."""
    rows: set[int] = set()
    suspects: set[int] = set()
    facts: set[Fact] = set()
    for thing in salvage(path):
        match thing:
            case Row():
                assert thing == row(thing.position)
                rows.add(thing.position)
            case Suspect():
                suspects.add(thing.row.position)
            case Fact():
                facts.add(thing)
    assert facts <= NAMES | ANCHORS
    return rows, suspects, facts


def overwritten(content: bytes, pages: dict[int, bytes]) -> bytes:
    changed = bytearray(content)
    for number, page in pages.items():
        changed[(number - 1) * PAGE : number * PAGE] = page
    return bytes(changed)


def garbage(number: int, size: int = PAGE) -> bytes:
    """Return random bytes, mostly in the guise of a leaf page, and some with numbers that make sense there."""
    source = random.Random(number)
    noise = source.randbytes(size) if number % 2 else bytes(source.choices(range(20), k=size))
    kind = (b"", b"\x0d\0\0\0\x40", b"\x0a\0\0\2\0")[number % 3]
    return kind + noise[len(kind) :]


def test_an_undamaged_file_is_read_completely(pristine: Pristine, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(pristine.content)
    rows, suspects, facts = found(path)
    assert set(pristine.where) == {*range(TRIMMED + 1, ROWS + 1)}
    assert rows >= set(pristine.where)
    assert not suspects
    assert facts == NAMES | ANCHORS
    assert read_table(path, "pending") == (PENDING, True)
    assert damage(path) is None


def test_any_page_destroyed(pristine: Pristine, tmp_path: Path) -> None:
    """Every page in turn becomes garbage, and another one, far away, zeros."""
    path = tmp_path / "journal.db"
    for number in range(1, pristine.pages + 1):
        other = (number + pristine.pages // 2) % pristine.pages + 1
        path.write_bytes(overwritten(pristine.content, {number: garbage(number), other: bytes(PAGE)}))
        rows, _, facts = found(path)
        assert rows >= pristine.rows_without({number, other}), number
        assert facts >= NAMES, number
        pending, complete = read_table(path, "pending")
        assert set(pending) <= set(PENDING), number
        assert len(pending) == len(PENDING) or not complete, number


def test_truncated_anywhere(pristine: Pristine, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    for kept in range(pristine.pages):
        path.write_bytes(pristine.content[: kept * PAGE])
        rows, _, _ = found(path)
        assert rows >= pristine.rows_without({*range(kept + 1, pristine.pages + 1)}), kept
        assert damage(path) is not None


def test_truncated_within_a_page(pristine: Pristine, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    leaf = (min(pristine.where[3_000]) - 1) * PAGE
    for length in (*random.Random(1).sample(range(len(pristine.content)), 20), leaf + 1, leaf + 5, leaf + 4_000):
        path.write_bytes(pristine.content[:length])
        rows, _, _ = found(path)
        assert rows >= pristine.rows_without({*range(length // PAGE + 1, pristine.pages + 1)}), length
    assert 3_000 in rows


def test_rows_that_just_fit(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    db = create(path, 0)
    insert(db, BORDER)
    db.close()
    assert found(path)[0] == set(BORDER)


def test_one_digit_changed_on_disk_makes_a_row_suspect(pristine: Pristine, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    for position in (701, 3_333, 4_999, 2_500):
        body = row(position).body.encode()
        at = pristine.content.index(body[:60])  # of a long body, what is on the leaf page
        digit = at + next(index for index, byte in enumerate(body) if byte in b"123456")
        changed = bytes([pristine.content[digit] ^ 1])
        path.write_bytes(pristine.content[:digit] + changed + pristine.content[digit + 1 :])
        rows, suspects, _ = found(path)
        assert suspects == {position}
        assert rows >= set(pristine.where) - {position}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=60))
def test_changed_bytes_never_make_a_row_that_was_not_written(
    pristine: Pristine, tmp_path: Path, flips: list[tuple[float, int]]
) -> None:
    changed = bytearray(pristine.content)
    lost = set()
    for where, mask in flips:
        at = int(where * len(changed))
        changed[at] ^= mask
        lost.add(at // PAGE + 1)
    path = tmp_path / "journal.db"
    path.write_bytes(changed)
    rows, _, _ = found(path)
    assert rows >= pristine.rows_without(lost)


def test_a_block_that_the_card_does_not_give_back(
    pristine: Pristine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(pristine.content)
    bad = min(pristine.where[3_000])
    pread = os.pread

    def reluctant(file: int, size: int, offset: int) -> bytes:
        if offset // PAGE + 1 in (1, bad):
            raise OSError(5, "Input/output error")
        return pread(file, size, offset)

    monkeypatch.setattr("os.pread", reluctant)
    rows, _, _ = found(path)
    assert rows >= pristine.rows_without({bad})
    assert 3_000 not in rows
    assert damage(path) is not None


def test_the_table_of_facts(tmp_path: Path) -> None:
    """facts/journal.md: 30,991 rows, and quickly."""
    path = tmp_path / "journal.db"
    create(path, 30_991).close()
    content = path.read_bytes()
    path.write_bytes(overwritten(content, {1: garbage(1)}))
    began = thread_time()  # others may use the machine meanwhile
    assert Counter(type(thing) for thing in salvage(path))[Row] == 30_991
    assert thread_time() - began < 2
    for part, least in ((0.5, 14_500), (0.9, 27_000)):  # the small tables' pages come first
        path.write_bytes(content[: int(len(content) * part)])
        assert len(found(path)[0]) > least


# -- the WAL -------------------------------------------------------------------------------------------------


def copied(path: Path) -> Path:
    """Copy file and WAL, as a power cut would leave them."""
    copy = path.parent / "cut" / path.name
    copy.parent.mkdir(exist_ok=True)
    for name in (path.name, f"{path.name}-wal"):
        shutil.copy(path.parent / name, copy.parent / name)
    return copy


@pytest.fixture
def with_wal(tmp_path: Path) -> Iterator[tuple[sqlite3.Connection, Path]]:
    """Rows 1 to 500 in the main file, 501 to 1,500 in the WAL only, in ten commits."""
    path = tmp_path / "journal.db"
    db = create(path, 500)
    db.execute("PRAGMA wal_checkpoint(RESTART)")
    db.execute("PRAGMA wal_autocheckpoint=0")
    for first in range(501, 1_501, 100):
        insert(db, range(first, first + 100))
    yield db, path
    db.close()


@pytest.mark.parametrize(
    "loss", ["nothing", "page 1", "the main file", "the WAL's header", "its salts", "the first frame"]
)
def test_rows_in_the_wal_are_found(with_wal: tuple[sqlite3.Connection, Path], loss: str) -> None:
    path = copied(with_wal[1])
    wal = path.with_name("journal.db-wal")
    first = 1
    if loss == "page 1":
        path.write_bytes(garbage(1) + path.read_bytes()[PAGE:])
    elif loss == "the main file":
        path.unlink()
        first = 501
    elif loss == "the WAL's header":
        wal.write_bytes(garbage(2, 32) + wal.read_bytes()[32:])
    elif loss == "its salts":
        content = wal.read_bytes()
        wal.write_bytes(content[:16] + garbage(3, 8) + content[24:])
    elif loss == "the first frame":  # what was on it is on later versions of its page, too
        content = wal.read_bytes()
        wal.write_bytes(content[:32] + garbage(3, 24 + PAGE) + content[56 + PAGE :])
    rows, suspects, _ = found(path)
    assert rows >= {*range(first, 1_501)}
    assert not suspects


def test_what_follows_a_damaged_frame_is_found(with_wal: tuple[sqlite3.Connection, Path]) -> None:
    """SQLite itself gives up all that follows."""
    path = copied(with_wal[1])
    wal = path.with_name("journal.db-wal")
    frames = wal.read_bytes()
    middle = 32 + 20 * (24 + PAGE)
    wal.write_bytes(frames[:middle] + garbage(3, 24 + PAGE) + frames[middle + 24 + PAGE :])
    rows, _, _ = found(path)
    assert len({*range(1, 1_501)} - rows) < 60  # at most what was on one page
    db = connect(path)
    assert db.execute("SELECT max(position) FROM entries").fetchone()[0] < 1_400
    db.close()


def test_what_was_not_committed_does_not_count(with_wal: tuple[sqlite3.Connection, Path]) -> None:
    db, path = with_wal
    size = path.with_name("journal.db-wal").stat().st_size
    db.execute("PRAGMA cache_size=5")
    db.execute("BEGIN")
    db.executemany("INSERT INTO entries VALUES (?,?,?,?,?,?,?,?,?,?)", map(row, range(1_501, 3_001)))
    assert path.with_name("journal.db-wal").stat().st_size > size + 20 * PAGE
    assert found(copied(path))[0] == {*range(1, 1_501)}
    db.execute("COMMIT")
    cut = copied(path)
    assert found(cut)[0] == {*range(1, 3_001)}
    os.truncate(cut.with_name("journal.db-wal"), path.with_name("journal.db-wal").stat().st_size - 1)
    assert found(cut)[0] == {*range(1, 1_501)}


def test_frames_of_an_earlier_generation_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    db = create(path, 100)
    db.execute("PRAGMA secure_delete=ON")
    insert(db, range(101, 1_001))
    db.execute("DELETE FROM entries WHERE position BETWEEN 101 AND 999")
    db.execute("PRAGMA wal_checkpoint(RESTART)")
    insert(db, [1_001])
    cut = copied(path)
    assert row(500).body.encode() in cut.with_name("journal.db-wal").read_bytes()
    assert found(cut)[0] == {*range(1, 101), 1_000, 1_001}
    db.close()


# -- tables whose rows change --------------------------------------------------------------------------------


def test_tables_are_read_with_their_wal_and_nothing_is_written(
    with_wal: tuple[sqlite3.Connection, Path],
) -> None:
    db, path = with_wal
    db.execute("DELETE FROM pending WHERE sink = 'kafka'")
    cut = copied(path)
    before = [(cut.parent / name).read_bytes() for name in ("journal.db", "journal.db-wal")]
    assert read_table(cut, "pending") == (PENDING[:1], True)
    assert read_table(cut, "meta") == ([("0123", 1)], True)
    assert read_table(cut, "state") == ([], True)
    assert [(cut.parent / name).read_bytes() for name in ("journal.db", "journal.db-wal")] == before


def test_a_table_that_cannot_be_read_is_not_taken_for_an_empty_one(
    with_wal: tuple[sqlite3.Connection, Path], pristine: Pristine, tmp_path: Path
) -> None:
    path = tmp_path / "other.db"
    assert read_table(path, "pending") == ([], False)
    assert not path.exists()
    path.write_bytes(overwritten(pristine.content, {1: garbage(1)}))
    assert read_table(path, "pending") == ([], False)
    with_wal[0].execute("UPDATE pending SET first = 'x' WHERE sink = 'kafka'")
    assert read_table(with_wal[1], "pending") == (PENDING[:1], False)
    cut = copied(with_wal[1])
    cut.write_bytes(b"")
    assert read_table(cut, "pending") == ([], False)
    assert cut.with_name("journal.db-wal").stat().st_size


# -- the check at each start ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_freelist(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a file with more free pages than one trunk page can list."""
    path = tmp_path_factory.mktemp("freelist") / "journal.db"
    db = create(path, 10)
    db.executemany("INSERT INTO unreadable (origin, reason, payload) VALUES ('', '', ?)", [(bytes(PAGE),)] * 1_100)
    db.execute("DELETE FROM unreadable")
    db.close()
    return path.read_bytes()


def u32(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 4])


def test_a_long_freelist_is_no_damage(with_freelist: bytes, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(with_freelist)
    trunk = (u32(with_freelist, 32) - 1) * PAGE
    assert u32(with_freelist, 36) > 1_022
    assert u32(with_freelist, trunk)
    assert damage(path) is None


def test_damage_is_told(with_freelist: bytes, tmp_path: Path) -> None:
    content = with_freelist
    trunk = (u32(content, 32) - 1) * PAGE
    last = (u32(content, trunk) - 1) * PAGE
    pages = len(content) // PAGE
    changes = {
        "magic": (0, b"X"),
        "page size 0": (16, b"\0\0"),
        "page size 4097": (17, b"\1"),
        "page size 3840": (16, b"\x0f\0"),
        "more pages than the file has": (28, struct.pack(">I", pages + 1)),
        "trunk outside the file": (32, struct.pack(">I", pages + 1)),
        "trunk far outside": (32, b"\xff\xff\xff\xff"),
        "trunk is page 1": (32, struct.pack(">I", 1)),
        "no trunk, but free pages": (32, bytes(4)),
        "free pages miscounted": (36, struct.pack(">I", u32(content, 36) - 1)),
        "a loop": (last, content[32:36]),
        "a trunk that is its own next": (trunk, content[32:36]),
        "a chain that ends early": (trunk, bytes(4)),
        "next trunk outside": (trunk, b"\x7f\0\0\0"),
        "too many leaves": (trunk + 4, struct.pack(">I", PAGE // 4 - 2)),
        "too few leaves": (trunk + 4, struct.pack(">I", 9)),
        "leaf 0": (trunk + 8, bytes(4)),
        "leaf is page 1": (trunk + 8, struct.pack(">I", 1)),
        "leaf listed twice": (trunk + 8, content[trunk + 12 : trunk + 16]),
        "leaf is the trunk": (trunk + 8, content[32:36]),
        "leaf outside": (trunk + 8, struct.pack(">I", pages + 1)),
        "a zeroed trunk": (trunk, bytes(PAGE)),
        "a garbage trunk": (trunk, garbage(1)),
    }
    path = tmp_path / "journal.db"
    for name, (at, new) in changes.items():
        path.write_bytes(content[:at] + new + content[at + len(new) :])
        assert damage(path), name
    for length in (0, 20, 30, 50, 99, PAGE, len(content) - 1):
        path.write_bytes(content[:length])
        assert damage(path), length
    path.unlink()
    assert damage(path)
