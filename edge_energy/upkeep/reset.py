"""`edge-energy reset`: back to the state of a fresh installation, after a backup of everything.

The journal is replaced by an empty one that knows which commands came before, what is cut out, and what a person has
switched off: a load must not go on because a broker delivers an old command again.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from edge_energy.errors import EdgeEnergyError
from edge_energy.journal.files import sync, wal_of
from edge_energy.upkeep import backup, files, places, renewal, snapshot
from edge_energy.upkeep import manifest as manifests
from edge_energy.upkeep.errors import NotDone
from edge_energy.upkeep.staging import Staging

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
        saved = {where.place(item.name) for item in done.manifest.files if item.name.startswith(manifests.STATE)}
        if where.journal in saved:
            _begin_anew(where)
        removed = [path for path in doomed(where) if path in saved or path.name.startswith("journal.")]
        for path in removed:
            if path != where.journal:
                path.unlink(missing_ok=True)
        sync(where.state)
        return Done([path.relative_to(where.state).as_posix() for path in removed], file, done)


def _begin_anew(where: Places) -> None:
    """Replace the journal by an empty one, in one step: at no moment is there none. Raises `NotDone`."""
    journal, staging = where.journal, Staging(where.state)
    known = renewal.known(journal)
    snapshot.settle(journal)  # last: whoever reads it leaves files beside it
    if wal_of(journal).exists():  # it must not lie beside the new file, and may hold what no backup has
        raise NotDone(f"{wal_of(journal)} is damaged: {snapshot.REPAIR}")
    staging.begin()
    try:
        fresh = staging.name(journal)
        renewal.seed(fresh, known, places.relays(where, where.config), time.time())
        shutil.copymode(journal, fresh)
        files.give(fresh, files.owner_of(where.state))
        fresh.replace(journal)
        sync(where.state)
    except (sqlite3.Error, EdgeEnergyError, OSError) as error:
        raise NotDone(f"{journal} cannot be replaced: {error}") from None
    finally:
        staging.discard()
