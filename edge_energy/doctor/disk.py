"""Checks of the disk under the journal: space, what kind of file system, errors, swap."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edge_energy.doctor.finding import Check, Finding, failure, not_applicable, not_permitted, ok, warning
from edge_energy.reports.words import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_energy.doctor.case import Case
    from edge_energy.doctor.machine import Machine

LITTLE = 64 << 20
"""Bytes; below that logs, databases and the journal stop each other within hours."""
_MEMORY = ("tmpfs", "ramfs")
_ELSEWHERE = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "vfat", "exfat")


class Mount(NamedTuple):
    """Where a directory lies: the device `number` is "major:minor", as /sys/dev/block names it."""

    point: str
    number: str
    kind: str
    options: tuple[str, ...]


def checks(case: Case) -> Iterator[Check]:
    """Yield what concerns the disk."""
    if case.settings is not None:
        directory = case.settings.appliance.state_dir
        yield Check("space for the journal", partial(space, case, directory, case.settings.journal.max_size))
        yield Check("file system of the journal", partial(file_system, case.machine, directory))
    yield Check("file system errors", partial(errors, case.machine))
    yield Check("swap", partial(swap, case.machine))


def space(case: Case, directory: Path, budget: int) -> Finding:
    """Tell whether the journal can grow to its budget, and whether there is space now."""
    try:
        here = _existing(case.machine.path(directory))
        free, used = _free(here), _used(case, directory)
    except PermissionError:
        return not_permitted(f"{directory}")
    found = f"{size(free)} free at {directory}; the journal has {size(used)} of at most {size(budget)}"
    if free < LITTLE:
        return failure(
            found,
            "the disk is nearly full: soon nothing is recorded, and nothing is acknowledged, until there is space",
            f"see what takes it (sudo du -xh --max-depth=2 / | sort -h | tail; journalctl --disk-usage), or move "
            f"[appliance] state_dir from {directory} to a larger disk",
        )
    if free < budget - used:
        return warning(
            found,
            "the disk is full before the journal's budget is used up",
            f"free {size(budget - used - free)}, or lower [journal] max_size below {size(free + used)}",
        )
    return ok(found)


def _existing(directory: Path) -> Path:
    """Return the directory, or the nearest one above it that exists."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return directory


def _free(directory: Path) -> int:
    """Return the bytes that one who is not root can still write."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def _used(case: Case, directory: Path) -> int:
    if case.status is not None:
        return int(case.status["journal"]["bytes"])
    return sum(file.stat().st_size for file in case.machine.files(directory, "*") if file.is_file())


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


def file_system(machine: Machine, directory: Path) -> Finding:
    """Tell whether what is written there survives a power cut."""
    mount = mount_of(machine, Path(os.path.realpath(directory)) if machine.root == Path("/") else directory)
    if mount is None:
        return not_applicable("this system does not say")
    found = f"{mount.kind} at {mount.point}"
    move = f"give {directory} a disk of its own in /etc/fstab, or change [appliance] state_dir"
    if "ro" in mount.options:
        cause = "it was mounted so, or the kernel made it so after an error"
        return failure(f"{found} is read-only", cause, f"sudo dmesg | tail; {move}")
    if mount.kind in _MEMORY:
        return failure(found, "it lies in memory: a power cut loses what was not delivered", move)
    if mount.kind == "overlay":
        return _overlay(machine, mount, found, move)
    if mount.kind in _ELSEWHERE:
        return warning(found, "not made for databases: power cuts, or two writers, damage the journal there", move)
    return ok(found)


def _overlay(machine: Machine, mount: Mount, found: str, move: str) -> Finding:
    """Tell where an overlay keeps what is written: a read-only root file system has it in memory."""
    upper = next((option.partition("=")[2] for option in mount.options if option.startswith("upperdir=")), None)
    below = mount_of(machine, Path(upper)) if upper else None
    if below is not None and below.kind in _MEMORY:
        return failure(f"{found}, in memory", "a power cut loses what was not delivered", move)
    if below is not None and below.kind != "overlay":
        return ok(f"{found}, kept on {below.kind} at {below.point}")
    return warning(found, "what is written to an overlay may lie in memory, and a power cut loses it then", move)


def errors(machine: Machine) -> Finding:
    """Tell whether ext4 has met errors, on any disk of this machine."""
    counts = {}
    for file in machine.files("/sys/fs/ext4", "*/errors_count"):
        counts[file.parent.name] = int(machine.text(f"/sys/fs/ext4/{file.parent.name}/errors_count") or "0")
    if not counts:
        return not_applicable("no ext4 file system")
    wrong = [f"{count} on {name}" for name, count in counts.items() if count]
    if wrong:
        return failure(
            ", ".join(wrong),
            "the disk or card returned what was not written to it, or power failed while it wrote",
            "sudo edge-energy backup FILE to another disk, then replace the card; `sudo touch /forcefsck` and reboot",
        )
    return ok(f"none on {', '.join(counts)}")


def swap(machine: Machine) -> Finding:
    """Tell whether memory is swapped to a card."""
    lines = (machine.text("/proc/swaps") or "").splitlines()[1:]
    on_disk = [line.split()[0] for line in lines if "zram" not in line.split()[0]]
    if not on_disk:
        return ok("none on a disk")
    if not machine.files("/sys/block", "mmcblk*"):
        return ok(f"{', '.join(on_disk)}, not on a memory card")
    cause = "swapping wears the card out, and makes the appliance slow when it matters"
    return warning(", ".join(on_disk), cause, "sudo dphys-swapfile swapoff && sudo systemctl disable dphys-swapfile")
