"""Zigbee2MQTT's topics and payloads (2.x). No I/O.

Sources: Zigbee2MQTT's documentation of MQTT topics and messages; behaviour of release 2.14.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_energy.devices import payload as json_payload
from edge_energy.errors import UnreadablePayload
from edge_energy.reading import QUANTITIES, UNIT_FACTORS, Reading, Values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NAMES = {
    "state": "output",
    "produced_energy": "energy_returned",
    "ac_frequency": "frequency",
}
_PHASE = re.compile(r"(power|voltage|current|power_factor|energy|produced_energy)_phase_([abc])")
_GANG = re.compile(r"state_(\w+)")
_TOPIC = re.compile(r"(?!bridge/)[^\0+#]{1,1000}")
_KWH = {"energy", "energy_returned"}  # published in kWh by every converter, whether declared or not
AFTER_SWITCH = {"power", "current"}  # what a switch changes
_STALE_FOR = 15_000_000_000  # ns; plugs report their new power within 10 s of being switched


@dataclass(slots=True)
class Device:
    """A device of `bridge/devices`: its id, and what to do with each property of its payloads."""

    id: str
    name: str
    model: str = ""
    rules: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Property → (quantity, factor)."""
    output: bool | None = None
    stale: dict[str, float] = field(default_factory=dict)
    """Values from before the relay switched, which a merged cache repeats."""
    stale_until: int = 0
    last: Values = field(default_factory=dict)


class Bridge:
    """One Zigbee2MQTT: knows its devices by friendly name and makes readings of their payloads."""

    def __init__(self) -> None:
        self.online: bool | None = None
        self.version = ""
        self.merged_cache = True
        """Whether payloads repeat old values (`advanced.cache_state`, on by default)."""
        self.implausible = 0
        self._devices: dict[str, Device] = {}

    # -- bridge topics ----------------------------------------------------------------------------------------

    def take_state(self, payload: bytes) -> None:
        """Take `bridge/state`: `{"state":"online"}`, or the bare word of older releases; nothing: it was deleted."""
        if not payload:
            self.online = None
            return
        text = payload.decode(errors="replace")
        self.online = (
            json_payload.parse(payload).get("state") == "online" if text.startswith("{") else text == "online"
        )

    def take_info(self, payload: bytes) -> None:
        """Take `bridge/info`: version, and whether payloads are the merged cache."""
        info = json_payload.parse(payload)
        self.version = str(info.get("version", ""))
        config = info.get("config")
        advanced = config.get("advanced") if isinstance(config, dict) else None
        if isinstance(advanced, dict):
            self.merged_cache = advanced.get("cache_state") is not False

    def take_devices(self, decoded: object) -> list[Device]:
        """Take the list of `bridge/devices`; return the devices that are new, renamed or remodelled."""
        if not isinstance(decoded, list):
            raise UnreadablePayload("bridge/devices is not a list")
        before = {device.id: device for device in self._devices.values()}
        devices = [device for entry in decoded if isinstance(entry, dict) for device in _devices(entry)]
        self._devices = {device.name: device for device in devices}
        changed = []
        for device in devices:
            old = before.get(device.id)
            if old is not None:  # whatever its name is now, what was last heard of it stays
                device.output, device.last, device.stale = old.output, old.last, old.stale
                device.stale_until = old.stale_until
            if old is None or (old.name, old.model) != (device.name, device.model):
                changed.append(device)
        return changed

    def remembered(self) -> dict[str, list[Any]]:
        """Return the names and rules for keeping: the next start knows them before the broker repeats them."""
        return {
            device.name: [device.id, device.model, {key: list(rule) for key, rule in device.rules.items()}]
            for device in self._devices.values()
        }

    def recall(self, remembered: dict[str, list[Any]]) -> None:
        """Take back what `remembered` returned."""
        for name, (number, model, rules) in remembered.items():
            self._devices[name] = Device(
                number, name, model, {key: (rule[0], rule[1]) for key, rule in rules.items()}
            )

    def names(self) -> Iterable[str]:
        """Return all friendly names."""
        return self._devices.keys()

    def devices(self) -> Iterable[Device]:
        """Return all devices."""
        return self._devices.values()

    def device(self, name: str) -> Device:
        """Return the device of a friendly name; one never announced gets an id made of its name."""
        device = self._devices.get(name)
        if device is None:
            device = self._devices[name] = Device(f"zigbee-{name}", name)
        return device

    # -- device payloads --------------------------------------------------------------------------------------

    def reading(self, name: str, payload: bytes, uptime: int) -> Reading:
        """Make a reading of a device's payload; its time is `last_seen` where that is configured.

        `uptime` (nanoseconds) serves to tell what a merged cache repeats after a switch.
        """
        decoded = json_payload.parse(payload)
        device = self.device(name)
        values: Values = {}
        implausible = False
        rules = device.rules
        for key, value in decoded.items():
            kind = type(value)
            if key == "last_seen" or (kind is str and key != "state" and key[:6] != "state_"):
                continue
            if kind is dict:
                for inner, leaf in json_payload.flatten(value, "_", f"{key}_", 2):
                    implausible |= json_payload.put(values, inner, leaf)
                continue
            rule = rules.get(key)
            if rule is None:
                rule = _rule(key, None)
                if len(rules) < json_payload.MOST_VALUES:  # invented keys must not fill the memory
                    rules[key] = rule
            if json_payload.put(values, rule[0], value, rule[1]):
                implausible = True
                self.implausible += 1
        if self.merged_cache:
            self._drop_stale(device, values, uptime)
        json_payload.check(values, implausible=implausible)
        return Reading(device.id, json_payload.timestamp(decoded.get("last_seen")), values)

    def _drop_stale(self, device: Device, values: Values, uptime: int) -> None:
        """Drop power and current that are only repeated: after a switch the cache holds those from before."""
        output = values.get("output")
        if output is not None and output is not device.output:
            if device.output is not None:
                device.stale = {name: value for name, value in device.last.items() if name in AFTER_SWITCH}
                device.stale_until = uptime + _STALE_FOR
            device.output = bool(output)
        for name in AFTER_SWITCH & values.keys():
            value = values[name]
            if device.stale.get(name) == value and uptime < device.stale_until:
                del values[name]
            else:
                device.stale.pop(name, None)
                device.last[name] = value


def _devices(entry: dict[str, Any]) -> Iterator[Device]:
    """Yield the device of one entry of `bridge/devices`, unless it is the coordinator or malformed."""
    address, name = entry.get("ieee_address"), entry.get("friendly_name")
    if not isinstance(address, str) or not isinstance(name, str) or entry.get("type") == "Coordinator":
        return
    if not _TOPIC.fullmatch(name):  # no device publishes under it, and a broker would refuse the subscription
        return
    definition = entry.get("definition")
    definition = definition if isinstance(definition, dict) else {}
    model = f"{definition.get('vendor', '')} {definition.get('model', '')}".strip()
    rules = {}
    for expose in _exposes(definition.get("exposes")):
        key = expose.get("property")
        if isinstance(key, str):
            rules[key] = _rule(key, expose.get("unit"))
    yield Device(f"zigbee-{address}", name, model, rules)


def _exposes(exposes: object) -> Iterator[dict[str, Any]]:
    """Yield the leaves of the exposes, which nest by `features`."""
    if not isinstance(exposes, list):
        return
    for expose in exposes:
        if isinstance(expose, dict):
            yield expose
            yield from _exposes(expose.get("features"))


def _rule(key: str, unit: object) -> tuple[str, float]:
    """Return the quantity and the factor of a property."""
    name = _NAMES.get(key, key)
    if match := _PHASE.fullmatch(key):
        name = f"{_NAMES.get(match[1], match[1])}_{match[2]}"
    elif match := _GANG.fullmatch(key):
        name = f"output_{match[1]}"
    base = name[:-2] if name[-2:] in ("_a", "_b", "_c") else name
    if base not in QUANTITIES:
        return name, 1.0
    if base == "power_factor" and unit == "%":
        return name, 0.01
    if unit is None and base in _KWH:
        return name, UNIT_FACTORS["kWh"]
    return name, UNIT_FACTORS.get(str(unit), 1.0)
