"""What every JSON payload has in common: size, shape, numbers, times. No I/O."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from edge_energy.errors import UnreadablePayload
from edge_energy.reading import FAHRENHEIT_ZERO, UNIT_FACTORS, is_switch, plausible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_energy.reading import Values

LARGEST = 2**20  # bytes
DEEPEST = 8
MOST_VALUES = 256
LONGEST_NAME = 128
_ON_OFF = {"ON": True, "OFF": False, "on": True, "off": False}
_WORDS = {"true": True, "on": True, "1": True, 1: True, "false": False, "off": False, "0": False, 0: False}
_EARLIEST = 1_577_836_800_000_000_000  # 2020-01-01; a device's clock before that was never set
_EXACT = 2.0**53  # above it not every whole number is a float
_DECIMALS = 6  # of a converted value; no meter is that exact
_EPOCHS = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3))  # ns per unit, by how large the number is
_FINER = re.compile(r"[.,][0-9]{6}([0-9]{1,3})")  # than a microsecond
_FUTURE = 300_000_000_000  # ns that a device's clock may be ahead of ours


def parse(payload: bytes) -> dict[str, Any]:
    """Return the JSON object of a payload, or raise `UnreadablePayload` with the reason."""
    if len(payload) > LARGEST:
        raise UnreadablePayload(f"larger than 1 MiB ({len(payload)} bytes)")
    try:
        decoded = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise UnreadablePayload(f"not JSON: {error}") from None
    if type(decoded) is not dict:
        raise UnreadablePayload(f"a JSON {type(decoded).__name__}, not an object")
    return decoded


def flatten(
    payload: dict[str, Any], separator: str = "_", prefix: str = "", depth: int = 1
) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested objects under names joined by the separator; lists are left out."""
    if depth > DEEPEST:
        raise UnreadablePayload(f"nests deeper than {DEEPEST} objects")
    for key, value in payload.items():
        if type(value) is dict:
            yield from flatten(value, separator, f"{prefix}{key}{separator}", depth + 1)
        elif type(value) is not list:
            yield prefix + key, value


def put(values: Values, name: str, value: object, factor: float = 1.0) -> bool:
    """Add a value under a quantity's name if it is one; tell whether it was implausible.

    Relay states become booleans, all other booleans and numbers floats, strings and nulls nothing. A factor of
    `UNIT_FACTORS["°F"]` is taken for degrees Fahrenheit.
    """
    kind = type(value)
    if is_switch(name):
        on = _ON_OFF.get(value) if kind is str else bool(value) if kind in (bool, int, float) else None  # type: ignore[call-overload]
        if on is not None:
            values[name] = on
        return False
    if kind is not float and kind is not int and kind is not bool:
        return False
    try:
        number = float(value)  # type: ignore[arg-type]
        if factor != 1.0:  # 12.35 kWh are 12350 Wh, not 12349.999999999998
            number = round(number * factor, _DECIMALS)
    except OverflowError:
        return True
    if factor == UNIT_FACTORS["°F"]:
        number += FAHRENHEIT_ZERO
    if not plausible(name, number):
        return True
    values[name] = number
    return False


def switch_state(value: object) -> bool | None:
    """Return the state of a relay as people write it: true, on or 1, false, off or 0; None for anything else."""
    if type(value) is str:
        return _WORDS.get(value.strip().lower())
    return _WORDS.get(value) if type(value) in (bool, int, float) else None


def check(values: Values, *, implausible: bool) -> Values:
    """Return the values of a message if it has any usable ones, else raise `UnreadablePayload`."""
    if not values:
        raise UnreadablePayload("every number is outside its physical range" if implausible else "no usable number")
    if len(values) > MOST_VALUES:
        raise UnreadablePayload(f"more than {MOST_VALUES} numbers")
    if any(len(name) > LONGEST_NAME for name in values):
        raise UnreadablePayload(f"a key longer than {LONGEST_NAME} characters")
    return values


def timestamp(value: object) -> int | None:
    """Return UTC nanoseconds of an ISO 8601 string or of an epoch in s, ms, µs or ns; None for anything else."""
    if type(value) is str:
        return _iso(value)
    if type(value) is int:
        for limit, factor in _EPOCHS:
            if value < limit:
                return value * factor
        return value
    if type(value) is float and 0 < value < math.inf:
        for limit, factor in _EPOCHS:
            if value < limit:
                return round(value * factor / 1000) * 1000
        return round(value)
    return None


def _iso(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    nanoseconds = round(moment.timestamp() * 1e6) * 1000
    # fromisoformat cuts what is finer than a microsecond off.
    if finer := _FINER.search(text):
        nanoseconds += int(finer[1].ljust(3, "0"))
    return nanoseconds


def believable(time: int, now: int) -> bool:
    """Tell whether a device's own time can be taken: it was ever set, and is not in the future of our clock."""
    return _EARLIEST <= time <= now + _FUTURE


def encode(values: Mapping[str, Any]) -> str:
    """Return the body of an entry: whole numbers without `.0`, a twentieth of what is written to the card.

    A string, because orjson's bytes hold 4 KiB of memory each, and thousands may be waiting.
    """
    compact = {
        name: int(value) if type(value) is float and value.is_integer() and abs(value) < _EXACT else value
        for name, value in values.items()
    }
    return orjson.dumps(compact).decode()
