"""The journal at an upgrade: a copy for the way back, made where the new release changes its schema."""

from __future__ import annotations

import itertools
import os
import sqlite3
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

from edge_energy.errors import JournalError
from edge_energy.journal.files import open_database, sync, wal_of
from edge_energy.journal.journal import FILE_NAME
from edge_energy.journal.opening import Lock
from edge_energy.journal.store import SCHEMA

if TYPE_CHECKING:
    from pathlib import Path


def needs_copy(directory: Path) -> bool:
    """Whether this release changes the journal's schema when it opens it: an older one could not go on with it.

    Raises `JournalError` where the journal cannot be read.
    """
    path = directory / FILE_NAME
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            return _schema(database) < SCHEMA
    except sqlite3.Error as error:
        raise JournalError(f"{path} cannot be read: {error}") from error


def keep(directory: Path) -> Path:
    """Copy the journal of a state directory before this release changes its schema; return the copy.

    The daemon must not run: raises `ConfigError` where it does, `JournalError` where the copy cannot be made.
    """
    path, copy = directory / FILE_NAME, _copy(directory)
    unfinished = copy.with_name(f"{copy.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    lock = Lock(directory)
    try:
        with closing(open_database(path)) as source, closing(sqlite3.connect(unfinished)) as target:
            source.backup(target)
        sync(unfinished)
        unfinished.replace(copy)
        sync(directory)
    except (sqlite3.Error, OSError) as error:
        unfinished.unlink(missing_ok=True)
        raise JournalError(f"{path} cannot be copied: {error}") from error
    finally:
        lock.release()
    return copy


def forget(directory: Path) -> None:
    """Delete the copy: the release that may be gone back to does not need it."""
    _copy(directory).unlink(missing_ok=True)


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
            newer = _schema(database)
        if newer <= SCHEMA:
            return None
        if not copy.exists():
            raise JournalError(
                f"{path} has schema {newer}, this release knows {SCHEMA}, and no copy was made before the upgrade"
            )
        with closing(sqlite3.connect(copy, isolation_level=None)) as database:
            database.execute("UPDATE meta SET journal_id = ?", (uuid.uuid4().hex,))
        aside = _aside(path, newer)
        if not aside.exists():
            os.link(path, aside)
        if wal_of(path).exists():  # it must never lie beside the copy
            wal_of(path).replace(wal_of(aside))
        sync(directory)
        copy.replace(path)  # at no moment is there no journal
        sync(directory)
    except (sqlite3.Error, OSError) as error:
        raise JournalError(f"{path} cannot be replaced by {copy.name}: {error}") from error
    finally:
        lock.release()
    return aside


def _aside(path: Path, schema: int) -> Path:
    """Return a name that no other journal has: each holds what was acknowledged and is nowhere else."""
    name = path.with_name(f"{path.name}.schema-{schema}")
    numbers = itertools.count(2)
    while name.exists() and not name.samefile(path):  # it is the same where an earlier try was interrupted
        name = path.with_name(f"{path.name}.schema-{schema}.{next(numbers)}")
    return name


def _schema(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _copy(directory: Path) -> Path:
    return directory / f"{FILE_NAME}.before-upgrade"
