"""Checks of the Raspberry Pi's board: power supply, throttling, temperature.

Source of the bits: the documentation of vcgencmd get_throttled.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge_energy.doctor.finding import Check, Finding, failure, not_applicable, not_permitted, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_energy.doctor.case import Case
    from edge_energy.doctor.machine import Machine

_FIRMWARE = "/sys/devices/platform/soc/soc:firmware/get_throttled"
_MAILBOX = "/dev/vcio"
"""By it vcgencmd asks the firmware; it is for root and the group video."""
_NOW, _SINCE_BOOT = 0, 16  # the first bit of either set
_UNDER_VOLTAGE, _CAPPED, _THROTTLED, _TOO_HOT = range(4)
_WARM, _HOT = 75.0, 82.0
"""°C; the firmware slows down from 80 on, hard at 85."""


def checks(case: Case) -> Iterator[Check]:
    """Yield what concerns the board."""
    yield Check("power supply", partial(power, case.machine))
    yield Check("throttling", partial(throttling, case.machine))
    yield Check("temperature", partial(temperature, case.machine))


def power(machine: Machine) -> Finding:
    """Tell whether the supply has kept its voltage since boot."""
    if machine.raspberry_pi is None:
        return not_applicable("not a Raspberry Pi")
    cause = "the supply or its cable is too weak: writes to the card can be damaged, and the dongle resets"
    remedy = "use the official power supply with its own cable, and a powered hub for USB disks"
    bits = _throttled(machine)
    if bits is None:
        alarms = [machine.text(file) for file in _voltage_alarms(machine)]
        if not alarms:
            return _untold(machine)
        return failure("under-voltage", cause, remedy) if "1" in alarms else ok("no under-voltage")
    if _has(bits, _UNDER_VOLTAGE, _NOW):
        return failure(f"under-voltage now ({bits:#x})", cause, remedy)
    if _has(bits, _UNDER_VOLTAGE, _SINCE_BOOT):
        return warning(f"there was under-voltage since boot ({bits:#x})", cause, remedy)
    return ok("no under-voltage since boot")


def throttling(machine: Machine) -> Finding:
    """Tell whether the processor was slowed down."""
    if machine.raspberry_pi is None:
        return not_applicable("not a Raspberry Pi")
    bits = _throttled(machine)
    if bits is None:
        return _untold(machine)
    words = {_CAPPED: "frequency capped", _THROTTLED: "throttled", _TOO_HOT: "at its temperature limit"}
    now = [word for bit, word in words.items() if _has(bits, bit, _NOW)]
    since = [word for bit, word in words.items() if _has(bits, bit, _SINCE_BOOT)]
    remedy = "look at power supply and temperature above; give it air or a heat sink"
    if now or since:
        found = f"now: {', '.join(now)}" if now else f"since boot: {', '.join(since)}"
        return warning(f"{found} ({bits:#x})", "too hot, or the power supply too weak", remedy)
    return ok("none since boot")


def _has(bits: int, bit: int, first: int) -> bool:
    return bool(bits >> (first + bit) & 1)


def _throttled(machine: Machine) -> int | None:
    """Return the firmware's bits, by whichever way this system has; None where it has none."""
    text = machine.text(_FIRMWARE)
    if text is None:
        text = (machine.run("vcgencmd", "get_throttled") or "").partition("=")[2].strip()
    return int(text, 16) if text else None


def _untold(machine: Machine) -> Finding:
    """Return why the firmware's bits are not known."""
    try:
        machine.path(_MAILBOX).open("rb").close()
    except PermissionError:
        return not_permitted(f"{_MAILBOX} may not be used")
    except OSError:
        pass
    return not_applicable("this kernel does not tell")


def _voltage_alarms(machine: Machine) -> list[str]:
    """Return the alarm files of the driver rpi_volt."""
    found = []
    for name in machine.files("/sys/class/hwmon", "hwmon*/name"):
        here = f"/sys/class/hwmon/{name.parent.name}"
        if machine.text(f"{here}/name") == "rpi_volt":
            found.append(f"{here}/in0_lcrit_alarm")
    return found


def temperature(machine: Machine) -> Finding:
    """Tell how hot the processor is."""
    for zone in machine.files("/sys/class/thermal", "thermal_zone*"):
        here = f"/sys/class/thermal/{zone.name}"
        if "cpu" in (machine.text(f"{here}/type") or ""):
            return _temperature(int(machine.text(f"{here}/temp") or "0") / 1000)
    return not_applicable("this system does not tell")


def _temperature(celsius: float) -> Finding:
    found = f"{celsius:.0f} °C"
    cause, remedy = "the board slows down at 80 °C, and ages quickly above", "give it air, a heat sink or a fan"
    if celsius >= _HOT:
        return failure(found, cause, remedy)
    return warning(found, cause, remedy) if celsius >= _WARM else ok(found)
