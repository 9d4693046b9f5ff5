"""The daemon on a journal that storage has damaged: it starts, says so, and loses only what was destroyed."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import struct
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import pytest

from edge_energy import client
from tests.conftest import skipped_if_missing
from tests.servers.base import wait_until
from tests.servers.daemon import Daemon, influxdb_section, mqtt_section
from tests.servers.mosquitto import Mosquitto
from tests.servers.proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.influxdb import InfluxDB


PAGE = 4096
WAL_HEADER, FRAME_HEADER = 32, 24
COUNT = 2_000
STARTS = 3  # systemd starts a daemon again that found damage while it ran
SOURCE = 'commit_interval = "100ms"\n[[mqtt.sensors]]\ntopic = "plug/+"\ndevice = "{1}"\n'


class Journal(NamedTuple):
    """A journal of `COUNT` readings that nobody has delivered yet: the directory, and what is where in the file."""

    directory: Path
    rows: dict[int, set[int]]
    """Leaf page of `entries` to the sequence numbers on it."""
    roots: dict[str, int]
    """Root pages, by name of the table or index."""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    """Make a journal that was stopped in good order: one file."""
    return record(tmp_path_factory.mktemp("stopped"), Daemon.stop)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    """Make a journal whose daemon was killed: a file, and a WAL of which nothing was moved to it yet."""
    return record(tmp_path_factory.mktemp("killed"), Daemon.kill)


def record(directory: Path, end: Callable[[Daemon], None]) -> Journal:
    with skipped_if_missing():
        server = Mosquitto()
    with server as broker:
        database = influxdb_section("http://127.0.0.1:1", "energy", "token")
        with Daemon(directory, mqtt_section(broker.port, SOURCE) + database) as daemon:
            daemon.wait_connected()
            # In pieces, for the WAL to hold many commits.
            for first in range(0, COUNT, COUNT // 8):
                pieces = range(first, first + COUNT // 8)
                broker.publish("plug/a", *(json.dumps({"seq": seq, "power": 1.5}) for seq in pieces))
            daemon.wait_for(lambda status: status["sources"][0]["recorded"] == COUNT)
            daemon.wait_for(lambda status: status["sources"][0]["unacknowledged"] == 0)
            end(daemon)
    whole = directory / "whole.db"  # a copy with the WAL in it
    with (
        closing(sqlite3.connect(shutil.copytree(daemon.state, directory / "copy") / "journal.db")) as source,
        closing(sqlite3.connect(whole)) as target,
    ):
        source.backup(target)
        roots = dict(target.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0"))
        # One publisher's readings, so their numbers are in the order of the positions.
        readings = target.execute("SELECT position FROM entries WHERE kind = 0 ORDER BY position").fetchall()
    assert len(readings) == COUNT
    sequence = {position: number for number, (position,) in enumerate(readings)}
    rows = leaves(whole.read_bytes(), roots["entries"])
    numbers = {page: {sequence[row] for row in found if row in sequence} for page, found in rows.items()}
    return Journal(daemon.state, numbers, roots)


def leaves(content: bytes, number: int) -> dict[int, set[int]]:
    """Walk a table's b-tree from its root: leaf page to the rowids on it."""
    page = content[(number - 1) * PAGE : number * PAGE]
    kind, count = struct.unpack_from(">BxxH", page)
    cells = struct.unpack_from(f">{count}H", page, 8 if kind == 13 else 12)
    if kind == 13:
        return {number: {rowid(page, at) for at in cells}}
    assert kind == 5
    found: dict[int, set[int]] = {}
    for child in (*(int.from_bytes(page[at : at + 4]) for at in cells), int.from_bytes(page[8:12])):
        found |= leaves(content, child)
    return found


def rowid(page: bytes, at: int) -> int:
    """Return the second variable-length integer of a leaf's cell."""
    while page[at] > 127:
        at += 1
    value, at = 0, at + 1
    while page[at] > 127:
        value, at = value << 7 | page[at] & 127, at + 1
    return value << 7 | page[at]


class Patient:
    """A daemon on a copy of the journal, and a database that is away until it has started."""

    def __init__(self, influxdb: InfluxDB, proxy: FaultProxy, directory: Path) -> None:
        self.influxdb = influxdb
        self.state = directory / "state"
        self._proxy = proxy
        self._daemon = Daemon(directory, "")

    def infect(self, journal: Journal) -> Path:
        """Begin with a fresh copy and an empty bucket; return the file to be damaged."""
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.copytree(journal.directory, self.state)
        bucket = self.influxdb.fresh_bucket()
        self._daemon.configure(influxdb_section(self._proxy.url, bucket, self.influxdb.token, 'batch_age = "100ms"'))
        return self.state / "journal.db"

    def delivered(self) -> tuple[set[int], str]:
        """Start, again and again as systemd does, until all is delivered; return it, and what was recovered."""
        self._proxy.refuse()
        recovered = ""
        for _ in range(STARTS):
            with self._daemon as daemon:
                self._proxy.ok()
                recovered = str(daemon.status()["journal"]["recovered"] or recovered)
                if self._is_through():
                    return self._numbers(), recovered
            assert daemon.returncode == 1, f"ended with {daemon.returncode}"
        raise AssertionError(f"does not come up: {self._daemon.log.read_text()[-3000:]}")

    def _is_through(self) -> bool:
        """Wait until all is delivered, or the daemon has ended because it found damage."""

        def through() -> bool:
            try:
                (sink,) = self._daemon.status()["sinks"]
            except (client.NoDaemon, client.Refused):
                return not self._daemon.running
            return bool(sink["connected"] and not sink["lag_entries"]) or not self._daemon.running

        wait_until(through, 30, "delivery")
        return self._daemon.running

    def _numbers(self) -> set[int]:
        return {int(point["seq"]) for point in self.influxdb.points() if point.get("seq") is not None}


@pytest.fixture
def patient(influxdb: InfluxDB, tmp_path: Path) -> Iterator[Patient]:
    with FaultProxy(influxdb.port) as proxy:
        yield Patient(influxdb, proxy, tmp_path)


def destroy(file: Path, offset: int, size: int = PAGE) -> None:
    """Overwrite a piece with noise, the same for the same place."""
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(random.Random(offset).randbytes(size))


EVERYTHING = set(range(COUNT))


@pytest.mark.parametrize(
    "what", ["header", "root", "first leaf", "a leaf", "last leaf", "pending", "devices", "shapes", "state"]
)
def test_with_a_page_overwritten_all_other_rows_are_delivered(stopped: Journal, patient: Patient, what: str) -> None:
    """Whichever page is destroyed: it starts, says what it recovered, and delivers every row of the others."""
    pages = sorted(stopped.rows, key=lambda page: min(stopped.rows[page], default=0))
    page = {
        "header": 1,
        "root": stopped.roots["entries"],
        "first leaf": pages[0],
        "a leaf": pages[len(pages) // 2],
        "last leaf": pages[-1],
    }.get(what) or stopped.roots[what]
    destroy(patient.infect(stopped), (page - 1) * PAGE)
    found, recovered = patient.delivered()
    assert found == EVERYTHING - stopped.rows.get(page, set())
    assert "entries were recovered" in recovered


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_gives_back_the_rows_that_are_left(stopped: Journal, patient: Patient, kept: float) -> None:
    """At whatever length the file was cut off, every row on a page that is left is delivered."""
    file = patient.infect(stopped)
    size = int(file.stat().st_size * kept)
    with file.open("r+b") as opened:
        opened.truncate(size)
    found, recovered = patient.delivered()
    whole = {row for page, rows in stopped.rows.items() if page * PAGE <= size for row in rows}
    cut = stopped.rows.get(size // PAGE + 1, set())  # of the page that was cut, some rows may be left
    assert whole <= found <= whole | cut
    assert "entries were recovered" in recovered or not whole


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_a_damaged_wal_loses_only_what_was_on_the_damaged_page(
    killed: Journal, patient: Patient, where: float
) -> None:
    """SQLite forgets what follows a damaged place in the WAL; the intact pages behind it are delivered too."""
    file = patient.infect(killed)
    wal = file.with_name("journal.db-wal")
    size = wal.stat().st_size
    frames = (size - WAL_HEADER) // (FRAME_HEADER + PAGE)
    assert frames > 10, "not much of a WAL"
    offset = WAL_HEADER + int(frames * where) * (FRAME_HEADER + PAGE)
    with wal.open("rb") as opened:
        opened.seek(offset)
        number = int.from_bytes(opened.read(4))
    destroy(wal, offset + FRAME_HEADER)
    found, recovered = patient.delivered()
    assert "entries were recovered" in recovered
    assert killed.rows.get(number, set()) >= EVERYTHING - found


def test_a_wal_without_its_file_is_not_forgotten(killed: Journal, patient: Patient) -> None:
    """A main file cut to nothing does not make SQLite take the WAL for an old one and delete it."""
    file = patient.infect(killed)
    with file.open("r+b") as opened:
        opened.truncate(0)
    found, recovered = patient.delivered()
    assert found
    assert "entries were recovered" in recovered


def test_an_undamaged_journal_is_not_repaired(killed: Journal, stopped: Journal, patient: Patient) -> None:
    """After a stop or a kill nothing is moved aside, and everything is delivered."""
    for journal in (stopped, killed):
        patient.infect(journal)
        assert patient.delivered() == (EVERYTHING, "")
        assert not list(patient.state.glob("*damaged*"))
