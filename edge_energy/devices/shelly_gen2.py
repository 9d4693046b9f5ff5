"""Status of Shelly devices of the second generation and later: components, full and changed. No I/O.

Sources: Shelly's documentation of the components; frames of Pro 1PM, Plus 1PM, PM Gen3 and Pro 3EM.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any

from edge_energy.devices import payload as json_payload
from edge_energy.reading import plausible

if TYPE_CHECKING:
    from edge_energy.reading import Values

Component = dict[str, Any]
_Path = tuple[str, ...]

_METER = {
    "apower": "power",
    "voltage": "voltage",
    "current": "current",
    "pf": "power_factor",
    "freq": "frequency",
    "aenergy.total": "energy",
    "ret_aenergy.total": "energy_returned",
}
_PHASES = {
    f"{phase}_{key}": f"{quantity}_{phase}"
    for phase in "abc"
    for key, quantity in {
        "act_power": "power",
        "active_power": "power",  # as one sample of the documentation has it
        "aprt_power": "apparent_power",
        "voltage": "voltage",
        "current": "current",
        "pf": "power_factor",
        "freq": "frequency",
    }.items()
}
_PHASE_COUNTERS = {
    f"{phase}_{key}": f"{quantity}_{phase}"
    for phase in "abc"
    for key, quantity in {"total_act_energy": "energy", "total_act_ret_energy": "energy_returned"}.items()
}
_COMPONENTS = {
    # Where two components have the same number and the same quantity (a relay's own temperature and a
    # thermometer), the first of this table is meant.
    "temperature": {"tC": "temperature"},
    "humidity": {"rh": "humidity"},
    "em": {
        "total_act_power": "power",
        "total_aprt_power": "apparent_power",
        "total_current": "current",
        "n_current": "current_n",
        **_PHASES,
    },
    "emdata": {"total_act": "energy", "total_act_ret": "energy_returned", **_PHASE_COUNTERS},
    "em1": {
        "act_power": "power",
        "aprt_power": "apparent_power",
        "voltage": "voltage",
        "current": "current",
        "pf": "power_factor",
        "freq": "frequency",
    },
    "em1data": {"total_act_energy": "energy", "total_act_ret_energy": "energy_returned"},
    "pm1": {**_METER, "aprtpower": "apparent_power"},
    "switch": {**_METER, "output": "output", "temperature.tC": "temperature"},
    "light": {**_METER, "output": "output", "brightness": "brightness", "temperature.tC": "temperature"},
    "cover": {**_METER, "current_pos": "position", "temperature.tC": "temperature"},
    "voltmeter": {"voltage": "voltage"},
    "devicepower": {"battery.percent": "battery", "battery.V": "battery_voltage"},
    "wifi": {"rssi": "rssi"},
    "sys": {},  # no measurement, but what says whether a restart is due
}
_QUANTITIES = {
    kind: [(tuple(key.split(".")), quantity) for key, quantity in keys.items()] for kind, keys in _COMPONENTS.items()
}
_UNNUMBERED = ("wifi", "sys")
_RANK = {kind: rank for rank, kind in enumerate(_COMPONENTS)}
_TOTAL, _RETURNED, _MINUTE = ("aenergy", "total"), ("ret_aenergy", "total"), ("aenergy", "minute_ts")

_KEY = re.compile(r"([a-z0-9]+)(?::(0|[1-9][0-9]{0,2}))?", re.ASCII)
_MOST_COMPONENTS = 64
_MOST_KEYS = 64  # of a component; a three-phase meter has 30
_MOST_INNER = 8  # keys of an object, or elements of a list, in a component
_LONGEST = 64  # characters of a key or a text
_DECIMALS = 6  # of a difference


class Status:
    """What is known of one device. Components that neither measure nor switch are not kept.

    Names: channel 0 has the plain ones, channel N a suffix (`power_1`); phases `power_a`. Relays and meters add
    what they return to `aenergy` too, so `energy` is the difference; it is left out as long as nobody knows
    whether there is something to subtract: a component seen whole tells, and so does the frame of a full minute,
    which has both counters where there are two.
    """

    def __init__(self) -> None:
        self.components: dict[str, Component] = {}
        """By key (`switch:0`), as the device tells them, merged; a null stays."""
        self.complete = False
        """Whether a full status was seen."""
        self.implausible = 0
        self._settled: set[str] = set()
        """Components that have told all their counters: what they do not have does not exist."""

    def full(self, params: Mapping[str, Any]) -> Values:
        """Take a whole status (of `Shelly.GetStatus`, `NotifyFullStatus`); return all values."""
        components = _components(params)
        if components:  # garbage replaces nothing
            self.components, self._settled, self.complete = components, set(components), True
        return self._values(components)

    def change(self, params: Mapping[str, Any]) -> Values:
        """Take what has changed (`NotifyStatus`); return the values of that only."""
        changes = _components(params)
        for key, change in changes.items():
            if key in self.components or len(self.components) < _MOST_COMPONENTS:
                _merge(self.components.setdefault(key, {}), change, _MOST_KEYS)
                if _at(change, _MINUTE) is not None:
                    self._settled.add(key)
        return self._values(changes)

    def component(self, key: str, payload: Mapping[str, Any]) -> Values:
        """Take one whole component (MQTT's `status/switch:0`); return its values."""
        whole = _components({key: payload})
        if key in self.components or len(self.components) < _MOST_COMPONENTS:
            self.components.update(whole)
            self._settled.update(whole)
        return self._values(whole)

    def errors(self) -> dict[str, list[str]]:
        """Return the faults that components report now (`overtemp`, `a_out_of_range:voltage`)."""
        errors = {
            key: [
                name.removesuffix("errors") + error
                for name, found in component.items()
                if (name == "errors" or name.endswith("_errors")) and type(found) is list
                for error in found
                if type(error) is str
            ]
            for key, component in self.components.items()
        }
        return {key: found for key, found in errors.items() if found}

    def _values(self, told: Mapping[str, Component]) -> Values:
        """Return the values whose keys were told just now; a difference is told with either of its parts."""
        values: Values = {}
        known: set[str] = set()
        for key in sorted(self.components, key=_order):
            kind, _, number = key.partition(":")
            news = told.get(key, {})
            for path, quantity in _QUANTITIES[kind]:
                name = quantity if number in ("", "0") else f"{quantity}_{number}"
                new = _at(news, path) is not None or (path == _TOTAL and _at(news, _RETURNED) is not None)
                found = self._value(key, path, quantity, new=new)
                if found is None or name in known:
                    continue
                known.add(name)
                if new:
                    values[name] = found
        return values

    def _value(self, key: str, path: _Path, quantity: str, *, new: bool) -> float | bool | None:
        """Return the value of one key if it is one; one that is new and implausible is counted."""
        value = self._import(key) if path == _TOTAL else _at(self.components[key], path)
        if (type(value) is bool) is not (quantity == "output"):
            return None
        found: Values = {}
        # Under the plain name, which knows the range whatever the channel is.
        self.implausible += json_payload.put(found, quantity, value) and new
        return found.get(quantity)

    def _import(self, key: str) -> float | None:
        """Return the imported energy (Wh) of a component; None where it is not known."""
        component = self.components[key]
        total, returned = _number(_at(component, _TOTAL)), _number(_at(component, _RETURNED))
        if _RETURNED[0] not in component:
            return total if key in self._settled else None
        if total is None or returned is None or not plausible("energy_returned", returned):
            return None
        return min(total, round(total - returned, _DECIMALS))


def _components(params: object) -> dict[str, Component]:
    """Return a copy of the components that we know, cut to what a device can have."""
    found: dict[str, Component] = {}
    for key, component in params.items() if isinstance(params, Mapping) else ():
        match = _KEY.fullmatch(key) if type(key) is str else None
        if match and isinstance(component, Mapping) and len(found) < _MOST_COMPONENTS:
            kind, number = match.groups()
            if kind in _QUANTITIES and (number is None) == (kind in _UNNUMBERED):
                found[key] = _bounded(component, _MOST_KEYS)
    return found


def _bounded(component: Mapping[str, Any], most: int) -> Component:
    found: Component = {}
    for key, value in islice(component.items(), most):
        if type(key) is not str or len(key) > _LONGEST:
            continue
        if isinstance(value, Mapping):  # within a component, objects do not nest
            found[key] = _bounded(value, _MOST_INNER) if most == _MOST_KEYS else None
        elif isinstance(value, list):
            found[key] = [_leaf(element) for element in value[:_MOST_INNER]]
        else:
            found[key] = _leaf(value)
    return found


def _leaf(value: object) -> object:
    """Return a number, boolean or short text, or null for anything else."""
    if type(value) is str:
        return value[:_LONGEST]
    return value if type(value) in (int, float, bool) else None


def _merge(known: Component, change: Component, most: int) -> None:
    """Merge a change into what is known. Nulls stay: that something is null is not that it does not exist."""
    for key, value in change.items():
        before = known.get(key)
        if type(before) is dict and type(value) is dict:
            _merge(before, value, _MOST_INNER)
        elif key in known or len(known) < most:
            known[key] = value


def _order(key: str) -> tuple[int, str]:
    return _RANK[key.partition(":")[0]], key


def _at(component: Component, path: _Path) -> Any:
    """Return what stands at a path, or None."""
    value: Any = component
    for key in path:
        value = value.get(key) if type(value) is dict else None
    return value


def _number(value: object) -> float | None:
    """Return a number as float, one too large for that as infinity, and None for anything else."""
    if type(value) is not int and type(value) is not float:
        return None
    try:
        return float(value)
    except OverflowError:
        return inf
