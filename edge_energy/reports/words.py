"""Words of the reports: numbers with units, times, columns. No I/O."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edge_energy.reading import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN = (
    "output",
    "power",
    "voltage",
    "current",
    "energy",
    "energy_returned",
    "temperature",
    "humidity",
    "battery",
)


def as_json(report: Any) -> str:
    """Return a report for programs."""
    return json.dumps(report, indent=2, ensure_ascii=False)


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows in columns of equal width, the last as it is."""
    widths = [max(len(cell) for cell in column) for column in list(zip(*rows, strict=True))[:-1]]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    )


def values(found: dict[str, Any]) -> str:
    """Return values with their units, the usual quantities first."""
    names = [name for name in SHOWN if name in found]
    if not names:
        return f"{len(found)} other values" if found else "nothing yet"
    return "  ".join(value(name, found[name]) for name in names)


def value(name: str, number: Any) -> str:
    """Return one value with its unit."""
    if isinstance(number, bool):
        return "ON" if number else "OFF"
    if name in ("energy", "energy_returned"):
        return f"{number / 1000:.2f} kWh" + (" returned" if name == "energy_returned" else "")
    return f"{number:.4g} {QUANTITIES[name].unit}"


def moment(nanoseconds: int | None) -> str:
    """Return a local time, to the second."""
    if nanoseconds is None:
        return "never"
    return f"{datetime.fromtimestamp(nanoseconds / 1e9, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def duration(seconds: float) -> str:
    """Return a duration in the two largest units that matter."""
    whole = int(seconds)
    for unit, length, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= length:
            rest = whole % length // part
            return f"{whole // length} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def connection(part: dict[str, Any]) -> str:
    """Return whether a component's peer answers, or since when it does not, and why."""
    if part["connected"]:
        return "connected"
    if part["unavailable_seconds"] is not None:
        return f"NOT CONNECTED for {duration(part['unavailable_seconds'])}: {part['last_error']}"
    return "connecting"


def size(count: float) -> str:
    """Return a size in binary units."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def printable(text: str) -> str:
    """Return lines without what a terminal would obey: names and reasons come from strangers' devices."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in text)
