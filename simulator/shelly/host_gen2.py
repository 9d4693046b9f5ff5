"""A Gen2 device on the network: HTTP, WebSockets both ways, webhooks, MQTT."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from simulator.shelly.callers import Caller
from simulator.shelly.channel import Channels
from simulator.shelly.gen2 import Gen2Device
from simulator.shelly.host import Host
from simulator.shelly.http_gen2 import Gen2Http
from simulator.shelly.mqtt_link import broker
from simulator.shelly.node import Node
from simulator.shelly.outbound import connect_forever
from simulator.shelly.topics import Gen2Topics

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiohttp import web

    from simulator.shelly.limiter import Limiter
    from simulator.shelly.moment import Moment


class Gen2Host(Host[Gen2Device]):
    """A Gen2 device with WebSockets, webhooks and MQTT."""

    def __init__(
        self, device: Gen2Device, now: Callable[[], Moment], port: int, boot_time: float, limiter: Limiter
    ) -> None:
        super().__init__(device, now, port, boot_time)
        self._node = Node(device, limiter, self.counts, time.monotonic)
        self._channels = Channels(self._node, self.faults, self.counts)
        self._caller = Caller(self.counts)
        self._topics: Gen2Topics | None = None

    def application(self) -> web.Application:
        """Make the HTTP application."""
        return Gen2Http(self._node, self._channels, self.faults, self.flush).application()

    def services(self) -> list[Coroutine[Any, Any, None]]:
        """Give the outgoing connections that the configuration asks for."""
        self._caller.forget()
        self._topics = None
        services = [connect_forever(self.device.ws, self._channels), self._caller.run()]
        config = self.device.mqtt.active
        if config["enable"] and config["server"]:
            self._topics = Gen2Topics(self.device, self._node.methods)
            address = broker(config["server"], config["user"], self.device.mqtt.secrets["pass"])
            services.append(self.mqtt.run(address, self._topics))
        return services

    def flush(self) -> None:
        """Send notifications to everybody, and call webhooks."""
        self._caller.call(self.device.take_calls())
        if news := self.device.take_news():
            self._channels.tell(news)
            if self._topics:
                self.mqtt.publish(self._topics.news(news))

    def tell_mqtt(self, connected: bool) -> None:  # noqa: FBT001
        """Show it in the status."""
        self.device.mqtt.connected = connected
