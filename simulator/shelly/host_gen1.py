"""A Gen1 device on the network: HTTP and MQTT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.shelly.gen1 import Gen1Device
from simulator.shelly.host import Host
from simulator.shelly.http_gen1 import Gen1Http
from simulator.shelly.mqtt_link import broker
from simulator.shelly.topics import Gen1Topics

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiohttp import web

    from simulator.shelly.moment import Moment


class Gen1Host(Host[Gen1Device]):
    """A Gen1 device with MQTT."""

    def __init__(self, device: Gen1Device, now: Callable[[], Moment], port: int, boot_time: float) -> None:
        super().__init__(device, now, port, boot_time)
        self._topics = Gen1Topics(device)

    def application(self) -> web.Application:
        """Make the HTTP application."""
        return Gen1Http(self.device, self.faults, self.counts, self.flush).application()

    def services(self) -> list[Coroutine[Any, Any, None]]:
        """Give the MQTT connection, if there is to be one."""
        if not self.device.mqtt_server:
            return []
        return [self.mqtt.run(broker(self.device.mqtt_server, None, None), self._topics)]

    def flush(self) -> None:
        """Publish what changed."""
        self.mqtt.publish(self._topics.news(self.device.take_topics()))

    def tell_mqtt(self, connected: bool) -> None:  # noqa: FBT001
        """Show it in the status."""
        self.device.mqtt_connected = connected
