"""The door through which tests disturb the Zigbee devices, and learn the truth about their relays. No I/O.

A disturbance is published to `simulator/<friendly name>/<disturbance>`:

- `deaf` `{"on": true}`: takes commands, says yes and does nothing; the bridge believes it until it reads the device;
- `mute` `{"on": true}`: out of reach: reports nothing, and takes no commands;
- `weld` `{"on": true}`: the contact sticks: opened, it still conducts;
- `load` `{"watts": 1500}`: draws that; with `null` what its load wants again;
- `press`: the button on the device, which toggles the relay; the payload does not matter.

The truth is retained on `simulator/<friendly name>/truth`: after each disturbance, when the relay or its timer moves,
and when the power moves considerably. Its `timer` is in real seconds, as it was then.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from simulator.message import Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from simulator.house import House
    from simulator.outlet import Outlet
    from simulator.zigbee_device import ZigbeeDevice

BASE = "simulator"
DISTURBANCES = ("deaf", "mute", "weld", "load", "press")
POWER_STEP, POWER_SHARE = 5.0, 0.05  # W, and of the power last told

Json = dict[str, Any]


class _Told(NamedTuple):
    """What was last told of a relay: output, edges and the end of its timer; its power."""

    state: tuple[bool, int, float]
    power: float


class ZigbeeDoor:
    """Stands behind the bridge among the talkers, so that the truth follows on what the bridge did."""

    def __init__(self, house: House, devices: Sequence[ZigbeeDevice], speed: float) -> None:
        # As for the bridge: friendly names have two levels at most.
        self.filters = [f"{BASE}/{name}/{verb}" for name in ("+", "+/+") for verb in DISTURBANCES]
        self._house = house
        self._speed = speed
        self._relays = {device.name: (device, device.relay) for device in devices if device.relay}
        self._told: dict[str, _Told] = {}

    def hello(self) -> Iterator[Message]:
        """Tell the truth about all."""
        self._told.clear()
        yield from self.due()

    def due(self) -> Iterator[Message]:
        """Tell what has changed."""
        for name, (device, outlet) in self._relays.items():
            state, power = (outlet.output, outlet.edges, outlet.off_at), outlet.sample.power
            told = self._told.get(name)
            if told is None or told.state != state or _differs(told.power, power):
                self._told[name] = _Told(state, power)
                yield Message(f"{BASE}/{name}/truth", orjson.dumps(self._truth(device, outlet)), qos=1, retain=True)

    def receive(self, topic: str, payload: bytes) -> Iterator[Message]:
        """Disturb a device, and tell what has changed; what cannot be read or is not known changes nothing."""
        base, _, rest = topic.partition("/")
        name, _, disturbance = rest.rpartition("/")
        if base == BASE and name in self._relays:
            self._disturb(*self._relays[name], disturbance, _parse(payload))
            self._told.pop(name, None)
        yield from self.due()

    def goodbye(self) -> Iterable[Message]:
        """Leave no truth behind that is none any more."""
        return [Message(f"{BASE}/{name}/truth", b"", qos=1, retain=True) for name in self._told]

    @staticmethod
    def _disturb(device: ZigbeeDevice, outlet: Outlet, disturbance: str, wanted: Json) -> None:
        on, watts = wanted.get("on") is True, wanted.get("watts")
        if disturbance == "deaf":
            device.deaf = on
        elif disturbance == "mute":
            device.mute = on
        elif disturbance == "weld":
            outlet.weld(on=on)
        elif disturbance == "press":
            outlet.switch(on=not outlet.output)
        elif disturbance == "load" and isinstance(watts, int | float | None):
            outlet.force(watts)

    def _truth(self, device: ZigbeeDevice, outlet: Outlet) -> Json:
        return {
            "ieee_address": device.ieee_address,
            "output": outlet.output,
            "power": outlet.sample.power,
            "edges": outlet.edges,
            "timer": max(outlet.off_at - self._house.now, 0.0) / self._speed if math.isfinite(outlet.off_at) else 0.0,
            "deaf": device.deaf,
            "mute": device.mute,
            "welded": outlet.welded,
            "watts": outlet.forced,
        }


def _differs(told: float, power: float) -> bool:
    return abs(power - told) >= max(POWER_STEP, POWER_SHARE * abs(told))


def _parse(payload: bytes) -> Json:
    try:
        wanted = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return {}
    return wanted if isinstance(wanted, dict) else {}
