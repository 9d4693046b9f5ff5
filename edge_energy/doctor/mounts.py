"""On which file system and on which disk a directory lies, as /proc and /sys have it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from edge_energy.doctor.machine import Machine


class Mount(NamedTuple):
    """Where a directory lies: the device `number` is "major:minor", as /sys/dev/block names it."""

    point: str
    number: str
    kind: str
    options: tuple[str, ...]


def mount_of(machine: Machine, directory: Path) -> Mount | None:
    """Return where a directory lies; None where this system has no /proc/self/mountinfo."""
    best = None
    for line in (machine.text("/proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        point = fields[4].replace("\\040", " ")
        # Of several at one place the last one counts: it lies on top.
        if directory.is_relative_to(point) and (best is None or len(point) >= len(best.point)):
            best = Mount(point, fields[2], kind[0], (*fields[5].split(","), *kind[2].split(",")))
    return best


def whole_disk(machine: Machine, number: str) -> Path | None:
    """Return the directory in /sys of the disk that a device is (part of); None for what is no block device."""
    block = machine.path(f"/sys/dev/block/{number}")
    if not block.exists():
        return None
    real = Path(os.path.realpath(block))
    return real.parent if (real / "partition").exists() else real
