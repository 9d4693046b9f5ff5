"""Sensors that publish plain JSON, as `[[mqtt.sensors]]` describes them. No I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_energy.devices import payload as json_payload
from edge_energy.reading import INCREMENT_OF, INCREMENTS, UNIT_FACTORS, Reading, Values

if TYPE_CHECKING:
    from edge_energy.config import Sensor

_PLACE = re.compile(r"\{(\d+)\}")


class JsonSensor:
    """Makes readings of the payloads of one `[[mqtt.sensors]]`."""

    def __init__(self, settings: Sensor) -> None:
        self.filter = settings.topic
        self.qos = settings.qos
        self.increments = settings.energy_kind == "increment"
        self.implausible = 0
        self._device = settings.device
        self._keys = dict(settings.keys)
        self._time = settings.time
        self._factor = UNIT_FACTORS.get(settings.energy_unit, 1.0)

    def device(self, topic: str) -> str:
        """Return the device of a topic: `{1}` in the configured id is what the first `+` stands for."""
        wild = [
            part for part, pattern in zip(topic.split("/"), self.filter.split("/"), strict=False) if pattern == "+"
        ]
        return _PLACE.sub(lambda place: wild[int(place[1]) - 1], self._device)

    def reading(self, device: str, payload: bytes) -> Reading:
        """Make a reading of a payload; increments (Wh) stand under the names of `INCREMENTS`, to be summed."""
        decoded = json_payload.parse(payload)
        values: Values = {}
        implausible = False
        own_time = None
        for key, value in json_payload.flatten(decoded, "."):
            if key == self._time:
                own_time = value
                continue
            name = self._keys.get(key) if self._keys else key.replace(".", "_")
            if name is None or name in INCREMENTS:  # a sensor's own value of that name would be summed
                continue
            number = _number(value) if type(value) is str and name != "output" else value
            energy = name in INCREMENT_OF
            if energy and self.increments:
                name = INCREMENT_OF[name]
            if json_payload.put(values, name, number, self._factor if energy else 1.0):
                implausible = True
                self.implausible += 1
        json_payload.check(values, implausible=implausible)
        return Reading(device, json_payload.timestamp(own_time), values)


def _number(text: str) -> object:
    """Return the number that small sensors send as a string, or the string."""
    try:
        return float(text)
    except ValueError:
        return text
