"""Files and directories: finding them without following links, whose they are, and when they are on the disk."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from edge_energy.journal.files import sync
from edge_energy.upkeep.errors import NotDone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVICE = "edge-energy"
"""The user and the group that the daemon runs as, and the name of its unit."""


def regular(directory: Path, *, deep: bool = False, without: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield the files of a directory, in order, and no links: whoever may write there must not have others read.

    `deep` goes into the directories in it, but for those whose names begin as one of `without`.
    """
    try:
        found = sorted(directory.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise NotDone(f"{directory} cannot be read ({error.strerror}): run this as root (sudo)") from None
    for path in found:
        kind = path.lstat().st_mode
        if stat.S_ISREG(kind):
            yield path
        elif deep and stat.S_ISDIR(kind) and not path.name.startswith(without):
            yield from regular(path, deep=True)


def owner_of(path: Path) -> tuple[int, int]:
    """Return user and group of a file or directory, as numbers."""
    found = path.stat()
    return found.st_uid, found.st_gid


def service_owner() -> tuple[int, int]:
    """Return user and group of the daemon; ours where this is no appliance, or we may not give anything away."""
    with suppress(KeyError):
        if os.geteuid() == 0:
            return pwd.getpwnam(SERVICE).pw_uid, grp.getgrnam(SERVICE).gr_gid
    return os.geteuid(), os.getegid()


def owner_named(text: str) -> tuple[int, int]:
    """Return the numbers of `user:group`; those of root where this machine does not know them, or of ourselves."""
    user, _, group = text.partition(":")
    with suppress(KeyError):
        if os.geteuid() == 0:
            return pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid
    return os.geteuid(), os.getegid()


def name_owner(found: os.stat_result) -> str:
    """Return `user:group` of a file, or nothing where they have no names."""
    with suppress(KeyError):
        return f"{pwd.getpwuid(found.st_uid).pw_name}:{grp.getgrgid(found.st_gid).gr_name}"
    return ""


def give(path: Path, owner: tuple[int, int]) -> None:
    """Make somebody the owner, where only root can."""
    if os.geteuid() == 0:
        os.chown(path, *owner, follow_symlinks=False)


@contextmanager
def written(target: Path) -> Iterator[BinaryIO]:
    """Give a file, for its owner only, that becomes `target` when all is written; else nothing is left of it.

    Raises `NotDone`, also for `OSError` of whoever writes.
    """
    if target.is_dir():
        raise NotDone(f"{target} is a directory: name the file to write")
    if os.path.lexists(target) and not stat.S_ISREG(target.lstat().st_mode):
        raise NotDone(f"{target} is a link or a device: name a file")
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
        sync(target.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NotDone(f"no space left for {target}: free some, or name a file on another disk") from None
        raise NotDone(f"{target} cannot be written: {error}") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def no_space(path: Path, needed: int, free: int) -> NotDone:
    """Return what to say of a disk without room, in bytes."""
    megabytes = [f"{number / 2**20:,.0f} MiB" for number in (needed, free)]
    return NotDone(f"not enough space in {path}: this needs {megabytes[0]}, {megabytes[1]} are free")
