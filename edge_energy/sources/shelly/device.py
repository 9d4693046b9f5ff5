"""One configured Shelly, read at its address: WebSocket, else HTTP RPC, or the pages of the first generation."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Any

import structlog

from edge_energy.devices.shelly_rpc import FrameAuth, RpcError
from edge_energy.errors import Unavailable
from edge_energy.sources.shelly import gen1, identity
from edge_energy.sources.shelly.http_rpc import HttpRpc, WebSocketRefused
from edge_energy.sources.shelly.pace import Pace
from edge_energy.sources.shelly.polling import ask_status, keep_asking
from edge_energy.sources.shelly.recording import Counters, Receivers, Recording
from edge_energy.sources.shelly.session import Garbled, Lost, Session, Throttled
from edge_energy.together import together

if TYPE_CHECKING:
    from edge_energy.clock import Clock
    from edge_energy.collector import Collector
    from edge_energy.config import Shelly
    from edge_energy.live import Live
    from edge_energy.sources.shelly.identity import Identity

log = structlog.get_logger()

SHORT = 60.0  # seconds; a WebSocket that breaks sooner is not a good one
MOST_BREAKS = 3  # of such WebSockets in a row, until HTTP is used instead
WEBSOCKET_EVERY = 600.0  # seconds between attempts while HTTP is used


class ShellyDevice:
    """Pushed changes as they come, and everything once every `poll` seconds. A component.

    Never more than two connections: all go through one `HttpRpc`.
    """

    def __init__(self, settings: Shelly, collector: Collector, live: Live, clock: Clock) -> None:
        password = None if settings.password is None else settings.password.get_secret_value()
        self.rpc = HttpRpc(settings.host, settings.port, password, settings.username)
        self.session: Session | None = None
        """Its WebSocket, while there is one."""
        self.name = f"shelly {self.rpc.peer}"
        self.up = asyncio.Event()
        self.identity: Identity | None = None
        self.way = ""
        """How it is read: `websocket`, `rpc` or `gen1`; empty while it is not."""
        self.last_failure = ""
        self._settings = settings
        self._password = password
        self._receivers = Receivers(collector, live, clock)
        self._counters = Counters(self.rpc.peer)
        self._pace = Pace(settings.poll)
        self._auth: FrameAuth | None = None
        self._breaks = 0
        self._fallen_back = False

    async def run(self) -> None:
        """Read until cancelled; raises `Unavailable` when the device is away or wants another password."""
        try:
            async with self.rpc as rpc:
                address = await _resolve(self._settings.host, self._settings.port)
                await self._read(rpc, address)
        except Throttled as error:
            self._counters.throttled += 1
            raise Unavailable(str(error), self._pace.throttled(error.retry_after)) from None
        except RpcError as error:
            raise Unavailable(f"{self.rpc.peer}: {error}") from None
        except Garbled as error:
            self._counters.unreadable(error.detail)
            raise
        except Lost as error:
            self.last_failure = error.detail
            raise
        finally:
            if self.way and self.identity is not None:
                live = self._receivers.live
                live.availability(self.identity.device, available=False, by=self._counters.peer)
            self.way = ""

    def status(self) -> dict[str, Any]:
        """Return what `status` shows of this device."""
        known = self.identity
        return {
            "kind": "shelly",
            "device": known and known.device,
            "generation": known and known.generation,
            "firmware": known and known.firmware,
            "way": self.way or None,
            "last_failure": self.last_failure or None,
            **self._counters.report(),
        }

    async def _read(self, rpc: HttpRpc, address: str) -> None:
        rpc.basic = False  # another device may have the address now, and only Gen1 gets a readable password
        info = await rpc.get("/shelly")
        if identity.is_gen1(info):
            self._meet(await gen1.identify(rpc, info), address)
            await self._read_gen1(rpc)
        elif (found := identity.of_gen2(info)) is not None:
            self._meet(found, address)
            await self._read_gen2(rpc)
        else:
            raise Garbled(rpc.peer, "/shelly: neither gen and id nor type")

    def _meet(self, found: Identity, address: str) -> None:
        if self._password is not None and (self.identity is None or self.identity.realm != found.realm):
            self._auth = FrameAuth(found.realm, self._password, lambda: secrets.token_hex(16))
        self.identity = found
        self._receivers.collector.describe(found.device, found.name, found.model)
        self._receivers.live.locate(found.device, address)

    def _recording(self, way: str) -> Recording:
        assert self.identity is not None, "met before it is read"  # noqa: S101 - a programmer's mistake
        self.way = way
        return Recording(self.identity.device, way, self._counters, self._receivers)

    # -- by its WebSocket -------------------------------------------------------------------------------------

    async def _read_gen2(self, rpc: HttpRpc) -> None:
        """Use the WebSocket as long as it is good, and HTTP RPC for a while when it is not."""
        while True:
            await self._try_websocket(rpc)
            if not self._fallen_back:
                self._fallen_back = True
                log.warning("polled by HTTP: its WebSocket fails", source=self.name, reason=self.last_failure)
            await self._read_rpc(rpc)
            self._breaks = MOST_BREAKS - 1  # so that one more failure is enough

    async def _try_websocket(self, rpc: HttpRpc) -> None:
        """Read by WebSocket; return when that is no good, while the device itself is there as far as we know."""
        began = time.monotonic()
        try:
            session = Session(await rpc.websocket(), self._counters, self._auth)
            self.session = session
            try:
                await self._read_websocket(session)
            finally:
                self.session = None
                await session.close()
        except WebSocketRefused as error:
            self.last_failure = str(error)
        except Lost as error:
            self.last_failure = error.detail
            if time.monotonic() - began >= SHORT:
                self._breaks, self._fallen_back = 0, False
            else:
                self._breaks += 1
            if self._breaks < MOST_BREAKS:
                raise

    async def _read_websocket(self, session: Session) -> None:
        recording = self._recording("websocket")

        async def listen() -> None:
            while True:
                recording.notification(await session.notification())
                await recording.room()

        async def ask() -> None:
            # The first one also makes the device send notifications.
            recording.full(await ask_status(session))
            self.up.set()

        await together(listen(), keep_asking(ask, self._pace, self._counters))

    # -- by HTTP ----------------------------------------------------------------------------------------------

    async def _read_rpc(self, rpc: HttpRpc) -> None:
        recording = self._recording("rpc")

        async def ask() -> None:
            recording.full(await ask_status(rpc))
            self.up.set()

        await keep_asking(ask, self._pace, self._counters, WEBSOCKET_EVERY)

    async def _read_gen1(self, rpc: HttpRpc) -> None:
        recording = self._recording("gen1")

        async def ask() -> None:
            recording.answer(await gen1.read(rpc, self._counters))
            self.up.set()

        await keep_asking(ask, self._pace, self._counters)


async def _resolve(host: str, port: int) -> str:
    """Return the address of a host. Raises `Unavailable`."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port)
    except OSError:
        raise Unavailable(f"nobody knows where {host} is: correct [[shelly]] host, or give its address") from None
    return str(found[0][4][0])
