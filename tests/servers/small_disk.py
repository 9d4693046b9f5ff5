"""A disk that fills up: a file system of a few MiB, mounted for one test; needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .base import MissingError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def small_disk(mebibytes: int = 16) -> Iterator[Path]:
    """Yield an empty directory on a file system of this size: ext4, or in memory where loop devices lack."""
    if os.geteuid() != 0:
        raise MissingError("a small disk is mounted: run these tests as root")
    with tempfile.TemporaryDirectory(prefix="small-disk-") as directory:
        image, mounted = Path(directory, "image"), Path(directory, "disk")
        mounted.mkdir()
        if not (_mount_ext4(image, mounted, mebibytes) or _mount_memory(mounted, mebibytes)):
            raise MissingError("a small disk is mounted, and mounting is not allowed here")
        try:
            contents = mounted / "data"  # beside ext4's own lost+found
            contents.mkdir()
            yield contents
        finally:
            subprocess.run(["umount", "--lazy", mounted], check=True)


def fill(disk: Path) -> Path:
    """Take every free block of a disk, as a log file without rotation does."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 512):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return filler


def _mount_ext4(image: Path, mounted: Path, mebibytes: int) -> bool:
    with image.open("wb") as file:
        file.truncate(mebibytes << 20)
    # No blocks reserved for root: a full disk must be full for the tests' user too.
    return _succeeds("mkfs.ext4", "-q", "-F", "-m", "0", image) and _succeeds("mount", "-o", "loop", image, mounted)


def _mount_memory(mounted: Path, mebibytes: int) -> bool:
    return _succeeds("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", mounted)


def _succeeds(*command: str | Path) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
