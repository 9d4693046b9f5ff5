"""What was backed up is put back whole, or nothing is touched; what was there is kept, also when it is killed."""

from __future__ import annotations

import gzip
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from edge_energy.journal.opening import Lock, open_store
from edge_energy.upkeep import backup, places, restore
from edge_energy.upkeep import snapshot as journals
from edge_energy.upkeep.errors import NotDone
from edge_energy.upkeep.places import Places
from tests.unit.samples import BOOT
from tests.unit.upkeep.appliance import PASSPHRASE, furnish, look, make_places, record, snapshot

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def where(tmp_path: Path) -> Places:
    return furnish(make_places(tmp_path / "one"))


@pytest.fixture
def file(where: Places, tmp_path: Path) -> Path:
    """Make a backup with secrets."""
    made = tmp_path / "backup.tar.gz"
    backup.make(where, "house-7", made, PASSPHRASE)
    return made


def test_a_backup_has_everything(where: Places, tmp_path: Path) -> None:
    """And only its owner can read it; what upkeep keeps, and what is not ours, is not in it."""
    (where.state / "backups").mkdir()
    (where.state / "backups" / "old.tar.gz").touch()
    (where.state / "link").symlink_to("/etc/passwd")
    target = tmp_path / "b.tar.gz"
    done = backup.make(where, "house-7", target, PASSPHRASE)
    assert {item.name for item in done.manifest.files} == {
        "config/edge-energy.toml",
        "state/ledger.db",
        "state/journal.db",
        "zigbee2mqtt/database.db",
        "zigbee2mqtt/coordinator_backup.json",
        "secrets.sealed",
    }
    assert set(done.names) == {
        "etc/kafka.key",
        "secrets/mqtt-devices.password",
        "tls/server.key",
        "credstore/edge-energy.mqtt.password",
    }
    assert (done.entries, done.wrong, done.manifest.position) == (500, 0, 500)
    assert done.bytes == target.stat().st_size
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["b.tar.gz"]
    assert b"secret " not in gzip.decompress(target.read_bytes())


def test_it_is_restored_on_another_machine(where: Places, file: Path, tmp_path: Path) -> None:
    """Where the state directory is the same in name; secrets with the passphrase only."""
    content = where.config.read_text()
    before = snapshot(where.state)
    where.state.rename(tmp_path / "gone")
    other = Places(tmp_path / "etc2" / "edge-energy.toml", where.state, tmp_path / "etc2", tmp_path / "cred2", ())
    done = restore.restore(other, file)
    assert other.config.read_text() == content
    assert done.secrets == ()
    assert not (tmp_path / "cred2").exists()
    assert set(done.left_out) == {"zigbee2mqtt/database.db", "zigbee2mqtt/coordinator_backup.json"}
    assert (other.state / "ledger.db").read_bytes() == before["ledger.db"]
    assert look(other.journal, "SELECT * FROM pending") == [("influxdb", 401, None)]
    assert done.journal_id == look(other.journal, "SELECT journal_id FROM meta")[0][0] != done.manifest.journal_id
    assert not (other.state / "restoring").exists()
    with places.stopped(other.state):
        store, recovered = open_store(other.journal, BOOT)
        store.close()
    assert recovered is None


def test_what_was_there_is_kept(where: Places, file: Path) -> None:
    """Also marks and WALs of the replaced journal, which must not meet the new one; secrets come back."""
    record(where.journal, 100)
    (where.state / "journal.suspect").write_text("damaged")
    (where.state / "journal.db.recovered").write_text("half a repair")
    password = where.credstore / "edge-energy.mqtt.password"
    password.write_text("changed since")
    password.chmod(0o640)
    where.config.write_text(where.config.read_text() + "# changed\n")
    changed, replaced = where.config.read_bytes(), snapshot(where.state)
    done = restore.restore(where, file, PASSPHRASE)
    assert not done.resumed
    kept = snapshot(next(where.state.glob("replaced-*")))
    assert set(kept) == {"journal.db", "journal.suspect", "journal.db.recovered", "ledger.db"}
    assert all(kept[name] == replaced[name] for name in kept)
    assert look(where.journal, "SELECT max(position) FROM entries") == [(500,)]
    (old,) = where.config.parent.glob("edge-energy.toml.replaced-*")
    assert old.read_bytes() == changed
    assert password.read_text() == "secret of the broker"
    assert stat.S_IMODE(password.stat().st_mode) == 0o644  # as when it was backed up
    assert [path.read_text() for path in where.credstore.glob("*.replaced-*")] == ["changed since"]
    assert not list((where.etc / "tls").glob("*.replaced-*"))  # it had not changed
    assert not list(where.etc.rglob(".*"))


def test_a_restore_keeps_the_configuration_that_is_here_if_asked(where: Places, file: Path) -> None:
    """And asks for that where the other names another state directory: a file must not choose where root writes."""
    other = Places(where.config, where.state.with_name("state2"), where.etc, where.credstore, ())
    before = snapshot(where.state.parent)
    with pytest.raises(NotDone, match=r"--state-dir .* --keep-config"):
        restore.restore(other, file)
    assert snapshot(where.state.parent) == before
    where.config.write_text("# mine\n")
    restore.restore(other, file, keep_config=True)
    assert where.config.read_text() == "# mine\n"
    assert look(other.journal, "SELECT count(*) FROM entries") == [(500,)]


def test_it_is_refused_while_the_daemon_runs(where: Places, file: Path) -> None:
    """Nothing is touched, and it is said what to do."""
    before = snapshot(where.state.parent)
    lock = Lock(where.state)
    try:
        with pytest.raises(NotDone, match="systemctl stop edge-energy"):
            restore.restore(where, file)
    finally:
        lock.release()
    assert snapshot(where.state.parent) == before


def test_a_damaged_backup_leaves_no_trace(where: Places, file: Path, tmp_path: Path) -> None:
    """Truncated, changed, another passphrase, not there: each is found before anything is touched."""
    content, before = file.read_bytes(), snapshot(where.state.parent)
    flipped = content[:4000] + bytes([content[4000] ^ 0xFF]) + content[4001:]
    for bad in (content[:-5], content[: len(content) // 2], flipped, b""):
        file.write_bytes(bad)
        with pytest.raises(NotDone):
            restore.restore(where, file)
    file.write_bytes(content)
    with pytest.raises(NotDone, match="not the passphrase"):
        restore.restore(where, file, "another passphrase")
    with pytest.raises(NotDone, match="No such file"):
        restore.restore(where, tmp_path / "absent")
    assert snapshot(where.state.parent) == before


def test_a_journal_inside_that_is_none_leaves_no_trace(
    where: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hashes of a forged backup are right; the journal is opened before it is put anywhere."""
    monkeypatch.setattr(journals, "examine", lambda _: journals.Contents("x", 1, 1, 1, 0))
    monkeypatch.setattr(journals, "copy", lambda _, target: target.write_bytes(b"no journal" * 1000))
    forged = tmp_path / "forged.tar.gz"
    backup.make(where, "house-7", forged)
    monkeypatch.undo()
    journals.settle(where.journal)  # what the copying has left beside it
    before = snapshot(where.state.parent)
    with pytest.raises(NotDone, match="damaged"):
        restore.restore(where, forged)
    assert snapshot(where.state.parent) == before


def test_no_room_is_said_before_anything_is_written(
    where: Places, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what it takes, and what there is."""
    before = snapshot(where.state.parent)
    none = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: none)
    with pytest.raises(NotDone, match="not enough space"):
        restore.restore(where, file)
    with pytest.raises(NotDone, match="not enough space"):
        backup.make(where, "house-7", file.with_name("second.tar.gz"))
    assert snapshot(where.state.parent) == before
    assert not file.with_name("second.tar.gz").exists()
