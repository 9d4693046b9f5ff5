"""Shelly devices of the first generation: `/status` and MQTT topics. No I/O.

Sources: Shelly's documentation of the first generation. `meters` count Watt-minutes, `emeters` Watt-hours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edge_energy.devices import payload as json_payload
from edge_energy.reading import UNIT_FACTORS

if TYPE_CHECKING:
    from collections import Counter

    from edge_energy.reading import Values

IMPLAUSIBLE = "implausible"
"""What values outside their physical range are counted as."""

_WATT_MINUTES = UNIT_FACTORS["Wmin"]
_CHANNELS = ["", *(f"_{number}" for number in range(1, 8))]
_PHASES = ["_a", "_b", "_c"]
_DECIMALS = 6  # of a sum

# What stands under a key: the quantity, and the factor that makes its unit ours.
_Rule = tuple[str, float]
_RELAY = {"ison": ("output", 1.0), "brightness": ("brightness", 1.0)}
_METER = {"power": ("power", 1.0), "total": ("energy", _WATT_MINUTES)}
_EMETER = {
    "power": ("power", 1.0),
    "voltage": ("voltage", 1.0),
    "current": ("current", 1.0),
    "pf": ("power_factor", 1.0),
    "total": ("energy", 1.0),
    "total_returned": ("energy_returned", 1.0),
}
_WHOLE = {
    ("temperature",): ("temperature", 1.0),
    ("tmp", "tC"): ("temperature", 1.0),
    ("hum", "value"): ("humidity", 1.0),
    ("bat", "value"): ("battery", 1.0),
    ("voltage",): ("voltage", 1.0),
    ("emeter_n", "current"): ("current_n", 1.0),
    ("wifi_sta", "rssi"): ("rssi", 1.0),
}
_RELAY_TOPICS = {"power": ("power", 1.0), "energy": ("energy", _WATT_MINUTES)}
# The `energy` of an emeter starts again and again; its `total` does not.
_TOPICS = {"relay": _RELAY_TOPICS, "light": _RELAY_TOPICS, "emeter": _EMETER}
_SENSORS = {
    "temperature": ("temperature", 1.0),
    "voltage": ("voltage", 1.0),
    "sensor/temperature": ("temperature", 1.0),
    "sensor/humidity": ("humidity", 1.0),
    "sensor/battery": ("battery", 1.0),
}
_CHANNEL = re.compile(r"(relay|light|emeter)/([0-7])(?:/([a-z_]+))?")
_NUMBER = re.compile(rb"-?[0-9]{1,20}(\.[0-9]{1,20})?")
_STATES = {b"on": True, b"off": False, b"overpower": False}  # too much power opens a relay


def is_three_phase(name: str) -> bool:
    """Tell by a device's own id whether its energy meters are the phases of one supply (Shelly 3EM)."""
    return name.lower().startswith("shellyem3-")


def status_values(status: Mapping[str, Any], counters: Counter[str] | None = None) -> Values:
    """Return the values of `GET /status`; none where nothing is readable.

    Three energy meters are phases (`power_a`), with their sums as `power`, `energy` and `energy_returned`;
    otherwise they are channels (`power`, `power_1`). Implausible values are left out and counted in
    `counters["implausible"]`.
    """
    values: Values = {}
    emeters = _entries(status, "emeters")
    three_phase = len(emeters) == len(_PHASES)
    for entries, keys, suffixes in (
        (emeters, _EMETER, _PHASES if three_phase else _CHANNELS),
        (_entries(status, "meters"), _METER, _CHANNELS),
        (_entries(status, "relays") or _entries(status, "lights"), _RELAY, _CHANNELS),
    ):
        for entry, suffix in zip(entries, suffixes, strict=False):
            for key, rule in keys.items():
                _put(values, rule, suffix, _at(entry, key), counters)
    if three_phase:
        _add_sums(values, counters)
    for path, rule in _WHOLE.items():
        _put(values, rule, "", _at(status, *path), counters)
    return values


def topic_values(
    topic: str, payload: bytes, *, three_phase: bool = False, counters: Counter[str] | None = None
) -> Values:
    """Return the value of one MQTT message; `topic` is what follows `shellies/<id>/`. None for other topics.

    `three_phase` (of `is_three_phase`) makes energy meters phases, as in `status_values`; one topic gives no sums.
    """
    values: Values = {}
    if match := _CHANNEL.fullmatch(topic):
        kind, number, key = match[1], int(match[2]), match[3]
        phases = three_phase and kind == "emeter" and number < len(_PHASES)
        suffix = (_PHASES if phases else _CHANNELS)[number]
        if key is None and kind != "emeter":
            _put(values, _RELAY["ison"], suffix, _STATES.get(payload), counters)
        elif key in _TOPICS[kind]:
            _put(values, _TOPICS[kind][key], suffix, _number(payload), counters)
    elif topic in _SENSORS:
        _put(values, _SENSORS[topic], "", _number(payload), counters)
    return values


def _put(values: Values, rule: _Rule, suffix: str, value: object, counters: Counter[str] | None) -> None:
    """Add a value under the name of its quantity and channel, unless there is one already."""
    quantity, factor = rule
    if (type(value) is bool) is not (quantity == "output"):
        return
    found: Values = {}
    # Under the plain name, which knows the range whatever the channel is.
    if json_payload.put(found, quantity, value, factor) and counters is not None:
        counters[IMPLAUSIBLE] += 1
    for number in found.values():
        values.setdefault(quantity + suffix, number)


def _add_sums(values: Values, counters: Counter[str] | None) -> None:
    """Add the sums over the phases, of quantities that all three have."""
    for quantity in ("power", "energy", "energy_returned"):
        phases = [values[quantity + phase] for phase in _PHASES if quantity + phase in values]
        if len(phases) == len(_PHASES):
            _put(values, (quantity, 1.0), "", round(sum(phases), _DECIMALS), counters)


def _entries(status: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return the objects of a list, something empty for an element that is none."""
    entries = _at(status, key)
    if not isinstance(entries, list):
        return []
    return [entry if isinstance(entry, Mapping) else {} for entry in entries[: len(_CHANNELS)]]


def _at(status: object, *path: str) -> Any:
    """Return what stands at a path, or None; what a sensor marks as invalid does not stand there."""
    value: Any = status
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) and value.get("is_valid") is not False else None
    return value


def _number(payload: bytes) -> float | None:
    return float(payload) if _NUMBER.fullmatch(payload) else None
