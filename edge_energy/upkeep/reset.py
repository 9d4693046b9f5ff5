"""`edge-energy reset`: back to the state of a fresh installation, after a backup of everything."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from edge_energy.upkeep import backup, files, places, snapshot
from edge_energy.upkeep import manifest as manifests
from edge_energy.upkeep.errors import NotDone

if TYPE_CHECKING:
    from pathlib import Path

    from edge_energy.upkeep.places import Places


class Done(NamedTuple):
    """What was removed (names in the state directory), and the backup that has it."""

    removed: list[str]
    file: Path
    backup: backup.Done


def doomed(where: Places) -> list[Path]:
    """Return what a reset removes: the journal with all that lies around it, and every file that a backup takes."""
    around = [path for path in files.regular(where.state) if path.name.startswith("journal.")]
    # The journal first: without it nothing that lies around it says anything.
    around.sort(key=lambda path: path != where.journal)
    return [*around, *(path for _, path in where.others())]


def reset(where: Places, appliance: str, directory: Path) -> Done:
    """Back up into a directory, then remove the state; configuration and secrets stay. Raises `NotDone`.

    Only a backup that is complete and was looked through lets anything be removed.
    """
    with places.stopped(where.state):
        if not directory.exists():
            try:
                directory.mkdir(parents=True, mode=0o700)
            except OSError as error:
                raise NotDone(f"{directory} cannot be made: {error.strerror}") from None
            if directory.is_relative_to(where.state):
                files.give(directory, files.owner_of(where.state))
        file = directory / f"edge-energy-{appliance}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"
        done = backup.make(where, appliance, file)
        snapshot.settle(where.journal)
        saved = {where.place(item.name) for item in done.manifest.files if item.name.startswith(manifests.STATE)}
        removed = [path for path in doomed(where) if path in saved or path.name.startswith("journal.")]
        for path in removed:
            path.unlink(missing_ok=True)
        files.sync(where.state)
        return Done([path.relative_to(where.state).as_posix() for path in removed], file, done)
