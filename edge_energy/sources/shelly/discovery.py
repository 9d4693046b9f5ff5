"""Which Shelly devices there are: those that announce themselves by mDNS, and those that were heard."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_energy.clock import uptime
from edge_energy.devices import shelly_rpc
from edge_energy.errors import Unavailable
from edge_energy.sources.shelly import addresses
from edge_energy.ways import SHELLY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zeroconf import ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

    from edge_energy.live import Live
    from edge_energy.ways import Ways

MOST_FOUND = 500  # announcements; a house has a hundred, and anybody can announce
LONGEST_SEARCH = 30.0  # seconds
_ANSWER = 3.0  # s in which a device that announced itself has to tell its address
_TYPES = ("_shelly._tcp.local.", "_http._tcp.local.")  # Gen2 and later; all
_LONGEST = 64
_SECOND = 1_000_000_000


class Found(NamedTuple):
    """What one announcement says; `generation` is 0 where it says nothing of it."""

    id: str
    device: str | None
    address: str
    port: int
    generation: int
    model: str
    version: str


class Discovery:
    """Answers both, with the ways by which each device is heard."""

    def __init__(self, live: Live, ways: Ways) -> None:
        self._live = live
        self._ways = ways

    async def find(self, seconds: float, interface: str | None = None) -> list[dict[str, Any]]:
        """Listen to announcements on all interfaces, or on the one with this address. Raises `Unavailable`."""
        found = await _announced(min(seconds, LONGEST_SEARCH), interface)
        return [{**each._asdict(), "ways": self._heard(each.device) if each.device else {}} for each in found]

    def known(self) -> list[dict[str, Any]]:
        """Return every Shelly that was heard since the start; `ways` with the seconds since each told something."""
        return [
            {
                "device": device,
                "name": state.name,
                "model": state.model,
                "address": state.address,
                "available": state.available,
                "ways": self._heard(device),
            }
            for device, state in sorted(self._live.devices.items())
            if device.startswith(SHELLY)
        ]

    def _heard(self, device: str) -> dict[str, float]:
        now = uptime()
        return {way: round((now - at) / _SECOND, 1) for way, at in self._ways.heard(device).items()}


async def _announced(seconds: float, interface: str | None) -> list[Found]:
    from zeroconf import DNSQuestionType, InterfaceChoice  # noqa: PLC0415 - 4 MB of memory that only this command needs
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf  # noqa: PLC0415

    try:
        if interface is not None:  # zeroconf leaves sockets open when it fails for this
            _check(interface)
        zeroconf = AsyncZeroconf(interfaces=[interface] if interface else InterfaceChoice.All)
    except (OSError, RuntimeError, ValueError) as error:
        raise Unavailable(f"nobody can be asked by mDNS (UDP port 5353, multicast): {error}") from None
    names: dict[str, str] = {}

    def seen(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        del zeroconf, state_change
        if name.lower().startswith("shelly") and len(names) < MOST_FOUND:
            names[name] = service_type

    async with zeroconf:
        # Answers to us alone (QU, the usual first question) may reach another listener on the port, such as Avahi.
        browser = AsyncServiceBrowser(
            zeroconf.zeroconf, list(_TYPES), handlers=[seen], question_type=DNSQuestionType.QM
        )
        try:
            await asyncio.sleep(seconds)
        finally:
            await browser.async_cancel()
        answers = await asyncio.gather(*(_details(zeroconf, name, kind) for name, kind in names.items()))
    return merged([each for each in answers if each is not None])


def _check(interface: str) -> None:
    """Raise OSError unless an address is one of this machine."""
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((interface, 0))


async def _details(zeroconf: AsyncZeroconf, name: str, service_type: str) -> Found | None:
    from zeroconf import DNSQuestionType  # noqa: PLC0415
    from zeroconf.asyncio import AsyncServiceInfo  # noqa: PLC0415

    info = AsyncServiceInfo(service_type, name)
    if not await info.async_request(zeroconf.zeroconf, _ANSWER * 1000, question_type=DNSQuestionType.QM):
        return None
    return found(name.removesuffix(f".{service_type}"), _addresses(info), info.port or 0, info.decoded_properties)


def _addresses(info: AsyncServiceInfo) -> list[str]:
    from zeroconf import IPVersion  # noqa: PLC0415

    return info.parsed_scoped_addresses(IPVersion.V4Only) + info.parsed_scoped_addresses(IPVersion.V6Only)


def found(name: str, places: list[str], port: int, properties: Mapping[str, str | None]) -> Found | None:
    """Return what an announcement says, or None where it leads to no device of the local network."""
    address = next((each for each in places if addresses.local(each)), None)
    if address is None or not 0 < port < 65536:
        return None
    generation = _text(properties.get("gen")) or ("1" if _gen1(name) else "0")
    return Found(
        id=_text(name),
        device=shelly_rpc.device_id(name),
        address=address,
        port=port,
        generation=int(generation) if generation in tuple("12345678") else 0,
        model=_text(properties.get("app")),
        version=_text(properties.get("ver")),
    )


def merged(announcements: list[Found]) -> list[Found]:
    """Return each device once, with what its announcements (of two types) say together."""
    devices: dict[str, Found] = {}
    for each in sorted(announcements, key=lambda each: each.generation, reverse=True):
        devices.setdefault(each.device or each.id.lower(), each)
    return sorted(devices.values(), key=lambda each: each.id)


def _gen1(name: str) -> bool:
    """Tell whether a name is of the first generation: those end in half a MAC address, or announce nothing else."""
    return len(name.rpartition("-")[2]) == 6


def _text(value: str | None) -> str:
    """Return what a stranger announces as a text that can be shown."""
    return "".join(letter for letter in (value or "")[:_LONGEST] if letter.isprintable())
