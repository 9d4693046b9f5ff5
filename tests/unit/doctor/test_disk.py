"""Space, file system, errors, swap."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_energy.doctor import disk
from edge_energy.doctor.finding import Verdict
from tests.unit.doctor.tree import case, machine

if TYPE_CHECKING:
    from edge_energy.doctor.finding import Finding

MOUNTS = """\
22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw
23 22 0:24 / /run rw,nosuid - tmpfs tmpfs rw,size=800M
24 22 179:2 / /var/lib/my\\040disk rw - ext4 /dev/sda1 rw
25 22 0:30 / /mnt/nas rw - nfs4 nas:/x rw
26 22 8:17 / /mnt/broken rw - ext4 /dev/sdb1 ro,errors=remount-ro
27 22 0:40 / /overlaid rw - overlay overlay rw,lowerdir=/,upperdir=/run/upper,workdir=/run/work
28 22 0:41 / /kept rw - overlay overlay rw,upperdir=/var/upper
29 22 0:42 / /unclear rw - overlay overlay rw
"""


@pytest.mark.parametrize(
    ("directory", "verdict", "words"),
    [
        ("/var/lib/edge-energy", Verdict.OK, "ext4 at /"),
        ("/var/lib/my disk/state", Verdict.OK, "ext4 at /var/lib/my disk"),
        ("/run/edge-energy", Verdict.FAILURE, "tmpfs"),
        ("/mnt/nas/state", Verdict.WARNING, "nfs4"),
        ("/mnt/broken/state", Verdict.FAILURE, "read-only"),
        ("/overlaid/state", Verdict.FAILURE, "in memory"),
        ("/kept/state", Verdict.OK, "ext4"),
        ("/unclear/state", Verdict.WARNING, "overlay"),
        ("/running", Verdict.OK, "ext4 at /"),
    ],
)
def test_what_survives_a_power_cut(tmp_path: Path, directory: str, verdict: Verdict, words: str) -> None:
    """A directory is on the longest mount above it, by whole names."""
    found = disk.file_system(machine(tmp_path, {"/proc/self/mountinfo": MOUNTS}), Path(directory))
    assert found.verdict is verdict
    assert words in found.found


def test_errors_of_ext4_are_a_failure(tmp_path: Path) -> None:
    assert disk.errors(machine(tmp_path)).verdict is Verdict.NOT_APPLICABLE
    count = "/sys/fs/ext4/mmcblk0p2/errors_count"
    assert disk.errors(machine(tmp_path, {count: "0\n"})).verdict is Verdict.OK
    found = disk.errors(machine(tmp_path, {count: "3\n"}))
    assert (found.verdict, found.found) == (Verdict.FAILURE, "3 on mmcblk0p2")
    assert "backup" in found.remedy


def test_a_check_of_the_disk_is_asked_for_where_this_system_reads_it(tmp_path: Path) -> None:
    """Nothing of today looks at a file /forcefsck."""
    count = {"/sys/fs/ext4/sda1/errors_count": "3\n"}
    pi = {"/proc/device-tree/model": "Raspberry Pi 5 Model B"}
    found = [disk.errors(machine(tmp_path / name, count | more)).remedy for name, more in (("pi", pi), ("pc", {}))]
    assert all("fsck.mode=force" in remedy for remedy in found)
    assert ["/boot/firmware/cmdline.txt" in remedy for remedy in found] == [True, False]


def swapping(root: Path, name: str, *, disk_of_root: str = "", **tools: str) -> Finding:
    """Return what is said of swap on a device or in a file, on a machine that has a card, too."""
    files = {
        "/proc/swaps": f"Filename Type Size Used Priority\n{name} x 102396 0 -2\n",
        "/sys/block/mmcblk0/size": "1",
    }
    here = machine(root, files | {"/proc/self/mountinfo": MOUNTS} | tools)
    if disk_of_root:
        part = root / "sys/devices" / disk_of_root / "partition2"
        part.mkdir(parents=True)
        (part / "partition").touch()
        (root / "sys/dev/block").mkdir(parents=True)
        (root / "sys/dev/block/179:2").symlink_to(part)
    return disk.swap(here)


@pytest.mark.parametrize(
    ("name", "disk_of_root", "verdict"),
    [
        ("/dev/mmcblk0p3", "", Verdict.WARNING),
        ("/var/swap", "mmcblk0", Verdict.WARNING),
        ("/var/swap", "nvme0n1", Verdict.OK),
        ("/dev/sda2", "mmcblk0", Verdict.OK),
        ("/dev/zram0", "mmcblk0", Verdict.OK),
    ],
)
def test_swap_matters_on_a_card_only(tmp_path: Path, name: str, disk_of_root: str, verdict: Verdict) -> None:
    """The device that holds it counts, not that there is a card."""
    assert swapping(tmp_path, name, disk_of_root=disk_of_root).verdict is verdict


def test_swap_is_switched_off_by_what_switches_it_on(tmp_path: Path) -> None:
    for number, (files, command) in enumerate(
        [
            ({"/etc/rpi/swap.conf": "", "/etc/dphys-swapfile": ""}, "Mechanism=zram"),
            ({"/etc/dphys-swapfile": ""}, "dphys-swapfile swapoff"),
            ({}, "sudo swapoff /dev/mmcblk0p3"),
        ]
    ):
        assert command in swapping(tmp_path / str(number), "/dev/mmcblk0p3", **files).remedy


STATE = Path("/var/lib/edge-energy")


def test_space_is_measured_against_the_journals_budget(tmp_path: Path) -> None:
    """What the journal has already counts as its own; what else is there does not."""
    names = ("journal.db", "journal.db-wal", "lock", "replaced-1/journal.db", "backups/x.tar.gz")
    here = machine(tmp_path, {f"/var/lib/edge-energy/{name}": "x" * 1000 for name in names})
    assert disk.space(here, STATE, 1 << 20).verdict is Verdict.OK
    found = disk.space(here, STATE, 1 << 60)
    assert found.verdict is Verdict.WARNING
    assert "2.0 KiB of at most" in found.found
    assert "[journal] max_size" in found.remedy
    assert "replaced" not in found.remedy


def test_free_pages_of_the_journal_need_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file never shrinks: one that has its budget grows no more, however little of it is in use."""
    here = machine(tmp_path, {"/var/lib/edge-energy/journal.db": ""})
    os.truncate(here.path(STATE / "journal.db"), 1 << 30)
    monkeypatch.setattr(disk, "_free", lambda _: 500 << 20)
    status = {"journal": {"bytes": 50 << 20}}
    (look,) = [each.look for each in disk.checks(case(here, status=status)) if each.name == "space for the journal"]
    assert look().verdict is Verdict.OK


def test_what_restores_have_replaced_is_named_where_space_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machine(tmp_path, {"/var/lib/edge-energy/replaced-1/journal.db": ""})
    os.truncate(here.path(STATE / "replaced-1/journal.db"), 200 << 20)
    for free, verdict in ((100 << 20, Verdict.WARNING), (1 << 20, Verdict.FAILURE)):
        monkeypatch.setattr(disk, "_free", lambda _, free=free: free)
        found = disk.space(here, STATE, 1 << 30)
        assert found.verdict is verdict
        assert found.remedy.startswith("sudo rm -r /var/lib/edge-energy/replaced-1 (200.0 MiB")


def test_a_state_directory_that_is_not_there_yet_is_measured_above_it(tmp_path: Path) -> None:
    assert disk.space(machine(tmp_path), STATE, 1 << 20).verdict is Verdict.OK


def test_a_log_without_a_limit(tmp_path: Path) -> None:
    """What it takes is the sum of its files."""
    assert disk.system_log(machine(tmp_path)).verdict is Verdict.NOT_APPLICABLE
    here = machine(
        tmp_path, {"/var/log/journal/abc/system.journal": "", "/var/log/journal/abc/user-1@1.journal~": ""}
    )
    assert disk.system_log(here).verdict is Verdict.OK
    for file in here.files("/var/log/journal/abc", "*"):
        os.truncate(file, 300 << 20)
    found = disk.system_log(here)
    assert (found.verdict, found.found) == (Verdict.WARNING, "600.0 MiB")
    assert "SystemMaxUse=100M" in found.remedy
