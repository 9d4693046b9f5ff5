"""The journal at an upgrade: a copy for the way back, made where the new release changes its schema."""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

from edge_energy.errors import JournalError
from edge_energy.journal.files import open_database, wal_of
from edge_energy.journal.journal import FILE_NAME
from edge_energy.journal.opening import Lock
from edge_energy.journal.store import SCHEMA

if TYPE_CHECKING:
    from pathlib import Path


def keep(directory: Path, schema: int) -> Path | None:
    """Copy the journal of a state directory before a release with another schema opens it; return the copy.

    With the same schema nothing is needed, and an older copy is deleted: no release that is kept needs it. The daemon
    must not run: raises `ConfigError` where it does, `JournalError` where the copy cannot be made.
    """
    path, copy = directory / FILE_NAME, _copy(directory)
    if schema == SCHEMA or not path.exists():
        copy.unlink(missing_ok=True)
        return None
    unfinished = copy.with_name(f"{copy.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    lock = Lock(directory)
    try:
        with closing(open_database(path)) as source, closing(sqlite3.connect(unfinished)) as target:
            source.backup(target)
        _sync(unfinished)
        unfinished.replace(copy)
        _sync(directory)
    except (sqlite3.Error, OSError) as error:
        unfinished.unlink(missing_ok=True)
        raise JournalError(f"{path} cannot be copied: {error}") from error
    finally:
        lock.release()
    return copy


def put_back(directory: Path) -> Path | None:
    """Put the copy in the place of a journal whose schema is newer than ours; return where the newer one is kept now.

    A journal that we can open is left alone. The copy gets a new id: positions after its last were given before, for
    other entries. The daemon must not run. Raises `ConfigError` where it does, `JournalError` where there is no copy.
    """
    path, copy = directory / FILE_NAME, _copy(directory)
    if not path.exists():
        return None
    lock = Lock(directory)
    try:
        with closing(open_database(path)) as database:
            newer = int(database.execute("PRAGMA user_version").fetchone()[0])
        if newer <= SCHEMA:
            return None
        if not copy.exists():
            raise JournalError(
                f"{path} has schema {newer}, this release knows {SCHEMA}, and no copy was made before the upgrade"
            )
        with closing(sqlite3.connect(copy, isolation_level=None)) as database:
            database.execute("UPDATE meta SET journal_id = ?", (uuid.uuid4().hex,))
        aside = path.with_name(f"{path.name}.schema-{newer}")
        aside.unlink(missing_ok=True)
        os.link(path, aside)
        if wal_of(path).exists():  # it must never lie beside the copy
            wal_of(path).replace(wal_of(aside))
        _sync(directory)
        copy.replace(path)  # at no moment is there no journal
        _sync(directory)
    except (sqlite3.Error, OSError) as error:
        raise JournalError(f"{path} cannot be replaced by {copy.name}: {error}") from error
    finally:
        lock.release()
    return aside


def _copy(directory: Path) -> Path:
    return directory / f"{FILE_NAME}.before-upgrade"


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
