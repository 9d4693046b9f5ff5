"""Checks of the disk under the journal: space, what kind of file system, errors, swap, the system's log."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_energy.doctor.finding import Check, Finding, failure, not_applicable, not_permitted, ok, warning
from edge_energy.doctor.mounts import Mount, mount_of, whole_disk
from edge_energy.journal.files import wal_of
from edge_energy.journal.journal import FILE_NAME
from edge_energy.reports.words import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_energy.doctor.case import Case
    from edge_energy.doctor.machine import Machine

LITTLE = 64 << 20
"""Bytes; below that logs, databases and the journal stop each other within hours."""
MUCH_LOG = 500 << 20
"""Bytes of the system's log; an appliance's may have a fifth of that."""
_LOG = "/var/log/journal"
_LOG_LIMIT = "/etc/systemd/journald.conf.d/10-edge-energy.conf"
_MEMORY = ("tmpfs", "ramfs")
_ELSEWHERE = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "vfat", "exfat")


def checks(case: Case) -> Iterator[Check]:
    """Yield what concerns the disk."""
    if case.settings is not None:
        directory = case.settings.appliance.state_dir
        yield Check("space for the journal", partial(space, case.machine, directory, case.settings.journal.max_size))
        yield Check("file system of the journal", partial(file_system, case.machine, directory))
    yield Check("file system errors", partial(errors, case.machine))
    yield Check("swap", partial(swap, case.machine))
    yield Check("log of the system", partial(system_log, case.machine))


def space(machine: Machine, directory: Path, budget: int) -> Finding:
    """Tell whether the journal can grow to its budget, and whether there is space now."""
    try:
        here = _existing(machine.path(directory))
        free, used = _free(here), _used(machine, directory)
        aside = _put_aside(machine, directory)
    except PermissionError:
        return not_permitted(f"{directory}")
    found = f"{size(free)} free at {directory}; the journal has {size(used)} of at most {size(budget)}"
    if free < LITTLE:
        return failure(
            found,
            "the disk is nearly full: soon nothing is recorded, and nothing is acknowledged, until there is space",
            f"{aside}see what takes it (sudo du -xh --max-depth=2 / | sort -h | tail; journalctl --disk-usage), or "
            f"move [appliance] state_dir from {directory} to a larger disk",
        )
    if free < budget - used:
        return warning(
            found,
            "the disk is full before the journal's budget is used up",
            f"{aside}free {size(budget - used - free)}, or lower [journal] max_size below {size(free + used)}",
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


def _used(machine: Machine, directory: Path) -> int:
    """Return the bytes of the journal's files, which it fills again when rows are trimmed: they never shrink."""
    journal = machine.path(directory / FILE_NAME)
    return _bytes_of(journal, wal_of(journal))


def _bytes_of(*files: Path) -> int:
    count = 0
    for file in files:
        with suppress(FileNotFoundError):
            count += file.lstat().st_size
    return count


def _put_aside(machine: Machine, directory: Path) -> str:
    """Return, as the beginning of a remedy, how to delete what restores have replaced, where that is worth it."""
    places = machine.files(directory, "replaced-*")
    count = _bytes_of(*(file for place in places for file in place.rglob("*")))
    names = " ".join(str(directory / place.name) for place in places)
    return f"sudo rm -r {names} ({size(count)} that restores have replaced); " if count >= LITTLE else ""


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
        line = "the line in /boot/firmware/cmdline.txt" if machine.raspberry_pi else "the kernel's command line"
        return failure(
            ", ".join(wrong),
            "the disk or card returned what was not written to it, or power failed while it wrote",
            "sudo edge-energy backup FILE to another disk, then replace the card; to have it checked and repaired, "
            f"reboot once with fsck.mode=force at the end of {line}",
        )
    return ok(f"none on {', '.join(counts)}")


def swap(machine: Machine) -> Finding:
    """Tell whether memory is swapped to a card; what is compressed in memory (zram) is on no disk."""
    names = [line.split()[0] for line in (machine.text("/proc/swaps") or "").splitlines()[1:]]
    on_disk = [name for name in names if not name.startswith("/dev/zram")]
    if not on_disk:
        return ok("none on a disk")
    on_card = [name for name in on_disk if _device_of(machine, name).startswith("mmcblk")]
    if not on_card:
        return ok(f"{', '.join(on_disk)}, not on a memory card")
    cause = "swapping wears the card out, and makes the appliance slow when it matters"
    return warning(", ".join(on_card), cause, _without_swap(machine, " ".join(on_card)))


def _device_of(machine: Machine, swap: str) -> str:
    """Return the name of the device that a partition or a file of swap is on."""
    if swap.startswith("/dev/"):
        return Path(swap).name
    mount = mount_of(machine, Path(swap))
    disk = None if mount is None else whole_disk(machine, mount.number)
    return "" if disk is None else disk.name


def _without_swap(machine: Machine, names: str) -> str:
    if machine.path("/etc/rpi/swap.conf").exists():  # Raspberry Pi OS, from trixie on
        return "Mechanism=zram below [Main] in /etc/rpi/swap.conf, then sudo reboot"
    if machine.path("/etc/dphys-swapfile").exists():  # before
        return "sudo dphys-swapfile swapoff && sudo systemctl disable dphys-swapfile"
    return f"sudo swapoff {names}, and remove it from /etc/fstab"


def system_log(machine: Machine) -> Finding:
    """Tell how much systemd's log takes of the disk, as `journalctl --disk-usage` tells root."""
    files = machine.files(_LOG, "*/*.journal*")
    if not files:
        return not_applicable("systemd keeps none on a disk")
    count = _bytes_of(*files)
    if count > MUCH_LOG:
        cause = "without a limit it grows to a tenth of the disk, or 4 GB"
        remedy = f"SystemMaxUse=100M below [Journal] in {_LOG_LIMIT} (install.sh puts it there)"
        restart = "sudo systemctl restart systemd-journald; sudo journalctl --vacuum-size=100M"
        return warning(size(count), cause, f"{remedy}; {restart}")
    return ok(size(count))
