"""What Home Assistant is told of devices and relays, so that they appear by themselves. No I/O.

Source: Home Assistant's documentation of its MQTT integration (device discovery, since 2024.12), of sensors, binary
sensors and switches.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from edge_energy import __version__
from edge_energy.reading import is_switch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Component = dict[str, Any]


class Kind(NamedTuple):
    """A quantity as Home Assistant knows it; a power factor has no unit."""

    device_class: str
    unit: str | None
    state_class: str = "measurement"


class Device(NamedTuple):
    """A device, as far as it is told of."""

    id: str
    name: str
    model: str = ""


KINDS = {
    "power": Kind("power", "W"),
    "apparent_power": Kind("apparent_power", "VA"),
    "voltage": Kind("voltage", "V"),
    "current": Kind("current", "A"),
    "energy": Kind("energy", "Wh", "total_increasing"),
    "energy_returned": Kind("energy", "Wh", "total_increasing"),
    "frequency": Kind("frequency", "Hz"),
    "power_factor": Kind("power_factor", None),
    "temperature": Kind("temperature", "°C"),
    "humidity": Kind("humidity", "%"),
    "battery": Kind("battery", "%"),
}
MOST_QUANTITIES = 64  # of a device
AVAILABLE = "available"
"""Under this key the state of a device says whether it can be reached, where that is known."""
_REMOVED_CONTACT = {"platform": "binary_sensor"}
_REMOVED_SWITCH = {"platform": "switch"}
_PART = re.compile(r"(.+)_([abcn]|l?[0-9]{1,3})")  # of a phase or a channel: power_a, power_1, power_l2
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")  # of a quantity; others could not stand in a template
_SLUG = re.compile(r"[A-Za-z0-9_-]{1,100}")


class Topics:
    """Where everything about the devices of one appliance stands at a broker."""

    def __init__(self, appliance: str, prefix: str) -> None:
        """`prefix` is what Home Assistant listens to."""
        self.base = f"edge-energy/{appliance}"
        self._appliance = appliance
        self._prefix = prefix

    def device(self, device: str) -> str:
        """Return where the values of a device are: a JSON object."""
        return f"{self.base}/device/{slug(device)}"

    def relay(self, relay: str, part: str) -> str:
        """Return where a relay is switched (`set`), and tells its state (`state`)."""
        return f"{self.base}/relay/{relay}/{part}"

    def identifier(self, device: str) -> str:
        """Return the id of a device among all that Home Assistant knows."""
        return slug(f"edge-energy-{self._appliance}-{device}")

    def discovery(self, device: str) -> str:
        """Return where Home Assistant is told of a device."""
        return f"{self._prefix}/device/{self.identifier(device)}/config"


def slug(text: str) -> str:
    """Return a text as it is if it can stand in any topic and id, else something alike and its check sum."""
    if _SLUG.fullmatch(text):
        return text
    return f"{re.sub('[^A-Za-z0-9_-]', '_', text)[:90]}-{crc32(text.encode(errors='replace')):08x}"


def discovery(topics: Topics, device: Device, quantities: Iterable[str], relays: Mapping[str, str]) -> dict[str, Any]:
    """Return the message about a device: every quantity a sensor, every relay a switch.

    `relays` are those of the device by the name of their output (`output_1`) that this broker's clients may switch;
    any other output is a binary sensor. A relay can be switched as long as the
    appliance is online; whatever else a device says counts only while it can be reached.
    """
    state = topics.device(device.id)
    online = {"topic": f"{topics.base}/status", "value_template": "{{ value_json.status }}"}
    reached = {
        "topic": state,
        "value_template": f"{{{{ 'offline' if value_json.{AVAILABLE} is false else 'online' }}}}",
    }
    identifier = topics.identifier(device.id)
    components: dict[str, Component] = {}
    for quantity in sorted(name for name in {*quantities, *relays} if _NAME.fullmatch(name)):
        relay = relays.get(quantity)
        if not is_switch(quantity):
            components[quantity] = _sensor(quantity)
            continue
        # What has no more than its platform is removed: an output may have been a relay before, or none.
        components[quantity] = _REMOVED_CONTACT if relay else _contact(quantity)
        switch = _switch(topics, quantity, relay) | {"availability": [online]} if relay else _REMOVED_SWITCH
        components[f"switch_{quantity}"] = switch
    for key, component in components.items():
        if len(component) > 1:
            component["unique_id"] = f"{identifier}-{key}"
    about: dict[str, Any] = {"identifiers": [identifier], "name": device.name}
    if device.model:
        about["model"] = device.model
    return {
        "device": about,
        "origin": {"name": "edge-energy", "sw_version": __version__},
        "components": components,
        "state_topic": state,
        "availability": [online, reached],
        "availability_mode": "all",
        "qos": 1,
    }


def _sensor(quantity: str) -> Component:
    part = _PART.fullmatch(quantity)
    kind = KINDS.get(quantity) or (KINDS.get(part[1]) if part else None)
    sensor: Component = {
        "platform": "sensor",
        "name": _title(quantity),
        # Nothing, where a device has not said it since our start: then it is as it was.
        "value_template": f"{{{{ value_json.{quantity} | default('') }}}}",
        "state_class": kind.state_class if kind else "measurement",
    }
    if kind:
        sensor["device_class"] = kind.device_class
        if kind.unit:
            sensor["unit_of_measurement"] = kind.unit
    return sensor


def _contact(quantity: str) -> Component:
    return {
        "platform": "binary_sensor",
        "name": _title(quantity),
        "value_template": (
            f"{{{{ 'ON' if value_json.{quantity} is true else 'OFF' if value_json.{quantity} is false else '' }}}}"
        ),
    }


def _switch(topics: Topics, quantity: str, relay: str) -> Component:
    return {
        "platform": "switch",
        "name": None if quantity == "output" else _title(quantity),  # the device's own name
        "command_topic": topics.relay(relay, "set"),
        "state_topic": topics.relay(relay, "state"),
        "availability_mode": "latest",
    }


def _title(quantity: str) -> str:
    """Return `power_factor_a` as "Power factor A"."""
    part = _PART.fullmatch(quantity)
    words, suffix = (part[1], f" {part[2].upper()}") if part else (quantity, "")
    text = words.replace("_", " ")
    return text[:1].upper() + text[1:] + suffix
