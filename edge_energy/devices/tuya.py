"""Tuya-style messages, as a bridge sends them on: what happened to which device, and its properties. No I/O.

Both protocols of Tuya's message service, decrypted: 4 and 20 (`status`, `online`, `offline`), and 1000 and 1001
(`devicePropertyMessage`, `deviceOnline`, `deviceOffline`). A property's value is an integer whose scale and unit
only the product's specification tells.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections import ChainMap
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_energy.config import TuyaCode
from edge_energy.config.values import DEVICE_ID, QUANTITY
from edge_energy.devices import payload as json_payload
from edge_energy.errors import EdgeEnergyError, UnreadablePayload
from edge_energy.reading import INCREMENT_OF, INCREMENTS, QUANTITIES, UNIT_FACTORS, Reading, Values, base, is_switch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edge_energy.config import Tuya

MOST_PROPERTIES = 256
LONGEST_CODE = 64

_PROPERTIES = "devicePropertyMessage"
_ONLINE = {"online": True, "deviceOnline": True, "offline": False, "deviceOffline": False}
_ALWAYS = {
    "instant_power": TuyaCode(code="instant_power", quantity="power"),
    "temp_interior": TuyaCode(code="temp_interior", quantity="temperature"),
}
_PHASES = {"phase_a": "a", "phase_b": "b", "phase_c": "c"}
_PHASE_BYTES = 8
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,4})?")
_DIGITS = re.compile(r"[0-9]{1,20}")


class UnknownMessage(EdgeEnergyError):  # noqa: N818 - what the sender did, not what failed here
    """A message of a kind that says nothing of a device's state."""


class Property(NamedTuple):
    """One property; `time` (UTC ns) is its own, believable or not, and None where it has none."""

    code: str
    time: int | None
    value: Any


class Message(NamedTuple):
    """A message of one device; `online` where it is about that, and without properties then."""

    device: str
    product: str | None
    online: bool | None
    properties: list[Property]


def parse(payload: bytes) -> Message:
    """Return what a message says. Raises `UnreadablePayload`, and `UnknownMessage` for another `bizCode`."""
    decoded = json_payload.parse(payload)
    kind, data = decoded.get("bizCode"), decoded.get("bizData")
    data = decoded | data if type(data) is dict else decoded
    if kind is None:
        return _message(data, None, _properties(data, "status"))
    if type(kind) is not str:
        raise UnreadablePayload("bizCode is no text")
    if kind == _PROPERTIES:
        return _message(data, None, _properties(data, "properties"))
    if kind not in _ONLINE:
        known = ", ".join([_PROPERTIES, *_ONLINE])
        raise UnknownMessage(f'"{kind[:LONGEST_CODE]}" is none of {known}')
    return _message(data, _ONLINE[kind], [])


def _message(data: Mapping[str, Any], online: bool | None, properties: list[Property]) -> Message:  # noqa: FBT001 - of three
    device = data.get("devId")
    if type(device) is not str or not DEVICE_ID.fullmatch(device):
        raise UnreadablePayload("devId is no id of a device: expected 1 to 64 letters, digits and . _ : -")
    product = data.get("productId") or data.get("productKey")
    return Message(device, product if type(product) is str else None, online, properties)


def _properties(data: Mapping[str, Any], key: str) -> list[Property]:
    found = data.get(key)
    if type(found) is not list:
        raise UnreadablePayload(f"{key} is no list of properties")
    if len(found) > MOST_PROPERTIES:
        raise UnreadablePayload(f"more than {MOST_PROPERTIES} properties")
    return [_property(each, f"{key}[{place}]") for place, each in enumerate(found)]


def _property(given: object, place: str) -> Property:
    code = given.get("code") if isinstance(given, dict) else None
    if not isinstance(given, dict) or type(code) is not str or not 0 < len(code) <= LONGEST_CODE:
        raise UnreadablePayload(f"{place} is no object with a code of 1 to {LONGEST_CODE} characters")
    time = given.get("time", given.get("t"))
    if type(time) is str and _DIGITS.fullmatch(time):
        time = int(time)
    return Property(code, json_payload.timestamp(time), given.get("value"))


class Codes:
    """Which codes are recorded, of which devices: two of every device, and those of `[[tuya]]`."""

    def __init__(self, tables: Sequence[Tuya]) -> None:
        self._products = {table.product: _by_code(table) for table in tables if table.product is not None}
        self._devices = {table.device: _by_code(table) for table in tables if table.device is not None}

    def of(self, message: Message) -> Mapping[str, TuyaCode]:
        """Return the codes for a device; its own go before its product's."""
        product = {} if message.product is None else self._products.get(message.product, {})
        return ChainMap(self._devices.get(message.device, {}), product, _ALWAYS)


def _by_code(table: Tuya) -> dict[str, TuyaCode]:
    return {each.code: each for each in table.codes}


def is_increment(rule: TuyaCode) -> bool:
    """Tell whether a code's values are summed, so that none may be taken twice."""
    return _name(rule) in INCREMENTS


def _name(rule: TuyaCode) -> str:
    return INCREMENT_OF.get(rule.quantity, rule.quantity) if rule.increment else rule.quantity


def recorded_values(rule: TuyaCode, value: object) -> Values:
    """Return the values to record of a property, in our units. Raises `UnreadablePayload` with the reason."""
    if rule.quantity in _PHASES:
        return _phase(_PHASES[rule.quantity], value)
    name = _name(rule)
    if is_switch(name):
        state = json_payload.switch_state(value)
        if state is None:
            raise UnreadablePayload(f"{_show(value)} is neither true nor false")
        return {name: state}
    number = _number(value)
    if number is None:
        raise UnreadablePayload(f"{_show(value)} is not a number")
    return _plausible({name: number / 10**rule.scale}, UNIT_FACTORS.get(rule.unit, 1.0))


def live_values(prop: Property) -> Values:
    """Return what a property that is not recorded adds to the live state.

    Nothing where its code is the name of a quantity: others rely on those, and its scale is unknown.
    """
    values: Values = {}
    number = float(prop.value) if type(prop.value) is bool else _number(prop.value)
    if (
        number is not None
        and QUANTITY.fullmatch(prop.code)
        and not is_switch(prop.code)
        and base(prop.code) not in QUANTITIES
    ):
        json_payload.put(values, prop.code, number)
    return values


def readings(device: str, taken: Iterable[tuple[int | None, Values]]) -> list[Reading]:
    """Put values of the same time into one reading, and return the readings in order, those of arrival last."""
    found: list[Reading] = []
    for time, values in taken:
        for reading in found:
            if reading.time == time and reading.values.keys().isdisjoint(values):
                reading.values.update(values)
                break
        else:
            found.append(Reading(device, time, dict(values)))
    return sorted(found, key=lambda reading: (reading.time is None, reading.time or 0))


def _phase(phase: str, value: object) -> Values:
    """Take apart what a meter packs into one text: 2 bytes of 0.1 V, 3 of mA, 3 of W, big-endian."""
    try:
        packed = b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        packed = b""
    if len(packed) != _PHASE_BYTES:
        raise UnreadablePayload(f"{_show(value)} is no base64 of {_PHASE_BYTES} bytes: voltage, current and power")
    parts = {
        "voltage": int.from_bytes(packed[:2], "big") / 10,
        "current": int.from_bytes(packed[2:5], "big") / 1000,
        "power": float(int.from_bytes(packed[5:], "big")),
    }
    return _plausible({f"{name}_{phase}": number for name, number in parts.items()})


def _plausible(numbers: Mapping[str, float], factor: float = 1.0) -> Values:
    """Return numbers in our units, or refuse them all where one can be no measurement."""
    values: Values = {}
    for name, number in numbers.items():
        if json_payload.put(values, name, number, factor):
            quantity = QUANTITIES.get(base(name))
            limits = (
                f" {quantity.low:.12g} to {quantity.high:.12g} {quantity.unit}"
                if quantity
                else " what a number can be"
            )
            raise UnreadablePayload(f"{name} is outside{limits}; is its scale right?")
    return values


def _number(value: object) -> float | None:
    """Return a number, also one sent as text."""
    if type(value) in (int, float):
        return float(value)  # type: ignore[arg-type]
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else None


def _show(value: object) -> str:
    text = str(value)
    return f'"{text[:40]}…"' if len(text) > 40 else f'"{text}"'
