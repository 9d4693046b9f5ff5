"""Power supply, throttling and temperature of a Raspberry Pi."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.doctor import board
from edge_energy.doctor.finding import Verdict
from tests.unit.doctor.tree import as_nobody, machine

if TYPE_CHECKING:
    from pathlib import Path

PI = {"/proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.5\0"}
FIRMWARE = "/sys/devices/platform/soc/soc:firmware/get_throttled"


def test_another_machine_has_no_such_bits(tmp_path: Path) -> None:
    for look in (board.power, board.throttling, board.temperature):
        assert look(machine(tmp_path)).verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("bits", "power", "throttling"),
    [
        ("0", Verdict.OK, Verdict.OK),
        ("50005", Verdict.FAILURE, Verdict.WARNING),
        ("50000", Verdict.WARNING, Verdict.WARNING),
        ("80008", Verdict.OK, Verdict.WARNING),
    ],
)
def test_the_firmwares_bits(tmp_path: Path, bits: str, power: Verdict, throttling: Verdict) -> None:
    """Either way to read them says the same."""
    for here in (
        machine(tmp_path / "sysfs", PI | {FIRMWARE: f"{bits}\n"}),
        machine(tmp_path / "vcgencmd", PI, {"vcgencmd get_throttled": f"throttled=0x{bits}\n"}),
    ):
        assert board.power(here).verdict is power
        assert board.throttling(here).verdict is throttling


@given(st.integers(0, 0xFFFFF))
def test_every_combination_of_bits_has_a_verdict(bits: int) -> None:
    """Under-voltage now fails, whatever else there is."""
    from pathlib import Path  # noqa: PLC0415
    from tempfile import TemporaryDirectory  # noqa: PLC0415

    with TemporaryDirectory() as directory:
        here = machine(Path(directory), PI | {FIRMWARE: f"{bits:x}"})
        assert (board.power(here).verdict is Verdict.FAILURE) is bool(bits & 1)
        assert board.throttling(here).verdict in (Verdict.OK, Verdict.WARNING)


def test_the_drivers_alarm_where_the_firmware_is_not_asked(tmp_path: Path) -> None:
    volt = "/sys/class/hwmon/hwmon1/"
    alarmed = machine(tmp_path / "a", PI | {volt + "name": "rpi_volt\n", volt + "in0_lcrit_alarm": "1\n"})
    calm = machine(tmp_path / "b", PI | {volt + "name": "rpi_volt\n", volt + "in0_lcrit_alarm": "0\n"})
    other = machine(tmp_path / "c", PI | {volt + "name": "nvme\n"})
    verdicts = [board.power(each).verdict for each in (alarmed, calm, other)]
    assert verdicts == [Verdict.FAILURE, Verdict.OK, Verdict.NOT_APPLICABLE]


def test_who_may_not_ask_the_firmware_is_told_so(tmp_path: Path) -> None:
    """It is not the kernel that keeps silent."""
    from pathlib import Path  # noqa: PLC0415
    from tempfile import TemporaryDirectory  # noqa: PLC0415

    silent = machine(tmp_path, PI)
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)  # everybody may enter it, unlike pytest's own
        here = machine(Path(directory), PI | {"/dev/vcio": ""})
        here.path("/dev/vcio").chmod(0)
        with as_nobody():
            forbidden = [look(here).verdict for look in (board.power, board.throttling)]
    assert forbidden == [Verdict.NOT_PERMITTED] * 2
    assert [look(silent).verdict for look in (board.power, board.throttling)] == [Verdict.NOT_APPLICABLE] * 2


def test_temperature(tmp_path: Path) -> None:
    zone = "/sys/class/thermal/thermal_zone0/"
    for number, (millidegrees, verdict) in enumerate(
        [(48_312, Verdict.OK), (76_000, Verdict.WARNING), (84_900, Verdict.FAILURE)]
    ):
        here = machine(tmp_path / str(number), {zone + "type": "cpu-thermal", zone + "temp": f"{millidegrees}\n"})
        found = board.temperature(here)
        assert found.verdict is verdict
        assert found.found == f"{millidegrees / 1000:.0f} °C"
