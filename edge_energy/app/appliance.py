"""One appliance: all its parts, wired, and the order in which they begin and end."""

from __future__ import annotations

import asyncio
import ctypes
import gc
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from edge_energy import __version__, delivery
from edge_energy.api.forward_local import forward_routes
from edge_energy.api.local import LocalApi
from edge_energy.api.relays_local import relay_routes
from edge_energy.api.tokens import Tokens, token_routes
from edge_energy.app.chronicle import Chronicle
from edge_energy.app.forwarding import make_deliveries, make_far_sides, make_inboxes
from edge_energy.app.parts import Shared, make_adoption, make_controller, make_doors, make_server, make_sources
from edge_energy.clock import Clock, boot_id
from edge_energy.collector import DESCRIBED, Collector
from edge_energy.delivery import Delivery
from edge_energy.heartbeat import Heartbeat
from edge_energy.increments import PREFIX as INCREMENTS
from edge_energy.increments import Increments
from edge_energy.journal.journal import Journal
from edge_energy.journal.reader import Reader
from edge_energy.live import Live
from edge_energy.sources.shelly.outbound import OutboundSockets
from edge_energy.status import Status
from edge_energy.supervisor import Supervisor
from edge_energy.together import together
from edge_energy.ways import Ways

if TYPE_CHECKING:
    from pathlib import Path

    from edge_energy.config import Settings
    from edge_energy.interfaces import Component
    from edge_energy.relays.controller import Controller

log = structlog.get_logger()

COLLECT_EVERY = 5_000  # containers; a batch for Kafka has 4,000


async def run_appliance(settings: Settings, socket: Path, why: str) -> None:
    """Run all components until cancelled; `why` is told in the journal."""
    clock, limits = Clock(), settings.journal
    async with Journal(
        settings.appliance.state_dir, clock, boot_id(), max_size=limits.max_size, keep=limits.keep
    ) as journal:
        chronicle = Chronicle(settings.appliance.id, journal, clock)
        shared = await _shared(settings, journal, clock)
        components, controller, status = await _assemble(shared, socket, chronicle)
        _settle_memory()
        supervisors = [_supervisor(component) for component in components]
        switching = Supervisor(controller)
        status.supervisors = [*supervisors, switching]
        log.info(
            "started", version=__version__, appliance=settings.appliance.id, why=why, recovered=journal.recovered
        )
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


def _settle_memory() -> None:
    """Give back what the making of all parts has left over, and look for cycles among what is new, less often.

    A batch of entries is thousands of dictionaries without any: with Python's own thresholds a fourth of the time in
    which a backlog is caught up goes into that.
    """
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY)
    with suppress(OSError, AttributeError):  # another libc
        ctypes.CDLL(None).malloc_trim(0)


def _supervisor(component: Component) -> Supervisor:
    return Supervisor(component, delivery.LONGEST_WAIT) if isinstance(component, Delivery) else Supervisor(component)


async def _shared(settings: Settings, journal: Journal, clock: Clock) -> Shared:
    live, ways = Live(), Ways()
    increments = Increments(await journal.query(Reader.state, INCREMENTS))
    described = await journal.query(Reader.state, DESCRIBED)
    collector = Collector(journal, live, clock, ways, increments, described)
    return Shared(settings, journal, live, clock, ways, increments, collector)


async def _assemble(shared: Shared, socket: Path, chronicle: Chronicle) -> tuple[list[Component], Controller, Status]:
    """Make all parts, and wire them."""
    settings, journal, clock = shared.settings, shared.journal, shared.clock
    tokens, outbound = Tokens(journal, clock), OutboundSockets(shared.collector, shared.live, clock)
    await tokens.load()
    status = Status(settings.appliance.id, journal, shared.live, clock, shared.collector)
    status.sources = sources = make_sources(shared)
    status.relays = controller = await make_controller(shared, sources, outbound)
    doors = await make_doors(shared, sources, controller)
    if settings.http is not None:
        status.servers = [await make_server(shared, settings.http, tokens, outbound, controller)]
        status.outbound = outbound
    status.deliveries = await make_deliveries(shared)
    status.inboxes = make_inboxes(shared, controller)
    routes = [*token_routes(tokens), *make_adoption(shared, tokens), *relay_routes(controller)]
    routes += forward_routes(status, journal, make_far_sides(settings), chronicle)
    components: list[Component] = [
        clock,
        *status.sources,
        *status.servers,
        *status.deliveries,
        *status.inboxes,
        LocalApi(socket, status, journal, routes),
        Heartbeat(journal, status.summary),
        *doors,
    ]
    return components, controller, status


async def _shielded(task: asyncio.Task[None]) -> None:
    """Wait for a task, and raise what it raises; being cancelled leaves it alone."""
    await asyncio.shield(task)
