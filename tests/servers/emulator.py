"""qemu: runs arm64 programs on another processor, once the kernel is told to use it for them (binfmt_misc)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .base import MissingError, apt_install, find_binary, require

NAME = "qemu-aarch64-static"
_KNOWN = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")


def find() -> Path | None:
    """Return the emulator, when the kernel uses it."""
    return find_binary(NAME) if _KNOWN.exists() else None


def make() -> Path:
    """Install Debian's packages and tell the kernel."""
    apt_install("qemu-user-static", "binfmt-support", "arch-test")
    if not _KNOWN.parent.joinpath("register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", _KNOWN.parent], check=False)
    subprocess.run(["update-binfmts", "--enable", "qemu-aarch64"], check=False)
    if not find():
        raise MissingError("the kernel takes no emulator: it has no binfmt_misc")
    return require(sys.modules[__name__])
