"""Checks of wear: what each program writes a day, what reaches the card, and how long a card stands that.

What a card stands is assumed, since makers of ordinary cards do not say. "High endurance" cards are sold for 10,000
hours of video at 26 Mbit/s on 128 GB (SanDisk): 117 TB, which is 900 times the capacity. An ordinary one is taken to
stand a third of that, and a byte of small, scattered writes to cost four inside the card. eMMC tells its wear itself
(JEDEC JESD84-B51: DEVICE_LIFE_TIME_EST, PRE_EOL_INFO).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edge_energy.doctor import processes
from edge_energy.doctor.finding import Check, Finding, failure, not_applicable, not_permitted, ok, warning
from edge_energy.doctor.mounts import mount_of, whole_disk
from edge_energy.reports.words import duration, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_energy.doctor.case import Case
    from edge_energy.doctor.machine import Machine

REWRITES = 300
AMPLIFICATION = 4
DAY = 86_400.0
SHORTEST = 600.0
"""Seconds of counting below which a day cannot be guessed."""
SOON = 3.0
"""Years of life below which a card is worth a warning."""
_SECTOR = 512
_WRITERS = (processes.DAEMON, processes.MOSQUITTO, processes.INFLUXDB, processes.ZIGBEE2MQTT, processes.LOG)
_REMEDY = (
    "see who writes above: raise [[mqtt]] commit_interval or mosquitto's autosave_interval, put InfluxDB on an SSD, "
    "keep the log in memory (Storage=volatile in journald.conf)"
)


class Disk(NamedTuple):
    """A whole disk: its directory in /sys/block, its size and what was written to it since boot, in bytes."""

    name: str
    bytes: int
    written: int


def checks(case: Case) -> Iterator[Check]:
    """Yield what concerns wear."""
    yield Check("bytes written a day", partial(writers, case.machine))
    directory = Path("/var/lib") if case.settings is None else case.settings.appliance.state_dir
    yield Check("life of the card", partial(life, case.machine, directory))


def writers(machine: Machine) -> Finding:
    """Tell what each program hands to disks in a day; of one that has just begun, what it has so far."""
    rates: dict[str, float] = {}
    beginnings: dict[str, str] = {}
    hidden = set()
    for process in processes.processes(machine):
        if process.program in _WRITERS:
            try:
                seconds, count = processes.age(machine, process.pid), processes.written(machine, process.pid)
            except PermissionError:
                hidden.add(process.program)
            except (LookupError, FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
            else:
                if seconds < SHORTEST:
                    beginnings[process.program] = f"{size(count)} in its first {duration(seconds)}"
                else:
                    rates[process.program] = rates.get(process.program, 0.0) + count / seconds * DAY
    if not rates and not beginnings:
        return not_permitted(", ".join(sorted(hidden))) if hidden else not_applicable("none of the programs is seen")
    parts = [f"{name} {size(rates[name])}" for name in _WRITERS if name in rates]
    parts += [f"together {size(sum(rates.values()))}"] if len(rates) > 1 else []
    parts += [f"{name} {said}" for name, said in beginnings.items()]
    return ok(", ".join(parts) + (f"; not permitted: {', '.join(sorted(hidden))}" if hidden else ""))


def life(machine: Machine, directory: Path) -> Finding:
    """Tell how worn the card is where it says so, else how long one would last at this rate."""
    disk = _disk_under(machine, directory)
    if disk is None:
        return not_applicable("no disk of its own is under the journal")
    worn = _worn(machine, disk.name)
    if worn is not None:
        return worn
    uptime = machine.uptime() or 0.0
    if not disk.name.startswith("mmcblk"):
        return not_applicable(f"{disk.name} is no memory card: `sudo smartctl -a /dev/{disk.name}` tells its wear")
    if uptime < SHORTEST:
        return not_applicable(f"counted for {duration(uptime)} only: ask again later")
    rate = disk.written / uptime * DAY
    years = disk.bytes * REWRITES / AMPLIFICATION / max(rate, 1.0) / 365
    found = (
        f"{size(rate)} a day reach {disk.name} of {size(disk.bytes)}: {_years(years)} if it stands "
        f"{REWRITES} rewrites and small writes cost {AMPLIFICATION} times their size (assumed: cards do not tell)"
    )
    return warning(found, "at this rate the card is worn out soon", _REMEDY) if years < SOON else ok(found)


def _years(years: float) -> str:
    return "more than 20 years" if years > 20 else f"some {years:.1f} years"


def _worn(machine: Machine, name: str) -> Finding | None:
    """Return what an eMMC tells of its wear; None for what tells nothing."""
    estimate = machine.text(f"/sys/block/{name}/device/life_time")
    reserve = machine.text(f"/sys/block/{name}/device/pre_eol_info")
    if not estimate or not any(levels := [int(text, 16) for text in estimate.split()]):
        return None
    worst = max(levels)  # in tenths of its life; 0x0B: more than that
    found = f"{name} says that {(worst - 1) * 10} to {worst * 10} % of its life are used"
    if worst > 10 or reserve in ("0x03", "0x3"):
        return failure(found, "it is worn out", "sudo edge-energy backup FILE to another disk, and replace it")
    if worst > 8 or reserve in ("0x02", "0x2"):
        return warning(found, "it is nearly worn out", f"plan to replace it; {_REMEDY}")
    return ok(found)


def _disk_under(machine: Machine, directory: Path) -> Disk | None:
    """Return the disk that a directory lies on; None where that is no block device (overlay, memory, network)."""
    mount = mount_of(machine, directory)
    whole = None if mount is None else whole_disk(machine, mount.number)
    if whole is None:
        return None
    sectors = (whole / "size").read_text()
    written = (whole / "stat").read_text().split()[6]
    return Disk(whole.name, int(sectors) * _SECTOR, int(written) * _SECTOR)
