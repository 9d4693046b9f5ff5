"""Bodies of readings as they are stored: the number of a shape and the values, `7[61.1,229,true]`. No I/O.

The names of the values are the same in every message of a device and take more room than the values: kept once, in
the table `shapes`, they spare a third of all that is written to the card. Other bodies are stored as they are.
"""

from __future__ import annotations

from typing import Any

import orjson

Names = tuple[str, ...]

MOST = 10_000  # a house has a few dozen; a device that invents names must not fill memory and file


def split(body: str) -> tuple[Names, str]:
    """Return the names in a JSON object, and its values as a JSON array."""
    values: dict[str, Any] = orjson.loads(body)
    return tuple(values), orjson.dumps(list(values.values())).decode()


def encode_names(names: Names) -> str:
    """Return names as the table holds them."""
    return orjson.dumps(names).decode()


def decode_names(text: str) -> Names:
    """Return what `encode_names` was given."""
    return tuple(orjson.loads(text))


def number(stored: str) -> int | None:
    """Return the shape's number of a stored body, or None where the body is an object."""
    return None if stored.startswith("{") else int(stored[: stored.index("[")])


def join(names: Names, stored: str) -> dict[str, Any]:
    """Return the object again; where the names were lost in a damaged file, the values under makeshift ones."""
    values = orjson.loads(stored[stored.index("[") :])
    if len(names) != len(values):
        names = tuple(f"unknown_{index}" for index in range(len(values)))
    return dict(zip(names, values, strict=True))
