"""What a process, and the device below its files, used: as the kernel counts it. Linux only."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import NamedTuple

SECTOR = 512  # bytes, whatever the device's own is (Documentation/block/stat.rst)


class Usage(NamedTuple):
    """Totals since the start of a process; their difference is what happened between."""

    cpu: float
    """Seconds, user and system."""
    written: int
    """Bytes that it caused to be written to storage (write_bytes in /proc/PID/io)."""
    device: float
    """Bytes that the device wrote, for everybody; NaN where the file system has none."""

    def since(self, before: Usage) -> Usage:
        """Return what was used since then."""
        return Usage(self.cpu - before.cpu, self.written - before.written, self.device - before.device)


def usage(pid: int, directory: Path) -> Usage:
    """Return what a process has used; the device is the one that `directory` lies on."""
    # Behind the program's name, which may contain anything, in parentheses.
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(stat[11]) + int(stat[12])
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), _field(pid, "io", "write_bytes"), device_written(directory))


def peak_memory(pid: int) -> int:
    """Return the most memory (bytes, resident) that a process ever had."""
    return _field(pid, "status", "VmHWM") * 1024


def memory(pid: int) -> int:
    """Return the memory (bytes, resident) that a process has."""
    return _field(pid, "status", "VmRSS") * 1024


def device_written(directory: Path) -> float:
    """Return the bytes ever written to the device below a directory; NaN where there is no such device."""
    number = directory.stat().st_dev
    try:
        stat = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat").read_text().split()
    except OSError:
        return math.nan
    return int(stat[6]) * SECTOR


def _field(pid: int, file: str, key: str) -> int:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise KeyError(key)
