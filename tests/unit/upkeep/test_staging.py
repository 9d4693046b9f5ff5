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
from tests.unit.upkeep.appliance import PASSPHRASE, furnish, look, make_places, record

if TYPE_CHECKING:
    from pathlib import Path

    from edge_energy.upkeep.places import Places

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


def test_a_kill_at_any_moment_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each there is a whole journal for a daemon that starts, old or new; and again, it is completed."""
    monkeypatch.setitem(sealed._COST, "n", 2)
    root, template, made = tmp_path / "one", tmp_path / "template", tmp_path / "backup.tar.gz"
    where = furnish(make_places(root), 150)
    backup.make(where, "house-7", made, PASSPHRASE)
    record(where.journal, 100)
    where.config.write_text(where.config.read_text() + "# changed\n")
    root.rename(template)
    number, killed = 0, True
    while killed:
        number += 1
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
