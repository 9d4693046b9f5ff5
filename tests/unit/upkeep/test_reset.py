"""A reset removes nothing that is not in a backup, and leaves configuration and secrets alone."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from edge_energy import cli
from edge_energy.journal.opening import Lock, open_store
from edge_energy.journal.store import Commit, Store
from edge_energy.relays.known import KnownCommands
from edge_energy.upkeep import backup, reset, restore
from edge_energy.upkeep.errors import NotDone
from tests.unit.samples import BOOT, new_entries
from tests.unit.upkeep.appliance import furnish, look, make_places, record, snapshot, state_of

if TYPE_CHECKING:
    from pathlib import Path

    from edge_energy.upkeep.places import Places


@pytest.fixture
def where(tmp_path: Path) -> Places:
    return furnish(make_places(tmp_path))


def test_the_state_is_gone_and_in_the_backup(where: Places) -> None:
    """Which restores it."""
    (where.state / "journal.suspect").touch()
    (where.state / ".strange").touch()
    others = snapshot(where.etc), snapshot(where.credstore), snapshot(where.zigbee2mqtt[0])
    done = reset.reset(where, "house-7", where.backups)
    assert done.file.parent == where.backups
    assert set(done.removed) == {"journal.db", "journal.reserve", "journal.suspect", "ledger.db"}
    left = {path.name for path in where.state.iterdir()}
    assert left == {"lock", "backups", ".strange", "journal.db"}
    assert look(where.journal, "SELECT count(*) FROM entries") == [(0,)]
    assert (snapshot(where.etc), snapshot(where.credstore), snapshot(where.zigbee2mqtt[0])) == others
    restore.restore(where, done.file)
    assert look(where.journal, "SELECT count(*) FROM entries") == [(500,)]
    assert (where.state / "ledger.db").read_bytes() == b"hours"


def test_without_a_backup_there_is_no_reset(where: Places, tmp_path: Path) -> None:
    """A damaged journal, a running daemon, a place that cannot be written: nothing is removed."""
    lock = Lock(where.state)
    with pytest.raises(NotDone, match="systemctl stop edge-energy"):
        reset.reset(where, "house-7", where.backups)
    lock.release()
    (tmp_path / "file").touch()
    before = snapshot(where.state)
    with pytest.raises(NotDone, match="cannot be written"):
        reset.reset(where, "house-7", tmp_path / "file")
    assert snapshot(where.state) == before
    content = bytearray(where.journal.read_bytes())
    content[4096 : 2 * 4096] = b"\x55" * 4096
    where.journal.write_bytes(content)
    with pytest.raises(NotDone):
        reset.reset(where, "house-7", where.backups)
    assert where.journal.read_bytes() == content


def test_without_yes_it_only_says_what_it_would_do(where: Places) -> None:
    """And exits with 2; it asks no question."""
    before = snapshot(where.state)
    result = CliRunner().invoke(cli.main, ["reset", "--config", str(where.config)])
    assert result.exit_code == 2, result.output
    assert f"remove from {where.state}: journal.db, journal.reserve, ledger.db" in result.output
    assert snapshot(where.state) == before
    done = CliRunner().invoke(cli.main, ["reset", "--yes", "--config", str(where.config)])
    assert done.exit_code == 0, done.output
    assert "edge-energy restore" in done.output
    assert look(where.journal, "SELECT count(*) FROM entries") == [(0,)]


def test_a_repair_that_a_power_cut_interrupted_is_completed_before(where: Places, tmp_path: Path) -> None:
    """All there is lies under another name, or in the WAL of an empty file: neither backup nor reset takes it."""
    where.journal.rename(where.state / "journal.db.recovered")
    refuses(where, tmp_path)
    where.journal.touch()
    refuses(where, tmp_path)
    (where.state / "journal.db.recovered").rename(where.state / "journal.db-wal")
    refuses(where, tmp_path)
    where.journal.unlink()
    refuses(where, tmp_path)


def refuses(where: Places, tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    with pytest.raises(NotDone, match=r"in the middle of a repair .* start the daemon"):
        backup.make(where, "house-7", tmp_path / "backup.tar.gz")
    with pytest.raises(NotDone, match=r"in the middle of a repair .* start the daemon"):
        reset.reset(where, "house-7", tmp_path)
    assert snapshot(tmp_path) == before


def test_a_wal_that_is_damaged_is_not_removed(where: Places, tmp_path: Path) -> None:
    """Behind the damage lies what no backup has."""
    with closing(Store(where.journal)) as store:
        store.begin(BOOT)
        for _ in range(5):
            store.commit(Commit(entries=new_entries(5)))
        wal = bytearray(where.journal.with_name("journal.db-wal").read_bytes())
    wal[62:92] = b"\xff" * 30
    where.journal.with_name("journal.db-wal").write_bytes(wal)
    with pytest.raises(NotDone, match="start the daemon"):
        reset.reset(where, "house-7", tmp_path)
    assert where.journal.with_name("journal.db-wal").read_bytes() == wal
    assert look(where.journal, "SELECT count(*) FROM entries")[0][0] >= 500


def test_no_load_is_switched_on_because_of_a_reset(where: Places) -> None:
    """What a broker delivers again is known or superseded; what is cut out or was switched off stays so."""
    now = time.time()
    relay = "shelly-ec62608ab9a4"
    done = {"command": "x", "relay": relay, "on": True, "for": None, "issued": now - 60, "until": now + 3000}
    state = {
        "command/x": {**done, "outcome": "confirmed", "reason": ""},
        f"cut-out/{relay}": "too hot",
        "token/1": {},
    }
    record(where.journal, 100, state)
    reset.reset(where, "house-7", where.backups)
    kept = state_of(where.journal)
    assert kept[f"cut-out/{relay}"] == "too hot"
    assert "token/1" not in kept
    commands = KnownCommands(kept)
    assert commands.overtaken(relay, now - 1, now + 60)
    store, repaired = open_store(where.journal, BOOT)
    with closing(store):
        assert (repaired, store.newest) == (None, 0)
