"""Simulated devices with a relay, each reached by one way: what the contract suite of relays runs over."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from edge_energy.api.guard import TOKEN
from edge_energy.api.shelly_socket import shelly_application
from edge_energy.clock import Clock
from edge_energy.collector import Collector
from edge_energy.config import Mqtt, Relay, Shelly
from edge_energy.devices.shelly_rpc import device_id
from edge_energy.increments import Increments
from edge_energy.live import Live
from edge_energy.relays.drivers.choice import Choice
from edge_energy.relays.drivers.shelly_gen1 import ShellyGen1
from edge_energy.relays.drivers.shelly_gen1_mqtt import ShellyGen1Mqtt
from edge_energy.relays.drivers.shelly_gen2 import ShellyGen2
from edge_energy.relays.drivers.zigbee2mqtt import Zigbee2Mqtt
from edge_energy.sources.mqtt.source import MqttSource
from edge_energy.sources.shelly.device import ShellyDevice
from edge_energy.sources.shelly.http_rpc import WebSocketRefused
from edge_energy.sources.shelly.outbound import OutboundSockets
from edge_energy.sources.shelly.reach import Reach
from edge_energy.supervisor import Supervisor
from edge_energy.ways import Ways
from tests.servers.shelly import SimulatedShelly
from tests.servers.zigbee import SimulatedZigbee
from tests.unit.samples import running_journal
from tests.unit.sources.mqtt.recorder import Instant
from tests.unit.sources.shelly.scripted import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from edge_energy.api.guard import Handler
    from edge_energy.interfaces import Component
    from tests.servers.mosquitto import Mosquitto
    from tests.servers.process import Process
    from tests.servers.shelly import SimulatedDevice

PASSWORD = "open sesame"
PLUG = "bureau"


@dataclass(frozen=True)
class Kind:
    """A device and the one way by which it is reached."""

    driver: type
    by: str
    """`websocket`, `http`, `outbound` or `mqtt`."""
    product: str
    """Of the simulated Shelly devices; empty for a plug behind Zigbee2MQTT."""
    password: str | None = None
    firmware: int = 1


KINDS = {
    "gen2 websocket": Kind(ShellyGen2, "websocket", "pro1pm"),
    "gen2 websocket, password": Kind(ShellyGen2, "websocket", "pro1pm", PASSWORD, 2),
    "gen2 http": Kind(ShellyGen2, "http", "plus1pm"),
    "gen2 http, password": Kind(ShellyGen2, "http", "plus1pm", PASSWORD, 2),
    "gen2 outbound": Kind(ShellyGen2, "outbound", "pro1pm", PASSWORD),
    "gen2 mqtt": Kind(ShellyGen2, "mqtt", "pro1pm", PASSWORD),
    "gen1 http": Kind(ShellyGen1, "http", "gen1"),
    "gen1 http, password": Kind(ShellyGen1, "http", "gen1", PASSWORD),
    "gen1 mqtt": Kind(ShellyGen1Mqtt, "mqtt", "gen1"),
    "zigbee": Kind(Zigbee2Mqtt, "mqtt", ""),
}


@dataclass
class Rig:
    """A relay that is reached by one way, and its device."""

    kind: Kind
    relay: Choice
    process: Process
    shelly: SimulatedDevice | None = None
    zigbee: SimulatedZigbee | None = None
    broker: Mosquitto | None = None
    source: MqttSource | None = None
    read: ShellyDevice | None = None
    outbound: OutboundSockets | None = None
    most_connections: int = 2
    """At once, as the device sees it; more where requests are given up, which it notices later."""

    @property
    def mqtt(self) -> tuple[Mosquitto, MqttSource]:
        """The broker, and what listens to it, where that is the way."""
        assert self.broker is not None
        assert self.source is not None
        return self.broker, self.source

    async def truth(self) -> dict[str, Any]:
        """Return what the relay really does: `output`, `edges` and the `timer`'s seconds."""
        if self.zigbee is not None:
            return await asyncio.to_thread(self.zigbee.truth, PLUG)
        return await self.do("state")

    async def do(self, what: str, *arguments: Any) -> dict[str, Any]:
        """Disturb the device."""
        found: dict[str, Any]
        if self.zigbee is not None:
            found = await asyncio.to_thread(getattr(self.zigbee, what), PLUG, *arguments)
        else:
            found = await asyncio.to_thread(getattr(self.shelly, what), *arguments)
        return found

    async def until(self, seconds: float = 10, **expected: Any) -> dict[str, Any]:
        """Wait until this is true."""
        async with asyncio.timeout(seconds):
            while not expected.items() <= (found := await self.truth()).items():  # noqa: ASYNC110 - it is not told
                await asyncio.sleep(0.05)
        return found

    async def timer(self, seconds: float, **expected: Any) -> None:
        """Wait until its timer has just been set to so much, and the rest is true at that moment."""
        async with asyncio.timeout(2):
            while not seconds - 10 < (found := await self.truth())["timer"] <= seconds:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
        assert expected.items() <= found.items()

    async def cut_off(self) -> None:
        """Take the device out of the network."""
        await (self.do("wifi", 60) if self.shelly else self.do("mute", True))

    def freeze(self) -> None:
        """Let the device hold its connections, and do nothing."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.process.pid, signal.SIGCONT)

    def reached(self) -> bool:
        """Tell whether there is a way, and the right one."""
        ways = list(self.relay._ways())
        if self.read is not None and self.kind.by == "websocket" and self.read.session is None:
            return False
        if self.source is not None and not self.source.exchange.backlog_over:
            return False
        return bool(ways) and type(ways[0]) is self.kind.driver

    def waiting(self) -> list[Any]:
        """Return what still waits for an answer of the device on behalf of a command."""
        sessions = list(self.outbound.sessions.values()) if self.outbound else []
        sessions += [self.read.session] if self.read and self.read.session else []
        return [
            *(asked for session in sessions for asked in session._asked),
            *(self.source.exchange.waiting if self.source else ()),
        ]


class Parts:
    """What the daemon's components share, on a disk that is never waited for."""

    def __init__(self) -> None:
        self.live, self.clock = Live(), Clock(lambda: True)
        self.collector = Collector(Instant(), self.live, self.clock, Ways(), Increments({}))


@asynccontextmanager
async def running(component: Component) -> AsyncIterator[None]:
    """Keep a component running as the daemon does."""
    task = asyncio.create_task(Supervisor(component).run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def started(process: Process) -> AsyncIterator[None]:
    """Run a process, without holding up the loop."""
    await asyncio.to_thread(process.__enter__)
    try:
        yield
    finally:
        if process.running:
            os.kill(process.pid, signal.SIGCONT)
        await asyncio.to_thread(process.__exit__, None, None, None)


@asynccontextmanager
async def rig(kind: Kind, directory: Path, mosquitto: Callable[..., Mosquitto]) -> AsyncIterator[Rig]:
    """Start a device and what reaches it."""
    async with AsyncExitStack() as stack:
        make = _shelly if kind.product else _zigbee
        found = await make(kind, directory, mosquitto, stack)
        await until(found.reached, 20)
        yield found


async def _shelly(kind: Kind, directory: Path, mosquitto: Callable[..., Mosquitto], stack: AsyncExitStack) -> Rig:
    parts, options, broker, source, read = Parts(), ["--ntp-delay", "0"], None, None, None
    outbound = OutboundSockets(parts.collector, parts.live, parts.clock)
    if kind.by == "mqtt":
        broker = mosquitto()
        source = await stack.enter_async_context(_listening(broker, directory, parts))
        options += ["--mqtt-port", str(broker.port)]
    if kind.by == "outbound":
        options += ["--server", await stack.enter_async_context(_door(outbound))]
    process = SimulatedShelly(
        directory, kind.product, password=kind.password, firmware=kind.firmware, options=options
    )
    await stack.enter_async_context(started(process))
    device = process[kind.product]
    if kind.by in ("websocket", "http"):
        settings = {"host": "127.0.0.1", "port": device.port, "password": kind.password, "poll": "5s"}
        read = ShellyDevice(Shelly.model_validate(settings), parts.collector, parts.live, parts.clock)
        if kind.by == "http":
            read.rpc.websocket = _refuse  # type: ignore[method-assign]
        await stack.enter_async_context(running(read))
    reach = Reach([] if read is None else [read], outbound)
    relay = Relay.model_validate({"device": device_id(device.id), "safe_state": "off"})
    choice = Choice(relay, reach, [] if source is None else [source])
    return Rig(kind, choice, process, device, None, broker, source, read, outbound)


async def _zigbee(kind: Kind, directory: Path, mosquitto: Callable[..., Mosquitto], stack: AsyncExitStack) -> Rig:
    broker = mosquitto()
    source = await stack.enter_async_context(_listening(broker, directory, Parts()))
    zigbee = SimulatedZigbee(directory, broker.port)
    await stack.enter_async_context(started(zigbee))
    device = await asyncio.to_thread(zigbee.device, PLUG)
    relay = Relay.model_validate({"device": device, "safe_state": "off", "timer": True})
    choice = Choice(relay, Reach([], OutboundSockets(*_of(Parts()))), [source])
    return Rig(kind, choice, zigbee, None, zigbee, broker, source)


def _of(parts: Parts) -> tuple[Collector, Live, Clock]:
    return parts.collector, parts.live, parts.clock


@asynccontextmanager
async def _listening(broker: Mosquitto, directory: Path, parts: Parts) -> AsyncIterator[MqttSource]:
    settings = Mqtt.model_validate({"port": broker.port, "commit_interval": 0.2})
    async with running_journal(directory / "journal", clock=parts.clock) as journal:
        source = MqttSource(settings, "house-1", journal, parts.live, parts.clock, Ways(), Increments({}))
        async with running(source):
            await until(source.up.is_set, 20)
            yield source


@asynccontextmanager
async def _door(outbound: OutboundSockets) -> AsyncIterator[str]:
    """Serve the address that devices dial; the guard before it is not what is tested."""

    @web.middleware
    async def let_in(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[TOKEN] = None
        return await handler(request)

    application = web.Application(middlewares=[let_in])
    application.add_subapp("/shelly", shelly_application(outbound))
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}/shelly/ws/secret"
    finally:
        await runner.cleanup()


async def _refuse() -> Any:
    raise WebSocketRefused("no WebSocket here")
