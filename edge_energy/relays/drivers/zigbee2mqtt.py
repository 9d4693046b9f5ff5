"""Zigbee devices by way of Zigbee2MQTT: `<base>/<name>/set`, and `/get`, which makes it ask the device itself."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import orjson

from edge_energy.devices import payload as json_payload
from edge_energy.errors import Unavailable
from edge_energy.relays.drivers.way import State

if TYPE_CHECKING:
    from edge_energy.relays.drivers.way import Broker

TIMEOUT = 10.0
READ = 2.5  # seconds in which a device that has just taken a command says its state, if it can be asked for it
TAKEN = 1.5  # seconds in which Zigbee2MQTT says that the device has taken a command; radio and mesh need a tenth
LONGEST_ON = 6553.4
"""Seconds: a 16-bit number of tenths, the highest of which, 65535, means for ever (Zigbee Cluster Library)."""
_STATES = {"ON": State(True), "OFF": State(False)}


class Zigbee2Mqtt:
    """One output of a device.

    What is published after `/set` is what Zigbee2MQTT expects of the device that took the command, and any payload
    may repeat it: so the device is asked with `/get` afterwards. Of the few that cannot be asked (Tuya's TS0601) that
    they took the command has to do. A timed on publishes nothing by itself. Its timer (`timer` as configured: who has
    one cannot be seen) exists for closing only; an opened relay stays open.
    """

    def __init__(self, broker: Broker, name: str, channel: str = "", *, timer: bool = False) -> None:
        self.peer = f"{broker.zigbee_base}/{name}"
        self.timer = timer
        self._broker = broker
        self._taken: State | None = None
        self._property = f"state_{channel}" if channel else "state"

    async def tell(self, on: bool, for_: float | None) -> None:  # noqa: FBT001 - see `Way`, as the others
        """Set its state; `for_` is cut to `LONGEST_ON`."""
        self._check_bridge()
        self._taken = None
        state = "ON" if on else "OFF"
        topic, wanted = f"{self.peer}/set", {self._property: state}
        if on and for_ is not None:
            self._broker.publish(topic, orjson.dumps({**wanted, "on_time": round(min(for_, LONGEST_ON), 1)}), qos=0)
            return

        def accept(payload: bytes) -> State | None:
            found = self._state(payload)
            return found if found is _STATES[state] else None

        with suppress(Unavailable):  # some are configured to say nothing by themselves; `look` finds out
            self._taken = await self._broker.request(topic, orjson.dumps(wanted), self.peer, accept, TAKEN)

    async def look(self) -> State:
        """Let Zigbee2MQTT ask the device."""
        self._check_bridge()
        question, timeout = orjson.dumps({self._property: ""}), TIMEOUT if self._taken is None else READ
        try:
            return await self._broker.request(f"{self.peer}/get", question, self.peer, self._state, timeout)
        except Unavailable:
            if self._taken is None:
                raise
            return self._taken

    def _state(self, payload: bytes) -> State | None:
        value = json_payload.parse(payload).get(self._property)
        return _STATES.get(value) if type(value) is str else None

    def _check_bridge(self) -> None:
        if self._broker.zigbee_online is False:
            raise Unavailable(f"Zigbee2MQTT is offline, so that {self.peer} cannot be reached")
