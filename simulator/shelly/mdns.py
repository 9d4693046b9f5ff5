"""Announces the devices by multicast DNS, on the loopback interface only."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from simulator.shelly.gen2 import Gen2Device
from simulator.shelly.product import GEN1_FIRMWARE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from simulator.shelly.gen1 import Gen1Device

ADDRESS = "127.0.0.1"
KINDS = ("_http._tcp.local.", "_shelly._tcp.local.")  # Gen1 knows the first only


@contextlib.asynccontextmanager
async def announced(devices: Sequence[tuple[Gen1Device | Gen2Device, int]]) -> AsyncIterator[None]:
    """Announce each device with its port, as _http._tcp and, from Gen2 on, as _shelly._tcp."""
    from zeroconf import IPVersion  # noqa: PLC0415 - needed only where announcing is wanted
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf  # noqa: PLC0415

    zeroconf = AsyncZeroconf(interfaces=[ADDRESS], ip_version=IPVersion.V4Only)
    try:
        services = [
            AsyncServiceInfo(
                kind,
                f"{device.identity.id}.{kind}",
                addresses=[socket.inet_aton(ADDRESS)],
                port=port,
                properties=_properties(device),
                server=f"{device.identity.id}.local.",
            )
            for device, port in devices
            for kind in KINDS[: device.identity.product.gen]
        ]
        await asyncio.gather(*(zeroconf.async_register_service(service) for service in services))
        yield
    finally:
        await zeroconf.async_unregister_all_services()
        await zeroconf.async_close()


def _properties(device: Gen1Device | Gen2Device) -> dict[str, str]:
    if isinstance(device, Gen2Device):
        info = device.info()
        return {"gen": "2", "app": info["app"], "ver": info["ver"]}
    return {"id": device.identity.id, "fw_id": GEN1_FIRMWARE, "arch": "esp8266"}
