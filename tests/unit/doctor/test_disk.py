"""Space, file system, errors, swap."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_energy.doctor import disk
from edge_energy.doctor.finding import Verdict
from tests.unit.doctor.tree import case, machine

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


def test_swap_matters_on_a_card_only(tmp_path: Path) -> None:
    head = "Filename Type Size Used Priority\n"
    on_file = {"/proc/swaps": f"{head}/var/swap file 102396 0 -2\n"}
    compressed = {"/proc/swaps": f"{head}/dev/zram0 partition 1024 0 100\n"}
    card = {"/sys/block/mmcblk0/size": "1"}
    assert disk.swap(machine(tmp_path / "a", on_file | card)).verdict is Verdict.WARNING
    assert disk.swap(machine(tmp_path / "b", on_file)).verdict is Verdict.OK
    assert disk.swap(machine(tmp_path / "c", compressed | card)).verdict is Verdict.OK


def test_space_is_measured_against_the_journals_budget(tmp_path: Path) -> None:
    """What the journal has already counts as its own."""
    here = machine(tmp_path, {"/var/lib/edge-energy/journal.db": "x" * 1000})
    known = case(here)
    directory = Path("/var/lib/edge-energy")
    assert disk.space(known, directory, 1 << 20).verdict is Verdict.OK
    found = disk.space(known, directory, 1 << 60)
    assert found.verdict is Verdict.WARNING
    assert "1000 B of at most" in found.found
    assert "[journal] max_size" in found.remedy


def test_a_state_directory_that_is_not_there_yet_is_measured_above_it(tmp_path: Path) -> None:
    known = case(machine(tmp_path))
    assert disk.space(known, Path("/var/lib/edge-energy"), 1 << 20).verdict is Verdict.OK
