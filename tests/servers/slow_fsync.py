"""A disk that is slow to sync: a preloaded library that delays fsync and fdatasync of one process."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from .base import MissingError, making

_SOURCE = Path(__file__).with_suffix(".c")


def slow_fsync(milliseconds: int) -> dict[str, str]:
    """Return the environment in which a subprocess syncs that much more slowly; Linux with a C compiler."""
    return {"LD_PRELOAD": str(_library()), "SLOW_FSYNC_MS": str(milliseconds)}


def _library() -> Path:
    with making("slow_fsync") as cache:
        library = cache / "slow_fsync.so"
        if not library.exists() or library.stat().st_mtime < _SOURCE.stat().st_mtime:
            compiler = shutil.which("cc")
            if compiler is None:
                raise MissingError("a slow disk needs a C compiler: apt-get install gcc libc6-dev")
            fresh = library.with_suffix(".new")  # renamed when complete: a running process may have the old one
            subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", fresh, _SOURCE, "-ldl"], check=True)
            fresh.replace(library)
        return library
