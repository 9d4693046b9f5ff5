"""Which connections with a device there are now, for whoever wants to switch it. Nothing is opened here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_energy.sources.shelly.patient import patiently

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_energy.sources.shelly.device import ShellyDevice
    from edge_energy.sources.shelly.http_rpc import HttpRpc
    from edge_energy.sources.shelly.outbound import OutboundSockets
    from edge_energy.sources.shelly.session import Session

GEN1 = "gen1"


class PatientCalls:
    """Calls a device's methods over one connection; where it has too many requests to answer, again after a pause."""

    def __init__(self, connection: Session | HttpRpc) -> None:
        self.connection = connection
        self.peer = connection.peer

    async def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Return the result of a method. Raises `shelly_rpc.RpcError` and `Unavailable`."""
        return await patiently(lambda: self.connection.call(method, params))


class Reach:
    """The devices that are read at their addresses, and those that have dialled us."""

    def __init__(self, devices: Sequence[ShellyDevice], outbound: OutboundSockets) -> None:
        self._devices = devices
        self._outbound = outbound

    def calls(self, device: str) -> Iterator[PatientCalls]:
        """Yield what calls the methods of "shelly-…" (Gen2 and later), best first; nothing while it is away.

        The device's own WebSocket has proved that it lives, and needs no password; HTTP is for when both fail.
        """
        if (dialled := self._outbound.sessions.get(device)) is not None:
            yield PatientCalls(dialled)
        for each in self._reading(device):
            if each.session is not None:
                yield PatientCalls(each.session)
            if each.way != GEN1:
                yield PatientCalls(each.rpc)

    def pages(self, device: str) -> Iterator[HttpRpc]:
        """Yield what gets the pages of "shelly-…" of Gen1."""
        for each in self._reading(device):
            if each.way == GEN1:
                yield each.rpc

    def _reading(self, device: str) -> Iterator[ShellyDevice]:
        """Yield those who read this device now."""
        for each in self._devices:
            if each.way and each.identity is not None and each.identity.device == device:
                yield each
