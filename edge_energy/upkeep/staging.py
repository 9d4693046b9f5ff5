"""Puts verified files into the places of others, so that a power cut in between is made good by doing it again.

All new files lie beside their places, on the same disk, before a plan is written; the plan on the disk is the point
of no return. Each file is then replaced by one rename, and what was there has a second name before that: at no moment
is there none, so a daemon that starts in between finds the old file or the new one. Nothing is deleted.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_energy.journal.files import sync
from edge_energy.journal.journal import FILE_NAME
from edge_energy.upkeep.errors import NotDone

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = "restoring"
_PLAN = "plan.json"


@dataclass(slots=True)
class Plan:
    """What is to be moved: `aside` (from, to), then `put` (from, to, where what was there goes)."""

    backup: str
    """The id of the backup from which this comes."""
    kept: str
    """Directory or suffix under which what was there is found, for people."""
    aside: list[tuple[Path, Path]] = field(default_factory=list)
    put: list[tuple[Path, Path, Path]] = field(default_factory=list)


class Staging:
    """The directory `restoring` in the state directory, and files named `.NAME.restoring` elsewhere."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self.directory = state / _NAME
        self._plan = self.directory / _PLAN

    def begin(self) -> None:
        """Start with an empty directory. Raises `NotDone` where there is a plan, which must be carried out first."""
        if self.unfinished() is not None:
            raise NotDone(
                "another restore was interrupted just now: start this one again, which completes that first"
            )
        self.discard()
        self.directory.mkdir(mode=0o700)

    def discard(self) -> None:
        """Forget what is staged in the state directory; only where there is no plan."""
        if self.directory.is_symlink():
            raise NotDone(f"{self.directory} is a link: remove it")
        with suppress(FileNotFoundError):
            shutil.rmtree(self.directory)

    def name(self, target: Path) -> Path:
        """Return where to put a new file until it takes its place."""
        if target.is_relative_to(self._state):
            return self.directory / "+".join(target.relative_to(self._state).parts)  # no name has one
        return target.with_name(f".{target.name}.restoring")

    def commit(self, plan: Plan) -> None:
        """Write the plan: from here on it is carried out, however often it is interrupted."""
        body = {
            "backup": plan.backup,
            "kept": plan.kept,
            "aside": [[str(path) for path in move] for move in plan.aside],
            "put": [[str(path) for path in move] for move in plan.put],
        }
        unfinished = self._plan.with_suffix(".unfinished")
        with unfinished.open("x") as file:
            json.dump(body, file)
            file.flush()
            os.fsync(file.fileno())
        for directory in {move[0].parent for move in plan.put}:
            sync(directory)
        unfinished.replace(self._plan)
        sync(self.directory)
        sync(self._state)

    def unfinished(self) -> Plan | None:
        """Return the plan of a restore that was interrupted, if there is one.

        It is believed only where we, or root, wrote it: the daemon's user may write to the state directory, and what
        root moves must not be his choice.
        """
        try:
            found = self._plan.stat(follow_symlinks=False)
            owners = {found.st_uid, self.directory.stat(follow_symlinks=False).st_uid}
            if not owners <= {0, os.geteuid()} or found.st_mode & 0o022:
                raise NotDone(f"{self._plan} is not from a restore of yours: look who wrote it, and remove it")
            body = json.loads(self._plan.read_text())
        except FileNotFoundError:
            return None
        except PermissionError:
            raise NotDone(f"a restore was interrupted, and {self._plan} cannot be read: run this as root") from None
        aside = [(Path(old), Path(new)) for old, new in body["aside"]]
        put = [(Path(new), Path(target), Path(old)) for new, target, old in body["put"]]
        return Plan(body["backup"], body["kept"], aside, put)

    def carry_out(self, plan: Plan) -> None:
        """Make all moves of a plan that are not made yet, in order.

        What goes aside belongs to the replaced journal: once the new one is in place, a daemon may have made its own.
        """
        journal = self.name(self._state / FILE_NAME)
        for old, new in plan.aside:
            if journal.exists() and old.exists():
                new.parent.mkdir(parents=True, exist_ok=True)
                old.rename(free_name(new))
        sync(self._state)
        for new, target, old in plan.put:
            if new.exists():
                _replace(new, target, old)
        for directory in {target.parent for _, target, _ in plan.put}:
            sync(directory)
        self._plan.unlink()
        sync(self.directory)
        self.discard()
        sync(self._state)


def _replace(new: Path, target: Path, old: Path) -> None:
    if target.exists():
        old.parent.mkdir(parents=True, exist_ok=True)
        if not (old.exists() and old.samefile(target)):  # else we were interrupted right here
            _link(target, free_name(old))
        sync(old.parent)
    new.replace(target)
    sync(target.parent)


def _link(target: Path, old: Path) -> None:
    try:
        os.link(target, old, follow_symlinks=False)
    except OSError:  # a disk without links: then there is a moment with none
        target.rename(old)


def free_name(path: Path) -> Path:
    """Return a name that nothing has."""
    names: Iterable[Path] = (path, *(path.with_name(f"{path.name}.{number}") for number in range(1, 100)))
    return next(name for name in names if not os.path.lexists(name))
