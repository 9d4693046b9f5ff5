"""Shelly Gen1 by MQTT: `shellies/<id>/relay/0/command`, and `update`, upon which the device tells all it knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_energy.relays.drivers.way import State

if TYPE_CHECKING:
    from edge_energy.relays.drivers.way import Broker

TIMEOUT = 10.0
_STATES = {b"on": State(True), b"off": State(False), b"overpower": State(False, "overpower")}


class ShellyGen1Mqtt:
    """One output of a device. Its timer cannot be set by MQTT."""

    timer = False

    def __init__(self, broker: Broker, prefix: str, output: int) -> None:
        self.peer = prefix
        self._broker = broker
        self._topic = f"{prefix}/relay/{output}"

    async def tell(self, on: bool, for_: float | None) -> None:  # noqa: ARG002, FBT001 - see `Way`, as the others
        """Publish the command."""
        self._broker.publish(f"{self._topic}/command", b"on" if on else b"off", qos=0)

    async def look(self) -> State:
        """Ask for everything; `overpower` stands where the device has opened the relay because of it."""
        return await self._broker.request(f"{self.peer}/command", b"update", self._topic, _STATES.get, TIMEOUT)
