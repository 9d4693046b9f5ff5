"""What was backed up is put back whole, or nothing is touched; what was there is kept, also when it is killed."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import shutil
import stat
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge_energy.journal.opening import Lock, open_store
from edge_energy.journal.store import Commit, Store
from edge_energy.upkeep import archive, backup, places, restore, sealed
from edge_energy.upkeep import manifest as manifests
from edge_energy.upkeep import snapshot as journals
from edge_energy.upkeep.errors import NotDone
from edge_energy.upkeep.places import Places
from edge_energy.upkeep.staging import Staging
from tests.unit.samples import BOOT, new_entries
from tests.unit.upkeep.appliance import PASSPHRASE, furnish, look, make_places, record, snapshot, state_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sealed._COST, "n", 2)


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
        "secrets.sealed",
    }
    assert set(done.names) == {
        "etc/kafka.key",
        "secrets/mqtt-devices.password",
        "tls/server.key",
        "credstore/edge-energy.mqtt.password",
        "zigbee2mqtt/coordinator_backup.json",
    }
    assert (done.left_out, done.unnamed) == ((), ())
    assert (done.entries, done.wrong, done.manifest.position) == (500, 0, 500)
    assert done.bytes == target.stat().st_size
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["b.tar.gz"]
    assert b"secret " not in gzip.decompress(target.read_bytes())
    assert b"0103050709" not in gzip.decompress(target.read_bytes())


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
    assert set(done.left_out) == {"zigbee2mqtt/database.db"}
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
    assert stat.S_IMODE(password.stat().st_mode) == 0o640  # as it was here
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


def test_the_wal_of_an_empty_journal_is_kept_with_it(where: Places, file: Path) -> None:
    """After a power cut it may hold everything; SQLite would delete it."""
    with closing(Store(where.journal)) as store:
        store.begin(BOOT)
        store.commit(Commit(entries=new_entries(50)))
        wal = where.journal.with_name("journal.db-wal").read_bytes()
    where.journal.write_bytes(b"")
    where.journal.with_name("journal.db-wal").write_bytes(wal)
    restore.restore(where, file)
    kept = snapshot(next(where.state.glob("replaced-*")))
    assert (kept["journal.db"], kept["journal.db-wal"]) == (b"", wal)
    assert look(where.journal, "SELECT max(position) FROM entries") == [(500,)]


def test_what_was_cut_out_after_the_backup_stays_off(where: Places, file: Path) -> None:
    """Also what a person has switched off."""
    record(where.journal, 100, {"cut-out/heater": "over-current", "off/pump": {"at": 5, "utc": 1e9}})
    restore.restore(where, file)
    kept = state_of(where.journal)
    assert (kept["cut-out/heater"], kept["off/pump"]) == ("over-current", {"at": 5, "utc": 1e9})


def test_an_interrupted_restore_needs_no_space(where: Places, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are staged already; and what was staged without a plan is removed before room is looked for."""
    none = shutil.disk_usage("/")._replace(free=1000)
    with monkeypatch.context() as patched:
        patched.setattr(Staging, "carry_out", interrupt)
        with pytest.raises(KeyboardInterrupt):
            restore.restore(where, file)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: none)
        assert restore.restore(where, file).resumed
    staged = where.state / "restoring" / "journal.db"
    staged.parent.mkdir()
    staged.touch()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: none if staged.exists() else none._replace(free=2**30))
    assert not restore.restore(where, file).resumed


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_bad_file_does_not_keep_an_interrupted_restore_from_its_end(
    where: Places, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is said, as something was replaced."""
    with monkeypatch.context() as patched:
        patched.setattr(Staging, "carry_out", interrupt)
        with pytest.raises(KeyboardInterrupt):
            restore.restore(where, file)
    file.write_bytes(b"nonsense")
    with pytest.raises(NotDone, match="the restore that was interrupted before is complete now"):
        restore.restore(where, file)
    assert not (where.state / "restoring").exists()


def test_the_keys_of_zigbee_come_back_with_the_passphrase_only(where: Places, file: Path) -> None:
    """They are among the secrets; without those they are not in a backup, and that is known."""
    key = where.zigbee2mqtt[0] / "coordinator_backup.json"
    content = key.read_text()
    key.write_text("another network")
    restore.restore(where, file)
    assert key.read_text() == "another network"
    restore.restore(where, file, PASSPHRASE)
    assert key.read_text() == content
    done = backup.make(where, "house-7", file.with_name("open.tar.gz"))
    assert done.left_out == ("zigbee2mqtt/coordinator_backup.json",)
    assert b"0103050709" not in gzip.decompress(file.with_name("open.tar.gz").read_bytes())


def test_secrets_are_for_the_backup_that_they_were_sealed_in(where: Places, file: Path, tmp_path: Path) -> None:
    """A configuration that names another broker would send it the password."""
    with file.open("rb") as opened:
        packed = archive.Archive(opened)
        contents = {item.name: b"".join(pieces) for item, pieces in packed.contents()}
    contents[manifests.CONFIG] += b'\n[[mqtt]]\nhost = "evil.example"\n'
    items = tuple(
        item._replace(size=len(contents[item.name]), sha256=hashlib.sha256(contents[item.name]).hexdigest())
        for item in packed.manifest.files
    )
    forged, before = tmp_path / "forged.tar.gz", snapshot(where.etc)
    with forged.open("wb") as target:
        changed = dataclasses.replace(packed.manifest, files=items)
        archive.write(target, changed, lambda item: iter([contents[item.name]]))
    with pytest.raises(NotDone, match="somebody has changed the backup"):
        restore.restore(where, forged, PASSPHRASE)
    assert snapshot(where.etc) == before


def test_a_backup_leaves_room_for_the_daemon_on_its_disk(
    where: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The WAL grows while it is read, and a full disk would hold up the writer."""
    little = shutil.disk_usage("/")._replace(free=32 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: little)
    with pytest.raises(NotDone, match="not enough space"):
        backup.make(where, "house-7", tmp_path / "second.tar.gz")


def test_a_backup_opens_no_file_to_everybody(where: Places, tmp_path: Path) -> None:
    """Permissions are those that are here, or at most what this program gives."""
    file = tmp_path / "open.tar.gz"
    where.config.chmod(0o666)
    backup.make(where, "house-7", file)
    where.config.unlink()
    restore.restore(where, file)
    assert stat.S_IMODE(where.config.stat().st_mode) == 0o640
    where.config.write_text(where.config.read_text() + "# changed\n")
    where.config.chmod(0o600)
    restore.restore(where, file)
    assert stat.S_IMODE(where.config.stat().st_mode) == 0o600
