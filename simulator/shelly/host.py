"""One device on the network: lets it live, serves it, cuts it off, boots it again."""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import click
from aiohttp import web

from simulator.shelly.counts import Counts
from simulator.shelly.faults import Faults
from simulator.shelly.gate import Connections, Gate
from simulator.shelly.gen1 import Gen1Device
from simulator.shelly.gen2 import Gen2Device
from simulator.shelly.mqtt_link import MqttLink

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from simulator.shelly.moment import Moment

Device = TypeVar("Device", Gen1Device, Gen2Device)

ADDRESS = "127.0.0.1"
TICK = 0.1
SHUTDOWN = 0.1  # seconds that requests under way get when the server goes


class Host(ABC, Generic[Device]):
    """One device with its server and its connections; the port stays the same once it is known."""

    def __init__(self, device: Device, now: Callable[[], Moment], port: int, boot_time: float) -> None:
        self.device: Device = device
        self.port = port
        self.faults = Faults()
        self.counts = Counts()
        self.connections = Connections()
        self.listening = asyncio.Event()
        self.mqtt = MqttLink(self.tell_mqtt)
        self._now = now
        self._boot_time = boot_time
        self._booted = asyncio.Event()
        self._boots_at = -math.inf
        self._reachable_at = -math.inf
        self._cut = asyncio.Event()

    @abstractmethod
    def application(self) -> web.Application:
        """Make the HTTP application."""

    @abstractmethod
    def services(self) -> list[Coroutine[Any, Any, None]]:
        """Give what runs besides the server while there is a network."""

    @abstractmethod
    def flush(self) -> None:
        """Send out what the device has to tell."""

    @abstractmethod
    def tell_mqtt(self, connected: bool) -> None:  # noqa: FBT001 - a callback with one argument
        """Let the device know whether it is connected to the broker."""

    @property
    def running(self) -> bool:
        """Whether the device has booted."""
        return self._booted.is_set()

    async def run(self) -> None:
        """Live until cancelled."""
        await asyncio.gather(self._tick(), self._network())

    def reboot(self, *, reset_counters: bool = False) -> None:
        """Begin a reboot; what is connected is cut off."""
        if reset_counters:
            self.device.meter.reset_counters()
        self._boots_at = time.monotonic() + self._boot_time
        self._booted.clear()
        self._cut.set()

    def lose_network(self, seconds: float) -> None:
        """Be unreachable for so long; the device itself goes on."""
        self._reachable_at = time.monotonic() + seconds
        self._cut.set()

    async def _tick(self) -> None:
        while True:
            now = self._now()
            if not self.running and now.monotonic >= self._boots_at:
                self.counts.boots += 1
                self.device.boot(now)
                self._booted.set()
            if self.running:
                self.device.advance(now)
                self.flush()
                if now.monotonic >= self.device.reboot_at:
                    self.reboot()
            await asyncio.sleep(TICK)

    async def _network(self) -> None:
        while True:
            await self._booted.wait()
            if (unreachable := self._reachable_at - time.monotonic()) > 0:
                await asyncio.sleep(unreachable)
            else:
                self._cut.clear()
                await self._serve()

    async def _serve(self) -> None:
        """Be reachable until cut off."""
        runner = web.AppRunner(
            self.application(), access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN
        )
        await runner.setup()
        server = await self._listen(lambda: Gate(self.connections, cast("web.Server", runner.server)))
        tasks = [asyncio.ensure_future(service) for service in self.services()]
        try:
            self.listening.set()
            await self._cut.wait()
        finally:
            server.close()
            self.connections.cut()
            for task in tasks:
                task.cancel()
            await runner.cleanup()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, gate: Callable[[], Gate]) -> asyncio.Server:
        while True:
            try:
                server = await asyncio.get_running_loop().create_server(gate, ADDRESS, self.port)
            except OSError as error:  # after a boot: somebody else's for a moment
                if not self.listening.is_set():
                    raise click.ClickException(
                        f"{ADDRESS}:{self.port}: {error.strerror}; name another port"
                    ) from error
                await asyncio.sleep(TICK)
            else:
                self.port = server.sockets[0].getsockname()[1]
                return server
