"""What is written, and how long a card stands it."""

from __future__ import annotations

from pathlib import Path

from edge_energy.doctor import wear
from edge_energy.doctor.finding import Verdict
from tests.unit.doctor.tree import machine, process

DAY = 86_400
MOUNT = {"/proc/self/mountinfo": "22 1 179:2 / / rw - ext4 /dev/mmcblk0p2 rw\n"}


def card(root: Path, *, written: int = 0, gigabytes: float = 32, name: str = "mmcblk0", **more: str) -> None:
    """Make the files of a disk with a partition, on which everything lies."""
    block = root / "sys/devices/platform" / name
    files = {"size": str(int(gigabytes * 1e9) // 512), "stat": f"1 2 3 4 5 6 {written // 512} 8 9 10 11"}
    for key, text in (files | {f"device/{key}": text for key, text in more.items()}).items():
        (block / key).parent.mkdir(parents=True, exist_ok=True)
        (block / key).write_text(f"{text}\n")
    part = block / f"{name}p2"
    part.mkdir()
    (part / "partition").write_text("2\n")
    for link, target in ((root / "sys/dev/block/179:2", part), (root / f"sys/block/{name}", block)):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)


def test_bytes_a_day_of_each_program(tmp_path: Path) -> None:
    """Several processes of one program are summed; what began a moment ago is no rate."""
    here = machine(
        tmp_path,
        {"/proc/uptime": f"{2 * DAY}.5 100.0\n"}
        | process(10, "python3", "/opt/edge-energy/bin/python /usr/local/bin/edge-energy run", written=100 << 20)
        | process(11, "mosquitto", "/usr/sbin/mosquitto -c x", written=10 << 20, started=DAY)
        | process(12, "influxd", "/usr/bin/influxd", written=5 << 20, started=2 * DAY - 60)
        | process(13, "bash", "bash", written=1 << 30),
    )
    found = wear.writers(here)
    said = "the daemon 50.0 MiB, mosquitto 10.0 MiB, together 60.0 MiB, InfluxDB 5.0 MiB in its first 1 min"
    assert (found.verdict, found.found) == (Verdict.OK, said)


def test_the_life_of_a_card_is_an_estimate_that_says_so(tmp_path: Path) -> None:
    files = MOUNT | {"/proc/uptime": f"{10 * DAY} 1\n"}
    for name, rate, verdict, words in (
        ("calm", 0.3e9, Verdict.OK, "more than 20 years"),
        ("usual", 1e9, Verdict.OK, "some 6.6 years"),
        ("busy", 20e9, Verdict.WARNING, "some 0.3 years"),
    ):
        card(tmp_path / name, written=int(rate * 10))
        found = wear.life(machine(tmp_path / name, files), Path("/var/lib/edge-energy"))
        assert found.verdict is verdict
        assert words in found.found
        assert "assumed" in found.found


def test_what_emmc_tells_itself_goes_before_estimates(tmp_path: Path) -> None:
    for name, estimate, reserve, verdict in (
        ("new", "0x01 0x02", "0x01", Verdict.OK),
        ("old", "0x09 0x02", "0x01", Verdict.WARNING),
        ("little reserve", "0x03 0x02", "0x02", Verdict.WARNING),
        ("worn out", "0x0b 0x02", "0x01", Verdict.FAILURE),
    ):
        card(tmp_path / name, life_time=estimate, pre_eol_info=reserve)
        found = wear.life(machine(tmp_path / name, MOUNT | {"/proc/uptime": "60 1"}), Path("/var/lib"))
        assert found.verdict is verdict, name
    card(tmp_path / "tells nothing", life_time="0x00 0x00")
    quiet = machine(tmp_path / "tells nothing", MOUNT | {"/proc/uptime": "60 1"})
    assert wear.life(quiet, Path("/var/lib")).verdict is Verdict.NOT_APPLICABLE


def test_disks_that_are_no_cards_and_what_is_no_disk(tmp_path: Path) -> None:
    card(tmp_path / "ssd", name="nvme0n1")
    found = wear.life(machine(tmp_path / "ssd", MOUNT | {"/proc/uptime": "9999999 1"}), Path("/var/lib"))
    assert (found.verdict, "smartctl" in found.found) == (Verdict.NOT_APPLICABLE, True)
    nothing = wear.life(machine(tmp_path / "none", MOUNT), Path("/var/lib"))
    assert nothing.verdict is Verdict.NOT_APPLICABLE
