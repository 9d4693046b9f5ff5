"""What devices and scripts send to /webhook: parameters of a query, of a form or of a JSON object. No I/O."""

from __future__ import annotations

import json
import math
import re
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from edge_energy.config.values import DEVICE_ID, QUANTITY
from edge_energy.devices import payload as json_payload
from edge_energy.devices import shelly_rpc
from edge_energy.errors import EdgeEnergyError, UnreadablePayload
from edge_energy.reading import (
    INCREMENT_OF,
    INCREMENTS,
    QUANTITIES,
    UNIT_FACTORS,
    Reading,
    base,
    is_switch,
    plausible,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_energy.config import Sender
    from edge_energy.reading import Values

MOST_PARAMETERS = 64
NO_VALUES = {"device", "timestamp", "time", "token", *INCREMENTS}
"""Names that are never recorded: what a request says beside its values, and what only sums may be made of."""

_LONGEST_NUMBER = 64
_LONGEST_SHOWN = 40
_DECIMALS = 6  # of a converted value, as in payload.put
_INCLUDED = re.compile(r"ret_aenergy(_[0-9]{1,2})?")
"""As Shelly calls its counter of returned energy, which its `aenergy` includes: adoption's webhooks send both."""
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
_EPOCH = re.compile(r"([0-9]{1,20})(\.[0-9]{1,9})?")
_SPACED_OFFSET = re.compile(r"(:[0-9]{2}(?:[.,][0-9]+)?) ([0-9]{2}:?[0-9]{2})")


class BadValue(EdgeEnergyError):  # noqa: N818 - what the sender did, not what failed here
    """A parameter that cannot be taken, and why; the sender must change something."""

    def __init__(self, parameter: str | None, reason: str) -> None:
        super().__init__(reason)
        self.parameter = parameter
        self.reason = reason


def form_pairs(text: str) -> list[tuple[str, object]]:
    """Return the parameters of a query or of a form, empty ones too. Raises `BadValue` where they are too many."""
    try:
        return [*parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)]
    except ValueError:
        raise BadValue(None, f"more than {MOST_PARAMETERS} parameters") from None


def json_pairs(body: bytes) -> list[tuple[str, object]]:
    """Return the parameters of a JSON object, nested ones as `outer_inner`. Raises `UnreadablePayload`."""
    try:
        decoded = json_payload.parse(body)
    except UnreadablePayload as error:
        decoded = _with_constants(body, error)
    # Lists are no values, but a quantity that is one must not be passed over.
    return [
        *json_payload.flatten(decoded),
        *((name, value) for name, value in decoded.items() if type(value) is list),
    ]


def _with_constants(body: bytes, error: UnreadablePayload) -> dict[str, Any]:
    """Return what is JSON but for a NaN or an infinity, so that the answer can name the parameter."""
    if len(body) <= json_payload.LARGEST and (b"NaN" in body or b"Infinity" in body or "infinity" in str(error)):
        try:
            decoded = json.loads(body, parse_constant=str)
        except (ValueError, RecursionError):
            raise error from None
        if type(decoded) is dict:
            return decoded
    raise error


def parameters(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    """Return each parameter once. Raises `BadValue` for one that is given twice with different values."""
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found and not _same(found[name], value):
            said = f", as {_show(found[name])} and as {_show(value)}" if name != "token" else ""
            raise BadValue(name, f"given twice{said}")
        found[name] = value
        if len(found) > MOST_PARAMETERS:
            raise BadValue(None, f"more than {MOST_PARAMETERS} parameters")
    return found


def known_device(name: object) -> str:
    """Return the id of a device as a request names it; a Shelly's own id becomes ours. Raises `BadValue`."""
    if type(name) is not str or not DEVICE_ID.fullmatch(name):
        raise BadValue("device", f"{_show(name)} is no id: expected 1 to 64 letters, digits and . _ : -")
    return shelly_rpc.device_id(name) or name


def address_device(address: str) -> str:
    """Return the id of a device of which only the address (see `plain_address`) is known."""
    return f"http-{address.replace(':', '-')}"


def plain_address(address: str) -> str:
    """Return an IP address in the one form that it is compared in: IPv4 where it is, and without interface."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        raise BadValue("device", "expected, because the request comes from no IP address") from None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return str(found)


def reading(device: str, given: Mapping[str, object], sender: Sender | None = None) -> Reading:
    """Make a reading of a request's parameters; `sender` says what the device's energy is.

    Its time is the `timestamp`, believable or not. Increments (Wh) stand under the names of `INCREMENTS`, to be
    summed. Raises `BadValue` naming the first parameter that is wrong.
    """
    values: Values = {}
    for name, value in given.items():
        if type(value) is str:
            _check_text(name, value)
        if base(name) in INCREMENTS or name in NO_VALUES or _INCLUDED.fullmatch(name):
            continue
        if is_switch(name) and QUANTITY.fullmatch(name):
            values[name] = _switch(name, value)
        elif base(name) in QUANTITIES:
            values.update([_quantity(name, _needed(name, value), sender)])
        elif (number := _number(value)) is not None and QUANTITY.fullmatch(name):
            values[name] = _finite(name, number)
    _take_returned_off(values, given, sender)
    if not values:
        raise BadValue(None, "no value: expected at least one, like power=120.5")
    return Reading(device, _timestamp(given), values)


def _take_returned_off(values: Values, given: Mapping[str, object], sender: Sender | None) -> None:
    """Make `energy` what was consumed, where a Shelly tells how much of its counter was returned."""
    for name, value in given.items():
        if match := _INCLUDED.fullmatch(name):
            part = match[1] or ""
            returned = _watt_hours(_needed(name, value), sender)
            if not plausible(f"energy_returned{part}", returned):
                raise BadValue(name, f"{_show(value)} is no counter of energy")
            counter = f"energy{part}"
            if counter in values:
                if returned > values[counter]:
                    raise BadValue(name, f"is more than {counter}, which includes it")
                values[counter] = round(values[counter] - returned, _DECIMALS)
            values[f"energy_returned{part}"] = returned


def _check_text(name: str, text: str) -> None:
    """Refuse, under any name, what is no value but what a failed expression left behind."""
    if "${" in text:
        raise BadValue(name, f"{_show(text)} was not replaced: the expression fails on the device")
    if _NOT_FINITE.fullmatch(text.strip()):
        raise BadValue(name, f"{_show(text)} is not a finite number")


def _quantity(name: str, number: float, sender: Sender | None) -> tuple[str, float]:
    """Return a quantity in our unit, an increment under its own name, or refuse it."""
    if sender is not None and base(name) in INCREMENT_OF:
        number = _watt_hours(number, sender)
        if sender.energy_kind == "increment":
            if name not in INCREMENT_OF:
                raise BadValue(name, f"increments are summed of {' and '.join(INCREMENT_OF)} only")
            return INCREMENT_OF[name], _in_range(name, number)
    return name, _in_range(name, number)


def _watt_hours(number: float, sender: Sender | None) -> float:
    """Return energy in our unit."""
    factor = 1.0 if sender is None else UNIT_FACTORS.get(sender.energy_unit, 1.0)
    return round(number * factor, _DECIMALS) if factor != 1.0 and math.isfinite(number) else number


def _in_range(name: str, number: float) -> float:
    quantity = QUANTITIES[base(name)]
    if not plausible(name, _finite(name, number)):
        raise BadValue(name, f"{number:.12g} {quantity.unit} is outside {quantity.low:.12g} to {quantity.high:.12g}")
    return number


def _finite(name: str, number: float) -> float:
    if not math.isfinite(number):
        raise BadValue(name, "is not a finite number")
    return number


def _needed(name: str, value: object) -> float:
    """Return the number that a quantity must be, or refuse it with what is wrong with it."""
    number = None if type(value) is bool else _number(value)
    if number is not None:
        return number
    if value is None:
        raise BadValue(name, "null is not a number")
    if value == "":
        raise BadValue(name, "is empty")
    if type(value) is str and _DECIMAL_COMMA.fullmatch(value.strip()):
        raise BadValue(name, f"{_show(value)} has a comma: expected a point, like {value.strip().replace(',', '.')}")
    raise BadValue(name, f"{_show(value)} is not a number")


def _number(value: object) -> float | None:
    """Return a number, also one written as text, or None; infinite where a float cannot hold it."""
    if type(value) is str:
        text = value.strip()
        return float(text) if len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text) else None
    if type(value) in (int, float, bool):
        try:
            return float(value)  # type: ignore[arg-type]
        except OverflowError:
            return math.inf
    return None


def _switch(name: str, value: object) -> bool:
    state = json_payload.switch_state(value)
    if state is None:
        raise BadValue(name, f"{_show(value)} is neither true, on or 1 nor false, off or 0")
    return state


def _timestamp(given: Mapping[str, object]) -> int | None:
    if "timestamp" not in given:
        return None
    value = given["timestamp"]
    if type(value) is str:
        text = value.strip()
        if number := _EPOCH.fullmatch(text):
            value = float(text) if number[2] else int(text)
        else:  # the + of +01:00 is a space in a query that does not escape it
            value = _SPACED_OFFSET.sub(r"\1+\2", text)
    time = json_payload.timestamp(value)
    if time is None:
        shown = _show(given["timestamp"])
        raise BadValue("timestamp", f"{shown} is no time: expected ISO 8601, or seconds or milliseconds since 1970")
    return time


def _same(one: object, other: object) -> bool:
    """Tell whether two values say the same: 230 and "230.0" do."""
    number = _number(one)
    return one == other or (number is not None and number == _number(other))


def _show(value: object) -> str:
    """Return a value as it was sent, cut where it is long."""
    text = value if type(value) is str else json.dumps(value, default=str)
    return f'"{text[:_LONGEST_SHOWN]}…"' if len(text) > _LONGEST_SHOWN else f'"{text}"'
