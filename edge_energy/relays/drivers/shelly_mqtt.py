"""A Shelly's remote procedures (Gen2 and later) by way of a broker: `<prefix>/rpc`, answered on `<source>/rpc`."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from edge_energy.devices import shelly_rpc
from edge_energy.errors import Unavailable

if TYPE_CHECKING:
    from edge_energy.devices.shelly_rpc import Frame
    from edge_energy.relays.drivers.way import Broker

TIMEOUT = 10.0
_TOO_MANY = 429


class MqttCalls:
    """Calls the methods of one device. No password is needed: who may publish at the broker may switch."""

    def __init__(self, broker: Broker, prefix: str, device: str) -> None:
        self.peer = prefix
        self._broker = broker
        self._device = device

    async def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Return the result of a method. Raises `RpcError` and `Unavailable`."""
        number, source = secrets.randbits(31), self._broker.rpc_source

        def accept(payload: bytes) -> Frame | None:
            frame = shelly_rpc.parse_frame(payload)
            mine = frame.method is None and frame.id == number and shelly_rpc.device_id(frame.src) == self._device
            return frame if mine else None

        request = shelly_rpc.request(number, method, params, src=source)
        frame = await self._broker.request(f"{self.peer}/rpc", request, f"{source}/rpc", accept, TIMEOUT)
        if frame.error is None:
            return frame.result
        code, message = frame.error
        if code == _TOO_MANY:
            raise Unavailable(f"{self.peer} has too many requests to answer (429)")
        raise shelly_rpc.RpcError(code, message)
