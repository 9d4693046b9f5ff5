"""A restore that is interrupted is completed by the next one, and at no moment is there no journal."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from edge_energy.upkeep import backup, restore, sealed
from edge_energy.upkeep.errors import NotDone
from edge_energy.upkeep.staging import Plan, Staging
from tests.unit.upkeep.appliance import PASSPHRASE, furnish, look, make_places, record

if TYPE_CHECKING:
    from pathlib import Path

    from edge_energy.upkeep.places import Places

STRIDE = 4  # tests for all moments, each a fourth of them
CRASHES = (
    "os.rename",
    "os.link",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.chmod",
    "sqlite3.connect",
    "shutil.rmtree",
)


def test_a_plan_that_somebody_else_wrote_is_not_carried_out(tmp_path: Path) -> None:
    """The daemon's user may write to the state directory; root must not move files at his wish."""
    where, file = furnish(make_places(tmp_path / "one")), tmp_path / "backup.tar.gz"
    backup.make(where, "house-7", file)
    (where.state / "restoring").mkdir()
    plan = where.state / "restoring" / "plan.json"
    plan.write_text('{"backup": "", "kept": "", "aside": [["/etc/passwd", "/tmp/x"]], "put": []}')
    plan.chmod(0o666)
    with pytest.raises(NotDone, match="look who wrote it"):
        restore.restore(where, file)


def test_a_plan_is_never_thrown_away(tmp_path: Path) -> None:
    """Half of it may be carried out: also where it was made between two steps of ours."""
    staging = Staging(tmp_path)
    staging.begin()
    staging.commit(Plan("backup", str(tmp_path / "kept")))
    with pytest.raises(NotDone, match="start this one again"):
        staging.begin()
    assert staging.unfinished() == Plan("backup", str(tmp_path / "kept"))


def killed_at(number: int, where: Places, file: Path) -> bool:
    """Restore in a process of its own that is killed before its so-manieth change; tell whether it was."""
    child = os.fork()
    if child == 0:  # from here on nothing of pytest may run
        count = 0

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal count
            if event in CRASHES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT):
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            restore.restore(where, file, PASSPHRASE)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("first", range(1, STRIDE + 1))
def test_a_kill_at_any_moment_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    """At each there is a whole journal for a daemon that starts, old or new; and again, it is completed."""
    monkeypatch.setitem(sealed._COST, "n", 2)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a kill is no power cut: what was written is there
    root, template, made = tmp_path / "one", tmp_path / "template", tmp_path / "backup.tar.gz"
    where = furnish(make_places(root), 150)
    backup.make(where, "house-7", made, PASSPHRASE)
    record(where.journal, 100)
    where.config.write_text(where.config.read_text() + "# changed\n")
    root.rename(template)
    number, killed = first - STRIDE, True
    while killed:
        number += STRIDE
        shutil.copytree(template, root)
        killed = killed_at(number, where, made)
        assert look(where.journal, "PRAGMA integrity_check") == [("ok",)]
        assert look(where.journal, "SELECT max(position) FROM entries") in ([(150,)], [(250,)])
        assert "house-7" in where.config.read_text()
        done = restore.restore(where, made, PASSPHRASE)
        assert look(where.journal, "SELECT max(position) FROM entries") == [(150,)]
        assert done.journal_id != done.manifest.journal_id
        assert "# changed" not in where.config.read_text()
        kept = where.state.glob("replaced-*/journal.db")
        assert [(250,)] in [look(path, "SELECT max(position) FROM entries") for path in kept]
        assert not (where.state / "restoring").exists()
        assert not list(root.rglob(".*.restoring"))
        shutil.rmtree(root)
    assert number > 20
