"""Where a device is, and by which address it can reach us. Only places of the local network are taken."""

from __future__ import annotations

import asyncio
import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

from edge_energy.config import values
from edge_energy.errors import EdgeEnergyError, Unavailable

HTTP_PORT = 80
LOOKUP_TIMEOUT = 5.0
_PLACE = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::([0-9]{1,5}))?")
_LOCAL = [
    ip_network(network)
    for network in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),  # private
        *("169.254.0.0/16", "fe80::/10"),  # link-local
        *("127.0.0.0/8", "::1/128"),
    )
]


class BadAddress(EdgeEnergyError):  # noqa: N818 - a wrong argument
    """An address that nothing is done with, and why."""


class Place(NamedTuple):
    """A host (name or address) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def place(text: str, port: int = HTTP_PORT) -> Place:
    """Return the parts of HOST or HOST:PORT (IPv6 in brackets where a port follows). Raises `BadAddress`."""
    found = _PLACE.fullmatch(text)
    host, number = (text, port) if found is None else (found[1] or found[2], int(found[3] or port))
    try:
        host = values.host(host)
        good = "[" not in text or found is not None
    except ValueError:
        good = False
    if not (good and 0 < number < 65536):
        raise BadAddress(f"{text[:100]!r} is no address: expected a host name or an IP address, or HOST:PORT")
    return Place(host, number)


def local(address: str) -> bool:
    """Tell whether an IP address is private, link-local or of this machine."""
    found: IPv4Address | IPv6Address = ip_address(address)
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in network for network in _LOCAL if network.version == found.version)


async def locate(wanted: Place) -> Place:
    """Return the IP address of a device in the local network.

    What was looked up once is what is connected to. Raises `BadAddress` where it is elsewhere, `Unavailable`
    where nobody knows the name.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT):
            found = await loop.getaddrinfo(wanted.host, wanted.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise Unavailable(f"nobody knows the name {wanted.host}: use the device's IP address") from None
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if local(address):
            return Place(address, wanted.port)
    name = wanted.host if wanted.host == addresses[0] else f"{wanted.host} ({addresses[0]})"
    raise BadAddress(f"{name} is outside of the local network (private, link-local and loopback addresses)")


def own_address(device: str) -> str:
    """Return our address on the way to a device (an IP address). Nothing is sent. Raises `BadAddress`."""
    family = socket.AF_INET6 if ":" in device else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as way:
            way.connect((device, 9))
            address = str(way.getsockname()[0])
    except OSError as error:
        raise BadAddress(f"there is no way to {device} ({error.strerror}); name our address with --server") from None
    if "%" in address or address.startswith("fe80:"):
        raise BadAddress(
            f"our address towards {device} is link-local, no device can use that: name one with --server"
        )
    return address
