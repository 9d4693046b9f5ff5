"""Tells a broker of all devices: what they measure, and, for Home Assistant, what they are."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from edge_energy.config import Homeassistant
from edge_energy.errors import JournalFull, Unavailable
from edge_energy.relays.homeassistant import AVAILABLE, MOST_QUANTITIES, Device, Topics, discovery

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edge_energy.config import Settings
    from edge_energy.interfaces import Recorder
    from edge_energy.live import DeviceState, Live
    from edge_energy.relays.mqtt_door import Broker

EVERY = 10.0  # seconds; no device is told of more often
FIRST = 2.0  # seconds after a connect, in which devices tell their names
SOON = 60.0  # seconds until the names of quantities are on disk
MOST_DEVICES = 500  # a house has a hundred; who invents names must not fill Home Assistant
QUANTITIES = "homeassistant/"
"""Of keys in the journal's state: which quantities Home Assistant was told of, by device."""


class DeviceNews:
    """A component for one broker. Publishes what is new of each device, retained, and everything after each connect.

    A device that was told of keeps all the quantities that it ever had: after a restart they come one by one, and
    what is left out meanwhile would vanish from Home Assistant at its own restart.
    """

    def __init__(  # noqa: PLR0913 - what is told, to whom, and what was
        self,
        broker: Broker,
        settings: Settings,
        live: Live,
        recorder: Recorder,
        kept: Mapping[str, Sequence[str]],
        *,
        switches: bool,
    ) -> None:
        """`kept` is what the journal's state has under `QUANTITIES`; `switches`: relays can be switched here."""
        self.name = f"device news at {broker.name}"
        self.up = asyncio.Event()
        self._broker = broker
        self._topics = Topics(settings.appliance.id, (settings.homeassistant or Homeassistant()).prefix)
        self._live = live
        self._recorder = recorder
        self._switches = switches
        self._relays: dict[str, dict[str, str]] = {}
        for relay in settings.relay:
            self._relays.setdefault(relay.device, {})[relay.output] = relay.id
        self._quantities = {key.removeprefix(QUANTITIES): set(names) for key, names in kept.items()}
        self._told: dict[str, bytes] = {}
        """By topic: what this connection was told."""

    async def run(self) -> None:
        """Tell until cancelled."""
        self.up.set()
        seen = 0
        while True:
            connection = await self._broker.wait_connected(0)
            if connection != seen:
                seen = connection
                self._told.clear()
                await asyncio.sleep(FIRST)
            with suppress(Unavailable):
                self.tell()
            await asyncio.sleep(EVERY)

    def tell(self) -> None:
        """Publish what is new; raises `Unavailable`."""
        for device in [*self._relays, *sorted(self._live.devices.keys() - self._relays.keys())][:MOST_DEVICES]:
            known = self._live.devices.get(device)
            values = dict(known.values) if known else {}
            relays = self._relays.get(device, {})
            if not values and not relays:
                continue
            quantities = self._remember(device, values) | relays.keys()
            named = Device(device, known.name, known.model) if known else Device(device, device)
            about = discovery(self._topics, named, quantities, relays if self._switches else {})
            self._publish(self._topics.discovery(device), about)
            self._publish(self._topics.device(device), _state(known))

    def _publish(self, topic: str, body: dict[str, Any]) -> None:
        payload = orjson.dumps(body)
        if self._told.get(topic) != payload:
            self._broker.publish(topic, payload, retain=True)
            self._told[topic] = payload

    def _remember(self, device: str, names: Iterable[str]) -> set[str]:
        known = self._quantities.setdefault(device, set())
        new = sorted({*names} - known)[: MOST_QUANTITIES - len(known)]
        if new:
            known.update(new)
            with suppress(JournalFull):  # then it is kept when the next one comes
                self._recorder.record([], SOON, {f"{QUANTITIES}{device}": sorted(known)})
        return known


def _state(known: DeviceState | None) -> dict[str, Any]:
    state: dict[str, Any] = {} if known is None else dict(known.values)
    if known is not None and known.available is not None:
        state[AVAILABLE] = known.available
    return state
