"""What relays and others use of a broker: how to say something, whom it knows, and under which names."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_energy.sources.mqtt.exchange import Exchange, Letterbox
    from edge_energy.sources.mqtt.routes import Routes

T = TypeVar("T")


class Outward:
    """The side of a source that is turned to the rest of the daemon."""

    def __init__(self, exchange: Exchange, routes: Routes) -> None:
        self.exchange = exchange
        self.routes = routes

    @property
    def letterbox(self) -> Letterbox | None:
        """Who takes what others send to our own topics; set before `run`."""
        return self.exchange.letterbox

    @letterbox.setter
    def letterbox(self, letterbox: Letterbox) -> None:
        self.exchange.letterbox = letterbox

    @property
    def rpc_source(self) -> str:
        """The `src` of JSON-RPC requests to Shelly devices; the answers come on this topic and `/rpc`."""
        return self.exchange.rpc_source

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """See `Exchange.publish`."""
        self.exchange.publish(topic, payload, qos=qos, retain=retain)

    async def request(
        self, topic: str, payload: bytes, answers: str, accept: Callable[[bytes], T | None], timeout: float
    ) -> T:
        """See `Exchange.request`."""
        return await self.exchange.request(topic, payload, answers, accept, timeout)

    async def wait_connected(self, seen: int) -> int:
        """See `Exchange.wait_connected`."""
        return await self.exchange.wait_connected(seen)

    @property
    def zigbee_base(self) -> str:
        """The base topic of this broker's Zigbee2MQTT, empty for none."""
        return self.routes.base

    @property
    def zigbee_online(self) -> bool | None:
        """Whether that Zigbee2MQTT says that it is there; None while it has said nothing."""
        return None if self.routes.bridge is None else self.routes.bridge.online

    def zigbee_name(self, device: str) -> str | None:
        """Return the friendly name of a device of that Zigbee2MQTT, None for any other device."""
        bridge = self.routes.bridge
        known = () if bridge is None else bridge.devices()
        return next((found.name for found in known if found.id == device), None)

    def shelly_prefix(self, device: str) -> str | None:
        """Return what the topics of a Shelly begin with ("shellies/<id>" for Gen1), None until it was heard here."""
        return self.routes.shelly.prefix(device)
