"""A reset removes nothing that is not in a backup, and leaves configuration and secrets alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from edge_energy import cli
from edge_energy.journal.opening import Lock
from edge_energy.upkeep import reset, restore
from edge_energy.upkeep.errors import NotDone
from tests.unit.upkeep.appliance import furnish, look, make_places, snapshot

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
    assert left == {"lock", "backups", ".strange"}
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
    assert not where.journal.exists()
