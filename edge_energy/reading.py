"""Readings, and the quantities and units they are made of. No I/O."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

Values = dict[str, float | bool]
"""Values of one device at one instant, by quantity: floats, and booleans for `output…` only."""


class Reading(NamedTuple):
    """Values of one device at one instant.

    `time` is UTC in nanoseconds since 1970, or None while nobody knows the date. Units are those of
    `QUANTITIES`, whatever the device's own were: the source has converted.
    """

    device: str
    time: int | None
    values: Values


class Quantity(NamedTuple):
    """A quantity with its unit and the range outside which a value is a defect, not a measurement."""

    unit: str
    low: float
    high: float


# The ranges are generous: a house connection is 36 kVA at most, a counter of 10 GWh would be a power station's.
# They catch what firmware really sends: unsigned wraps (429496420 W), 2211 V from a wrong scale, -127 degrees.
QUANTITIES = {
    "power": Quantity("W", -1e6, 1e6),
    "voltage": Quantity("V", -1e3, 1e3),
    "current": Quantity("A", -5e3, 5e3),
    "energy": Quantity("Wh", 0, 1e10),
    "energy_returned": Quantity("Wh", 0, 1e10),
    "energy_increment": Quantity("Wh", 0, 1e10),  # a false one would stay in the counter for ever
    "energy_returned_increment": Quantity("Wh", 0, 1e10),
    "frequency": Quantity("Hz", 0, 1e3),
    "power_factor": Quantity("1", -1, 1),
    "temperature": Quantity("°C", -100, 1e3),
    "humidity": Quantity("%", 0, 100),
    "battery": Quantity("%", 0, 100),
}

# What a declared unit is multiplied with to become ours; Fahrenheit alone needs an offset as well.
UNIT_FACTORS = {
    "kW": 1e3,
    "mW": 1e-3,
    "kV": 1e3,
    "mV": 1e-3,
    "mA": 1e-3,
    "kWh": 1e3,
    "MWh": 1e6,
    "mWh": 1e-3,
    "Wmin": 1 / 60,
    "°F": 5 / 9,
}
FAHRENHEIT_ZERO = -32 * 5 / 9

INCREMENTS = {"energy_increment": "energy", "energy_returned_increment": "energy_returned"}
"""Under which names increments stand until they are summed, and into which counters."""
INCREMENT_OF = {counter: name for name, counter in INCREMENTS.items()}

_PART = re.compile(r"_(?:[abcn]|[0-9]{1,3})")  # of a phase or a channel: power_a, power_1


def base(name: str) -> str:
    """Return the quantity of a value that belongs to a phase or a channel: `power` for `power_a` and `power_1`."""
    head, line, tail = name.rpartition("_")
    return head if line and _PART.fullmatch(f"_{tail}") and head in QUANTITIES else name


def is_counter(name: str) -> bool:
    """Tell whether a quantity is a lifetime counter of energy."""
    return base(name) in ("energy", "energy_returned")


def is_switch(name: str) -> bool:
    """Tell whether a quantity is the state of a relay, the only kind that is a boolean."""
    return name == "output" or name.startswith("output_")


def plausible(name: str, value: float) -> bool:
    """Tell whether a value can be a measurement: finite, and inside the range of its quantity if it has one.

    The quantity of a phase (`power_a`) or a channel (`power_1`) has the range of the quantity itself.
    """
    if not math.isfinite(value):
        return False
    quantity = QUANTITIES.get(name) or QUANTITIES.get(base(name))
    return quantity is None or quantity.low <= value <= quantity.high
