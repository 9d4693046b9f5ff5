"""Makes the parts of an appliance that listen, switch and serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from edge_energy.api.access import Access
from edge_energy.api.message import message_application
from edge_energy.api.send import relays_application, send_application
from edge_energy.api.server import HttpServer
from edge_energy.api.shelly_local import DeviceTokens, shelly_routes
from edge_energy.api.shelly_socket import shelly_application
from edge_energy.api.webhook import webhook_application
from edge_energy.app.forwarding import make_publisher
from edge_energy.clock import uptime
from edge_energy.devices import tuya_seen
from edge_energy.journal.reader import Reader
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
from edge_energy.sources.shelly.reach import Reach

if TYPE_CHECKING:
    from aiohttp import web

    from edge_energy.api.tokens import Tokens
    from edge_energy.clock import Clock
    from edge_energy.collector import Collector
    from edge_energy.config import Http, Settings
    from edge_energy.increments import Increments
    from edge_energy.interfaces import Component
    from edge_energy.journal.journal import Journal
    from edge_energy.live import Live
    from edge_energy.sources.shelly.addresses import Place
    from edge_energy.sources.shelly.outbound import OutboundSockets
    from edge_energy.status import Source
    from edge_energy.ways import Ways


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
        "/send": send_application(controller, make_publisher(shared.settings)),
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
