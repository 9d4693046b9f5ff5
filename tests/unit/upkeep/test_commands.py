"""What the commands say, with which code they exit, and whose the files are."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from edge_energy import cli
from edge_energy.journal.store import Commit, Store
from edge_energy.upkeep import backup, files, places, restore, staging
from edge_energy.upkeep.errors import NotDone
from edge_energy.upkeep.staging import Staging
from tests.unit.samples import BOOT, new_entries
from tests.unit.upkeep.appliance import furnish, look, make_places, state_of

if TYPE_CHECKING:
    from pathlib import Path

    from edge_energy.upkeep.places import Places

COMMAND = {"command": "x", "relay": "shelly-ec62608ab9a4", "on": True, "outcome": "confirmed"}


@pytest.fixture
def where(tmp_path: Path) -> Places:
    return furnish(make_places(tmp_path / "one"))


@pytest.fixture(autouse=True)
def _busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tests themselves not step back for a daemon."""
    monkeypatch.setattr(os, "nice", lambda _: 0)


def crash(where: Places, entries: int, state: dict[str, Any]) -> None:
    """Leave the journal as a daemon does that is killed: what it acknowledged last is in its WAL only."""
    with closing(Store(where.journal)) as store:
        store.begin(BOOT)
        store.commit(Commit(entries=new_entries(entries), state=state))
        crashed = {path: path.read_bytes() for path in where.state.glob("journal.db*")}
    for path, content in crashed.items():
        path.write_bytes(content)


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


def test_a_backup_and_its_restore_say_what_they_did(where: Places, tmp_path: Path) -> None:
    """What is in it, and what the new id means."""
    file = tmp_path / "backup.tar.gz"
    done = invoke("backup", "--config", where.config, file)
    assert done.exit_code == 0, done.output
    assert "config/edge-energy.toml, state/ledger.db, state/journal.db." in done.output
    assert "500 entries" in done.output
    done = invoke("restore", "--config", where.config, file)
    assert done.exit_code == 0, done.output
    assert "Restored the backup of house-7" in done.output
    assert "position 500 under a new id" in done.output
    where.config.write_text("[appliance]\nid = 5\n")
    done = invoke("restore", "--config", where.config, "--state-dir", where.state, "--keep-config", file)
    assert done.exit_code == 78, done.output
    assert "appliance.id" in done.output


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("backup", "x", "--with-secrets"), 2, "belong together"),
        (("backup", "x", "--with-secrets", "--passphrase-file", "/nonexistent"), 1, "cannot be read"),
        (("backup", "/nonexistent/x"), 1, "Not done: /nonexistent"),
        (("restore", "/nonexistent"), 1, "Not done: /nonexistent"),
        (("backup", "/"), 1, "is a directory"),
        (("support-bundle", "/"), 1, "is a directory"),
    ],
)
def test_what_is_wrong_is_said(where: Places, arguments: tuple[str, ...], code: int, said: str) -> None:
    """With the exit codes of all commands."""
    done = invoke(*arguments, "--config", where.config)
    assert (done.exit_code, said in done.output) == (code, True), done.output


@pytest.mark.parametrize("command", ["backup", "restore", "reset", "support-bundle"])
def test_a_configuration_that_cannot_be_read_is_78(tmp_path: Path, command: str) -> None:
    """As everywhere."""
    arguments = [] if command == "reset" else [tmp_path / "file"]
    done = invoke(command, "--config", tmp_path / "absent.toml", *arguments)
    assert done.exit_code == 78, done.output


def test_credentials_of_the_unit_count_when_the_configuration_is_checked(where: Places) -> None:
    """On an appliance the token is only there; nothing of it is left anywhere."""
    where.config.write_text('[influxdb]\nurl = "http://127.0.0.1:8086"\norg = "home"\nbucket = "energy"\n')
    assert "token" in places.problems(where)[0]
    (where.credstore / "edge-energy.influxdb.token").write_text("secret")
    assert places.problems(where) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_restores_is_the_daemons(where: Places, tmp_path: Path) -> None:
    """Also what SQLite leaves beside the journal when root backs up; and the configuration stays whose it was."""
    for path in (where.state, *where.state.rglob("*")):
        os.chown(path, 12345, 12345)
    os.chown(where.config, 0, 12345)
    where.config.chmod(0o640)
    file = tmp_path / "backup.tar.gz"
    backup.make(where, "house-7", file)
    assert {files.owner_of(path) for path in where.state.rglob("*")} == {(12345, 12345)}
    where.config.write_text(where.config.read_text() + "# changed\n")
    restore.restore(where, file)
    assert {files.owner_of(path) for path in where.state.rglob("*")} == {(12345, 12345)}
    assert files.owner_of(where.config) == (0, 12345)
    assert where.config.stat().st_mode & 0o777 == 0o640


def test_a_daemon_that_ran_after_an_interruption_leaves_no_wal_for_the_restored_journal(
    where: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite would take it for the new file's."""
    file = tmp_path / "backup.tar.gz"
    backup.make(where, "house-7", file)
    where.journal.with_name("journal.suspect").write_text("damaged")

    def cut(*_: object) -> None:
        raise NotDone("the power is gone")

    with monkeypatch.context() as patched:
        patched.setattr(Staging, "carry_out", cut)
        with pytest.raises(NotDone, match="power"):
            restore.restore(where, file)
    assert (where.state / "restoring" / "plan.json").exists()
    crash(where, 10, {"command/x": COMMAND})
    done = restore.restore(where, file)
    assert done.resumed
    assert look(where.journal, "SELECT max(position) FROM entries") == [(500,)]
    assert look(where.journal, "PRAGMA integrity_check") == [("ok",)]
    assert state_of(where.journal)["command/x"] == COMMAND
    (kept,) = where.state.glob("replaced-*/journal.db")
    assert look(kept, "SELECT max(position) FROM entries") == [(510,)]


def test_a_daemon_that_ran_with_the_restored_journal_keeps_its_wal(
    where: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan names the WAL of the journal before, of the same name, which was damaged and had to go aside."""
    file = tmp_path / "backup.tar.gz"
    backup.make(where, "house-7", file)
    with closing(Store(where.journal)) as store:
        store.begin(BOOT)
        for _ in range(5):
            store.commit(Commit(entries=new_entries(5)))
        wal = bytearray(where.journal.with_name("journal.db-wal").read_bytes())
    wal[62:92] = b"\xff" * 30
    where.journal.with_name("journal.db-wal").write_bytes(wal)
    replace = staging._replace

    def cut(new: Path, target: Path, old: Path) -> None:
        replace(new, target, old)
        if target == where.journal:
            raise NotDone("the power is gone")

    with monkeypatch.context() as patched:
        patched.setattr(staging, "_replace", cut)
        with pytest.raises(NotDone, match="power"):
            restore.restore(where, file)
    crash(where, 77, {})
    assert restore.restore(where, file).resumed
    assert look(where.journal, "SELECT max(position) FROM entries") == [(577,)]
    (kept,) = where.state.glob("replaced-*/journal.db-wal")
    assert kept.read_bytes() == wal


def test_what_is_not_in_a_backup_is_said(where: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Zigbee network's key without a passphrase, and files whose names a backup cannot hold."""
    monkeypatch.setattr(places, "find", lambda *_: (where, "house-7"))
    (where.state / "my notes.txt").touch()
    (where.state / ".hidden").touch()
    (where.state / "a/b/c/d").mkdir(parents=True)
    (where.state / "a/b/c/d/deep").touch()
    done = invoke("backup", tmp_path / "backup.tar.gz")
    assert "key of the Zigbee network is not in it either (zigbee2mqtt/coordinator_backup.json)" in done.output
    for name in ("my notes.txt", ".hidden", "a/b/c/d/deep"):
        assert str(where.state / name) in done.output
    assert "lock" not in done.output


@pytest.mark.parametrize("kind", ["pipe", "link"])
@pytest.mark.parametrize("command", ["backup", "support-bundle"])
def test_only_a_file_is_replaced(where: Places, tmp_path: Path, kind: str, command: str) -> None:
    """A device would be gone, and a link leads where somebody else wants root to write."""
    target = tmp_path / "target"
    if kind == "pipe":
        os.mkfifo(target)
    else:
        target.symlink_to(tmp_path / "elsewhere")
    before = target.lstat()
    done = invoke(command, "--config", where.config, target)
    assert (done.exit_code, "link or a device" in done.output) == (1, True), done.output
    assert target.lstat() == before
    assert not (tmp_path / "elsewhere").exists()


def test_a_link_in_place_of_the_lock_is_refused(where: Places, tmp_path: Path) -> None:
    """The daemon's user may make one; root must not open what it leads to."""
    file, victim = tmp_path / "backup.tar.gz", tmp_path / "victim"
    backup.make(where, "house-7", file)
    victim.write_text("root:secret")
    for target in (victim, tmp_path / "absent"):
        (where.state / "lock").unlink()
        (where.state / "lock").symlink_to(target)
        for arguments in (("restore", file), ("reset", "--yes")):
            done = invoke(*arguments, "--config", where.config)
            assert (done.exit_code, "is a link" in done.output) == (1, True), done.output
    assert victim.read_text() == "root:secret"
    assert not (tmp_path / "absent").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_lock_that_was_left_to_root_is_given_to_the_daemon(where: Places) -> None:
    """By a command that was killed after it had made it."""
    os.chown(where.state, 12345, 12345)
    os.chown(where.state / "lock", 0, 0)
    with places.stopped(where.state):
        assert files.owner_of(where.state / "lock") == (12345, 12345)
