"""The current state of every device: what was last seen, before any commit."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_energy.config.values import loopback

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge_energy.reading import Reading, Values


@dataclass(slots=True)
class DeviceState:
    """What is known of one device now. `time` is UTC nanoseconds of its newest live reading."""

    name: str
    model: str = ""
    address: str = ""
    available: bool | None = None
    time: int | None = None
    values: Values = field(default_factory=dict)


class Live:
    """Hands readings on the moment they are decoded: synchronously, in order of arrival.

    Only sources call `update`, and never with what was redelivered, cached or late.
    """

    def __init__(self) -> None:
        self.devices: dict[str, DeviceState] = {}
        self.updates = 0
        self._at: dict[str, str] = {}
        self._reached: dict[str, set[str]] = {}
        self._listeners: dict[str, list[asyncio.Queue[Reading]]] = {}

    def update(self, reading: Reading) -> None:
        """Take a live reading: its values replace the device's of the same names."""
        device, time, values = reading
        state = self.devices.get(device)
        if state is None:
            state = self.devices[device] = DeviceState(device)
        state.values.update(values)
        state.time = time
        self.updates += 1
        for queue in self._listeners.get(device, ()):
            queue.put_nowait(reading)

    @contextmanager
    def listening(self, devices: Iterable[str]) -> Iterator[asyncio.Queue[Reading]]:
        """Give a queue that gets every live reading of these devices, in order, until the block ends."""
        queue: asyncio.Queue[Reading] = asyncio.Queue()
        wanted = set(devices)
        for device in wanted:
            self._listeners.setdefault(device, []).append(queue)
        try:
            yield queue
        finally:
            for device in wanted:
                self._listeners[device].remove(queue)
                if not self._listeners[device]:
                    del self._listeners[device]

    def describe(self, device: str, name: str, model: str) -> None:
        """Take a device's friendly name and model."""
        state = self.devices.setdefault(device, DeviceState(device))
        state.name = name
        state.model = model

    def availability(self, device: str, *, available: bool, by: str = "") -> None:
        """Take whether the device can be reached by one of its ways; it is available as long as it is by any."""
        reached = self._reached.setdefault(device, set())
        if available:
            reached.add(by)
        else:
            reached.discard(by)
        self.devices.setdefault(device, DeviceState(device)).available = bool(reached)

    def locate(self, device: str, address: str) -> None:
        """Take the network address that a device has now."""
        state = self.devices.setdefault(device, DeviceState(device))
        if self._at.get(state.address) == device:
            del self._at[state.address]
        state.address = address
        if not loopback(address):  # where devices are simulated, and scripts call from
            self._at[address] = device

    def at(self, address: str) -> str | None:
        """Return the device that was last seen at an address."""
        return self._at.get(address)
