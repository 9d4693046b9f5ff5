"""What the commands say, with which code they exit, and whose the files are."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from edge_energy import cli
from edge_energy.journal.store import Commit, Store
from edge_energy.upkeep import backup, files, places, restore
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

    def cut(*_: object) -> None:
        raise NotDone("the power is gone")

    with monkeypatch.context() as patched:
        patched.setattr(Staging, "carry_out", cut)
        with pytest.raises(NotDone, match="power"):
            restore.restore(where, file)
    assert (where.state / "restoring" / "plan.json").exists()
    with closing(Store(where.journal)) as store:
        store.begin(BOOT)
        store.commit(Commit(entries=new_entries(10), state={"command/x": COMMAND}))
        crashed = {path: path.read_bytes() for path in where.state.glob("journal.db*")}
    for path, content in crashed.items():
        path.write_bytes(content)
    done = restore.restore(where, file)
    assert done.resumed
    assert look(where.journal, "SELECT max(position) FROM entries") == [(500,)]
    assert look(where.journal, "PRAGMA integrity_check") == [("ok",)]
    assert state_of(where.journal)["command/x"] == COMMAND
    (kept,) = where.state.glob("replaced-*/journal.db")
    assert look(kept, "SELECT max(position) FROM entries") == [(510,)]
