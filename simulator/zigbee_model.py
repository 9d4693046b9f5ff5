"""What a Zigbee product is: what it measures, how precisely, and when it reports it. No I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

STATE, SET, GET = 1, 2, 4  # bits of `access` in Zigbee2MQTT's exposes

DESCRIPTIONS = {
    "power": "Instantaneous measured power",
    "voltage": "Measured electrical potential value",
    "current": "Instantaneous measured electrical current",
    "energy": "Sum of consumed energy",
    "produced_energy": "Total reverse active energy",
    "temperature": "Measured temperature value",
    "humidity": "Measured relative humidity",
    "battery": "Remaining battery in %",
}


class Reporting(NamedTuple):
    """A report is due when the value moved by `change`, not before `shortest` and at the latest after `longest`.

    Polling is the same thing without a change that matters.
    """

    shortest: float
    longest: float
    change: float


AT_ONCE = Reporting(0, 3600, 1)


class Attribute(NamedTuple):
    """One property of the payload; attributes of one cluster that are due together travel in one message."""

    name: str
    unit: str
    decimals: int
    cluster: str
    reporting: Reporting
    access: int = STATE

    def rounded(self, value: float) -> float:
        """Round as the firmware does: counters never show what was not yet counted; 61.0 is 61 in JavaScript."""
        scale = 10**self.decimals
        rounded = (math.floor(value * scale + 1e-6) if self.unit == "kWh" else round(value * scale)) / scale
        return int(rounded) if rounded.is_integer() else rounded

    def expose(self) -> dict[str, Any]:
        """Describe it as in the exposes of `bridge/devices`."""
        return {
            "type": "numeric",
            "name": self.name,
            "label": self.name.capitalize().replace("_", " "),
            "property": self.name,
            "description": DESCRIPTIONS[self.name],
            "access": self.access,
            "unit": self.unit,
        }


@dataclass(frozen=True)
class Model:
    """A product; `settings` are properties that only the merged cache of Zigbee2MQTT shows."""

    model: str
    vendor: str
    description: str
    model_id: str
    manufacturer: str
    oui: str
    attributes: tuple[Attribute, ...]
    relay: bool = True
    battery: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    def exposes(self) -> list[dict[str, Any]]:
        """List what the product has, the link quality included."""
        relay = [{"type": "switch", "features": [SWITCH]}] if self.relay else []
        return [*relay, *(attribute.expose() for attribute in self.attributes), LINK_QUALITY]


SWITCH = {
    "type": "binary",
    "name": "state",
    "label": "State",
    "property": "state",
    "description": "On/off state of the switch",
    "access": STATE | SET | GET,
    "value_on": "ON",
    "value_off": "OFF",
    "value_toggle": "TOGGLE",
}
LINK_QUALITY = {
    "type": "numeric",
    "name": "linkquality",
    "label": "Linkquality",
    "property": "linkquality",
    "description": "Link quality (signal strength)",
    "category": "diagnostic",
    "access": STATE,
    "unit": "lqi",
    "value_min": 0,
    "value_max": 255,
}
