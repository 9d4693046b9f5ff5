"""The composition root: the only module that knows all others."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import orjson
import structlog
import uvloop

from edge_energy import __version__, logs
from edge_energy.api.access import Access
from edge_energy.api.local import LocalApi
from edge_energy.api.message import message_application
from edge_energy.api.relays_local import relay_routes
from edge_energy.api.send import relays_application, send_application
from edge_energy.api.server import HttpServer
from edge_energy.api.shelly_local import DeviceTokens, shelly_routes
from edge_energy.api.shelly_socket import shelly_application
from edge_energy.api.tokens import Tokens, token_routes
from edge_energy.api.webhook import webhook_application
from edge_energy.clock import Clock, boot_id, uptime
from edge_energy.collector import DESCRIBED, Collector
from edge_energy.delivery import Delivery
from edge_energy.devices import tuya_seen
from edge_energy.errors import ConfigError, JournalFull
from edge_energy.heartbeat import Heartbeat, notify
from edge_energy.increments import PREFIX as INCREMENTS
from edge_energy.increments import Increments
from edge_energy.interfaces import APPLIANCE, Component, NewEntry
from edge_energy.journal.journal import Journal
from edge_energy.journal.reader import Reader
from edge_energy.live import Live
from edge_energy.relays import audit, memory
from edge_energy.relays.controller import Controller
from edge_energy.relays.drivers.choice import Choice
from edge_energy.relays.mqtt_devices import QUANTITIES, DeviceNews
from edge_energy.relays.mqtt_door import MqttDoor
from edge_energy.relays.planner import Planner
from edge_energy.sources.mqtt.source import MqttSource
from edge_energy.sources.shelly.adoption import Adoption
from edge_energy.sources.shelly.device import ShellyDevice
from edge_energy.sources.shelly.discovery import Discovery
from edge_energy.sources.shelly.http_rpc import HttpRpc
from edge_energy.sources.shelly.outbound import OutboundSockets
from edge_energy.sources.shelly.reach import Reach
from edge_energy.status import Source, Status
from edge_energy.supervisor import Supervisor
from edge_energy.together import together
from edge_energy.ways import Ways

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiohttp import web

    from edge_energy.config import Http, Settings
    from edge_energy.interfaces import Sink
    from edge_energy.sources.shelly.addresses import Place

log = structlog.get_logger()

SOCKET_NAME = "api.sock"
_M_ARENA_MAX = -8  # mallopt(3)


def make_sinks(settings: Settings) -> list[Sink]:
    """Make the configured sinks; each is imported only here, when it is configured."""
    sinks: list[Sink] = []
    if settings.influxdb is not None:
        from edge_energy.sinks.influxdb import InfluxdbSink  # noqa: PLC0415

        sinks.append(InfluxdbSink(settings.influxdb, settings.appliance.id))
    return sinks


@dataclass(frozen=True, slots=True)
class Shared:
    """What nearly all parts are made with."""

    settings: Settings
    journal: Journal
    live: Live
    clock: Clock
    ways: Ways
    increments: Increments
    collector: Collector


def make_sources(shared: Shared) -> list[Source]:
    """Make what listens to others."""
    settings, journal, live, clock = shared.settings, shared.journal, shared.live, shared.clock
    appliance, ways, increments = settings.appliance.id, shared.ways, shared.increments
    return [
        *(MqttSource(mqtt, appliance, journal, live, clock, ways, increments) for mqtt in settings.mqtt),
        *(ShellyDevice(shelly, shared.collector, live, clock) for shelly in settings.shelly),
    ]


async def make_controller(shared: Shared, sources: list[Source], outbound: OutboundSockets) -> Controller:
    """Make what switches relays, over whatever connects us with their devices."""
    settings, journal, clock = shared.settings, shared.journal, shared.clock
    kept: dict[str, Any] = {}
    for prefix in (audit.COMMANDS, audit.INCIDENTS, *memory.KEPT):
        kept |= await journal.query(Reader.state, prefix)
    brokers = [source for source in sources if isinstance(source, MqttSource)]
    reach = Reach([source for source in sources if isinstance(source, ShellyDevice)], outbound)
    return Controller(
        settings,
        Planner(settings, ZoneInfo(settings.appliance.timezone), uptime() / 1e9),
        {relay.id: Choice(relay, reach, brokers) for relay in settings.relay},
        audit.Audit(journal, clock, kept),
        memory.Memory(journal, kept),
        shared.live,
        clock,
    )


async def make_doors(shared: Shared, sources: list[Source], controller: Controller) -> list[Component]:
    """Make what others see of us by their brokers, and what they can switch there."""
    settings, journal = shared.settings, shared.journal
    found: list[Component] = []
    brokers = [source for source in sources if isinstance(source, MqttSource)]
    for table, broker in zip(settings.mqtt, brokers, strict=True):
        if table.relays and settings.relay:
            door = broker.letterbox = MqttDoor(broker, settings.appliance.id, controller)
            found.append(door)
        if settings.homeassistant is not None and settings.homeassistant.discovery:
            told = await journal.query(Reader.state, QUANTITIES)
            found.append(DeviceNews(broker, settings, shared.live, journal, told, switches=table.relays))
    return found


async def make_server(
    shared: Shared, http: Http, tokens: Tokens, outbound: OutboundSockets, controller: Controller
) -> HttpServer:
    """Make the HTTP server with all that it serves."""
    journal, collector, live = shared.journal, shared.collector, shared.live
    seen = await journal.query(Reader.state, tuya_seen.PREFIX)
    applications = {
        "/webhook": webhook_application(http, collector, live),
        "/message": message_application(shared.settings.tuya, collector, live, shared.clock, seen),
        "/shelly": shelly_application(outbound),
        "/send": send_application(controller),
        "/relays": relays_application(controller),
    }
    access = Access(tokens.check, webhook_auth=http.webhook_auth)
    return HttpServer(http, access, applications, lambda: not journal.full)


def make_adoption(shared: Shared, tokens: Tokens) -> list[web.RouteDef]:
    """Make what the command line needs to find and set up Shelly devices."""
    live, ways = shared.live, shared.ways

    def connect(place: Place, password: str | None) -> HttpRpc:
        return HttpRpc(place.host, place.port, password)

    adoption = Adoption(shared.settings, live, ways, DeviceTokens(tokens), connect)
    return shelly_routes(adoption, Discovery(live, ways))


async def run_appliance(settings: Settings, socket: Path, why: str) -> None:
    """Run all components until cancelled; `why` is told in the journal."""
    clock, live, ways, appliance = Clock(), Live(), Ways(), settings.appliance.id
    limits = settings.journal
    async with Journal(
        settings.appliance.state_dir, clock, boot_id(), max_size=limits.max_size, keep=limits.keep
    ) as journal:
        increments = Increments(await journal.query(Reader.state, INCREMENTS))
        described = await journal.query(Reader.state, DESCRIBED)
        collector = Collector(journal, live, clock, ways, increments, described)
        shared = Shared(settings, journal, live, clock, ways, increments, collector)
        tokens, outbound = Tokens(journal, clock), OutboundSockets(collector, live, clock)
        await tokens.load()
        status = Status(appliance, journal, live, clock, collector)
        status.sources = sources = make_sources(shared)
        status.relays = controller = await make_controller(shared, sources, outbound)
        doors = await make_doors(shared, sources, controller)
        if settings.http is not None:
            status.servers = [await make_server(shared, settings.http, tokens, outbound, controller)]
            status.outbound = outbound
        status.deliveries = [Delivery(sink, await journal.outbox(sink.name)) for sink in make_sinks(settings)]
        routes = [*token_routes(tokens), *make_adoption(shared, tokens), *relay_routes(controller)]
        components: list[Component] = [
            clock,
            *status.sources,
            *status.servers,
            *status.deliveries,
            LocalApi(socket, status, journal, routes),
            Heartbeat(journal, status.summary),
            *doors,
        ]
        supervisors = [Supervisor(component) for component in components]
        switching = Supervisor(controller)
        status.supervisors = [*supervisors, switching]
        chronicle = Chronicle(appliance, journal, clock)
        log.info("started", version=__version__, appliance=appliance, why=why, recovered=journal.recovered)
        chronicle.tell(why, version=__version__)
        # Commits go on until all others have ended: what the HTTP server is asked at the last moment is answered.
        committing = asyncio.create_task(journal.run())
        # And devices stay connected until all loads are in their safe state.
        connected = asyncio.create_task(together(*(supervisor.run() for supervisor in supervisors)))
        try:
            await together(_shielded(committing), _shielded(connected), chronicle.run(), switching.run())
        finally:
            connected.cancel()
            await asyncio.wait([connected])
            committing.cancel()
            await asyncio.wait([committing])
            chronicle.tell("stop")
            if not committing.cancelled():
                committing.result()  # raises why the disk failed at the last moment


async def _shielded(task: asyncio.Task[None]) -> None:
    """Wait for a task, and raise what it raises; being cancelled leaves it alone."""
    await asyncio.shield(task)


class Chronicle:
    """Records what happens to the appliance itself, and when the date is known."""

    def __init__(self, appliance: str, journal: Journal, clock: Clock) -> None:
        self._appliance = appliance
        self._journal = journal
        self._clock = clock

    def tell(self, event: str, **details: Any) -> None:
        """Record an event with the next commit, which is at once; on a full disk it is only logged."""
        now, uptime = self._clock.now()
        body = orjson.dumps({"event": event, **details}).decode()
        try:
            self._journal.record([NewEntry(APPLIANCE, self._appliance, now, uptime, body)], within=0)
        except JournalFull:
            log.warning("not recorded, the journal is full", event_=event)

    async def run(self) -> None:
        """Keep an anchor whenever the date becomes known or the clock is set."""
        self._clock.set.set()
        first = True
        while True:
            await self._clock.set.wait()
            self._clock.set.clear()
            if not self._clock.trusted:
                continue
            await self._journal.writable()
            if not first:
                self.tell("clock set")
            first = False
            try:
                await self._journal.anchor("set")
            except JournalFull:
                self._clock.set.set()


async def serve(settings: Settings, load: Callable[[], Settings], socket: Path | None) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP loads the settings again and restarts all components with them."""
    loop = asyncio.get_running_loop()
    stop, reload = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    why = "start"
    while not stop.is_set():
        path = socket or settings.appliance.runtime_dir / SOCKET_NAME
        appliance = asyncio.create_task(run_appliance(settings, path, why))
        settings = await _until_signal(appliance, stop, reload, load) or settings
        why = "configuration changed"
        notify("STOPPING=1" if stop.is_set() else "RELOADING=1")
        appliance.cancel()
        await asyncio.wait([appliance])
        if not appliance.cancelled() and (error := appliance.exception()) is not None:
            raise error
    log.info("stopped")


async def _until_signal(
    appliance: asyncio.Task[None], stop: asyncio.Event, reload: asyncio.Event, load: Callable[[], Settings]
) -> Settings | None:
    """Wait until the appliance fails or is to stop, or until there are new settings that are valid."""
    stopping, reloading = asyncio.create_task(stop.wait()), asyncio.create_task(reload.wait())
    try:
        while True:
            done, _ = await asyncio.wait([appliance, stopping, reloading], return_when=asyncio.FIRST_COMPLETED)
            if reloading not in done or stopping in done or appliance in done:
                return None
            reload.clear()
            reloading = asyncio.create_task(reload.wait())
            try:
                settings = load()
            except ConfigError as error:
                for problem in error.problems:
                    log.error("the new configuration is invalid, nothing was changed", problem=problem)  # noqa: TRY400
                continue
            logs.configure(settings.appliance.log_level)
            return settings
    finally:
        stopping.cancel()
        reloading.cancel()


def main(settings: Settings, load: Callable[[], Settings], socket: Path | None) -> None:
    """Run the daemon on the fastest loop there is."""
    logs.configure(settings.appliance.log_level)
    _share_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, load, socket))
        # All is closed. The runner would still wait for its threads, one of which may look up a name for a minute.
        os._exit(0)


def _share_memory() -> None:
    """Let all threads allocate from one arena: glibc's arena for each thread costs 4 MB, and they hardly compete."""
    with suppress(OSError, AttributeError):  # another libc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
