"""Checks between the tables of relays. No I/O.

Like `checks`, they look at raw values, so that they are reported together with everything that is wrong alone.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from edge_energy.config import values
from edge_energy.config.problems import Location, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_energy.config.tree import Sources

_MARGIN = 200.0  # W, as in relays.Budget
_SHELLY = "shelly-"
_SWITCHABLE = re.compile(_SHELLY + r"(?:[0-9a-f]{12}|[0-9a-f]{6})|zigbee-0x[0-9a-f]{1,16}")
_SHELLY_CHANNELS = ("", *"1234567")  # as the drivers count them
Relays = dict[str, tuple[int, dict[str, Any]]]


def conflicts(sources: Sources) -> Iterator[tuple[Location, str]]:
    """Yield every place where the tables of relays contradict each other, with what was expected."""
    relays: Relays = {}
    for index, table in sources.tables(("relay",)):
        name = _id(table)
        if wrong := _no_device(table):
            yield ("relay", index, "device"), wrong
        elif name in relays:
            yield (
                ("relay", index, "device"),
                (
                    f"expected another one than that of relay[{relays[name][0]}]: one block for each relay; "
                    'channel = "1" is the second one of a device'
                ),
            )
        relays.setdefault(name, (index, table))
        if wrong := _no_channel(table):
            yield ("relay", index, "channel"), wrong
        if table.get("safe_state") == "leave" and _seconds(table.get("lease")):
            text = 'expected only with safe_state = "off" or "on": its timer needs a state to go back to'
            yield ("relay", index, "lease"), text
    yield from _names(sources, relays)
    yield from _interlocks(sources, relays)
    yield from _budgets(sources, relays)


def _no_device(table: Mapping[str, Any]) -> str:
    """Return why nothing can ever switch that device; what is no id at all is reported already."""
    device = table.get("device")
    if not isinstance(device, str) or not values.DEVICE_ID.fullmatch(device) or _SWITCHABLE.fullmatch(device):
        return ""
    if _SWITCHABLE.fullmatch(device.lower()):
        return f"expected {show(device.lower())}, in lower case, as `edge-energy devices` shows it"
    before, _, channel = device.partition("_")
    if channel and _SWITCHABLE.fullmatch(before):
        return f"expected the id of the device alone, {show(before)}, and channel = {show(channel)} beside it"
    return (
        f"{show(device)} cannot be switched, only Shelly devices and those of Zigbee2MQTT can; expected their id as "
        '`edge-energy devices` shows it, like "shelly-ec62608ab9a4" or "zigbee-0x70ac08fffe5d1a2b"'
    )


def _no_channel(table: Mapping[str, Any]) -> str:
    """Return why a Shelly has no such output; Zigbee2MQTT names those of its devices as it likes."""
    try:
        channel = values.channel(table.get("channel", ""))
    except ValueError:  # which is reported already
        return ""
    if channel in _SHELLY_CHANNELS or not str(table.get("device")).startswith(_SHELLY):
        return ""
    return f'{show(channel)} is no output of a Shelly; expected "" for the first one, or "1" to "7" for the others'


def _names(sources: Sources, relays: Relays) -> Iterator[tuple[Location, str]]:
    """Yield the names of relays that no block describes."""
    for kind in ("interlock", "budget"):
        for index, table in sources.tables((kind,)):
            for number, name in _members(table):
                if name not in relays:
                    yield (kind, index, "relays", number), _unknown(name, relays)
    for index, table in sources.tables(("schedule",)):
        wanted = table.get("relay")
        if isinstance(wanted, str) and wanted not in relays:
            yield ("schedule", index, "relay"), _unknown(wanted, relays)


def _interlocks(sources: Sources, relays: Relays) -> Iterator[tuple[Location, str]]:
    """Yield relays that would go on by themselves, whatever the others of their interlock do."""
    for index, table in sources.tables(("interlock",)):
        on = [(n, name) for n, name in _members(table) if _table(relays, name).get("safe_state") == "on"]
        for number, name in on[1:]:
            text = f'{show(name)} and {show(on[0][1])} both have safe_state = "on"; expected one at most'
            yield ("interlock", index, "relays", number), text
        for number, name in on[:1]:
            if _seconds(_table(relays, name).get("lease", "2m")):
                text = (
                    f'{show(name)} has safe_state = "on", and its timer would switch it on whatever the others do; '
                    'expected lease = "0s" in its [[relay]] block'
                )
                yield ("interlock", index, "relays", number), text


def _budgets(sources: Sources, relays: Relays) -> Iterator[tuple[Location, str]]:
    """Yield relays whose power nobody knows, or for which there never is room."""
    for index, table in sources.tables(("budget",)):
        limit, margin = _watts(table.get("limit")), _watts(table.get("margin", _MARGIN))
        for number, name in _members(table):
            if name not in relays:
                continue
            raw = _table(relays, name).get("power")
            power = _watts(raw)
            if raw is None:
                text = f"expected power in the [[relay]] block of {show(name)}: a budget must know what it would draw"
                yield ("budget", index, "relays", number), text
            elif None not in (limit, margin, power) and power + margin > limit:  # type: ignore[operator]
                text = (
                    f"{show(name)} draws {power:g} W, which with a margin of {margin:g} W is never free; "
                    "expected a higher limit or a smaller margin"
                )
                yield ("budget", index, "relays", number), text


def _id(table: Mapping[str, Any]) -> str:
    try:
        channel = values.channel(table.get("channel", ""))
    except ValueError:  # which is reported already
        channel = str(table.get("channel"))
    device = str(table.get("device"))
    return f"{device}_{channel}" if channel else device


def _members(table: Mapping[str, Any]) -> list[tuple[int, str]]:
    found = table.get("relays")
    return [(n, name) for n, name in enumerate(found if isinstance(found, list) else ()) if isinstance(name, str)]


def _table(relays: Relays, name: str) -> dict[str, Any]:
    return relays[name][1] if name in relays else {}


def _unknown(name: str, relays: Relays) -> str:
    near = get_close_matches(name, relays, 1)
    hint = f"did you mean {show(near[0])}?" if near else "add one, or write the id of a relay that has one"
    return f"{show(name)} is described by no [[relay]] block; {hint}"


def _seconds(value: object) -> float:
    """Return the seconds of a duration that may be wrong or missing."""
    try:
        return values.duration(value)
    except ValueError:
        return 0.0


def _watts(value: object) -> float | None:
    """Return a number that may be wrong or missing; in the environment it is a text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
