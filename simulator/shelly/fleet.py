"""Several devices at once, each behind its circuit of the house, and the control door beside them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from aiohttp import web

from simulator import house as rooms
from simulator.installation import SHELLY
from simulator.noise import generator
from simulator.shelly.control import Control
from simulator.shelly.digest import NONCE_LIFE, Digest
from simulator.shelly.gen1 import Gen1Device
from simulator.shelly.gen2 import Gen2Device
from simulator.shelly.host import ADDRESS
from simulator.shelly.host_gen1 import Gen1Host
from simulator.shelly.host_gen2 import Gen2Host
from simulator.shelly.limiter import Limiter
from simulator.shelly.mdns import announced
from simulator.shelly.moment import Clock, Moment
from simulator.shelly.product import PRODUCTS, Identity
from simulator.shelly.timed_relay import Quirks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.house import House
    from simulator.outlet import Outlet
    from simulator.supply import Supply

FIRMWARE_2_RATE = 10.0  # requests a second


@dataclass(frozen=True)
class Settings:
    """How the devices come from the shop, and on which ports they listen; 0 is any port."""

    devices: Sequence[str] = tuple(PRODUCTS)
    ports: Sequence[int] = ()
    control_port: int = 0
    password: str | None = None
    firmware: int = 1
    rate_limit: float | None = None
    nonce_life: float = NONCE_LIFE
    ntp_delay: float = 0.5
    boot_time: float = 1.0
    server: str | None = None
    mqtt_port: int | None = None
    status_ntf: bool = False
    mdns: bool = False
    timer_clicks: bool = False
    no_restart: bool = False

    @property
    def quirks(self) -> Quirks:
        """What all relays do that they should not."""
        return Quirks(self.timer_clicks, self.no_restart)


class Fleet:
    """The devices of one run."""

    def __init__(self, house: House, settings: Settings, seed: int) -> None:
        self._house = house
        self._settings = settings
        self._seed = seed
        self.control_port = settings.control_port
        self.hosts: list[Gen1Host | Gen2Host] = []

    async def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Start everything, report names and ports, and go on until cancelled."""
        self.hosts = self._make_hosts()
        runner = web.AppRunner(Control(self.hosts).application(), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, ADDRESS, self._settings.control_port)
        try:
            await site.start()
        except OSError as error:
            raise click.ClickException(f"control port {self.control_port}: {error.strerror}; name another") from error
        self.control_port = runner.addresses[0][1]
        tasks = [asyncio.ensure_future(host.run()) for host in self.hosts]
        announcer = asyncio.ensure_future(self._announce(ready))
        try:
            await asyncio.gather(announcer, *tasks)
        finally:
            for task in (announcer, *tasks):
                task.cancel()
            await asyncio.gather(announcer, *tasks, return_exceptions=True)
            await runner.cleanup()

    async def _announce(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Report when everybody listens, and tell the network if wanted."""
        for host in self.hosts:
            await host.listening.wait()
        devices = [
            {"name": identity.name, "id": identity.id, "mac": identity.mac, "gen": identity.product.gen, "port": port}
            for identity, port in ((host.device.identity, host.port) for host in self.hosts)
        ]
        if not self._settings.mdns:
            ready({"control": self.control_port, "devices": devices})
            return
        async with announced([(host.device, host.port) for host in self.hosts]):
            ready({"control": self.control_port, "devices": devices})
            await asyncio.Event().wait()

    def _make_hosts(self) -> list[Gen1Host | Gen2Host]:
        """Put the first device of a product at its circuit, a further one at an extra circuit."""
        hosts: list[Gen1Host | Gen2Host] = []
        seen: Counter[str] = Counter()
        free = iter(sorted(name for name in self._house.outlets if name.startswith(rooms.EXTRA.partition("{")[0])))
        for number, product in enumerate(self._settings.devices):
            seen[product] += 1
            first = seen[product] == 1
            identity = Identity(product if first else f"{product}-{seen[product]}", PRODUCTS[product])
            port = self._settings.ports[number] if number < len(self._settings.ports) else 0
            if identity.product.relay:
                circuit = SHELLY[product] if first else next(free)
                hosts.append(self._host(identity, self._house.outlets[circuit], port))
                if isinstance(hosts[-1], Gen2Host):
                    hosts[-1].device.system.config["device"]["name"] = circuit
            else:
                hosts.append(self._gen2(identity, self._house.supply, port))
        return hosts

    def _host(self, identity: Identity, outlet: Outlet, port: int) -> Gen1Host | Gen2Host:
        if identity.product.gen == 2:
            return self._gen2(identity, outlet, port)
        settings = self._settings
        device = Gen1Device(identity, outlet, Clock(settings.ntp_delay), settings.password)
        device.relay.quirks = settings.quirks
        if settings.mqtt_port:
            device.mqtt_server = f"{ADDRESS}:{settings.mqtt_port}"
        return Gen1Host(device, self._now, port, settings.boot_time)

    def _gen2(self, identity: Identity, source: Outlet | Supply, port: int) -> Gen2Host:
        settings = self._settings
        rng = generator(self._seed, f"{identity.name} nonces")
        digest = Digest(identity.id, settings.firmware, rng, settings.nonce_life)
        if settings.password:
            digest.set_password(settings.password)
        device = Gen2Device(identity, source, Clock(settings.ntp_delay), digest, settings.firmware)
        if device.switch:
            device.switch.relay.quirks = settings.quirks
        if settings.server:
            device.ws.configure({"enable": True, "server": settings.server, "ssl_ca": "*"})
        if settings.mqtt_port:
            server = f"{ADDRESS}:{settings.mqtt_port}"
            device.mqtt.configure({"enable": True, "server": server, "status_ntf": settings.status_ntf})
        rate = settings.rate_limit
        if rate is None:
            rate = FIRMWARE_2_RATE if settings.firmware == 2 else 0
        return Gen2Host(device, self._now, port, settings.boot_time, Limiter(rate))

    def _now(self) -> Moment:
        return Moment(time.monotonic(), time.time(), self._house.now)
