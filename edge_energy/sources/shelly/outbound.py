"""Shelly devices that dial us: their outbound WebSockets, for what they measure and for RPC."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiohttp import WSCloseCode

from edge_energy.devices import shelly_rpc
from edge_energy.devices.shelly_rpc import RpcError
from edge_energy.errors import Unavailable
from edge_energy.sources.shelly import identity
from edge_energy.sources.shelly.pace import Pace
from edge_energy.sources.shelly.polling import ask_status, keep_asking
from edge_energy.sources.shelly.recording import Counters, Receivers, Recording
from edge_energy.sources.shelly.session import NoAnswer, Session, Throttled
from edge_energy.together import together

if TYPE_CHECKING:
    from aiohttp import web

    from edge_energy.clock import Clock
    from edge_energy.collector import Collector
    from edge_energy.devices.shelly_rpc import Frame
    from edge_energy.live import Live

MOST_DEVICES = 500  # connected at once
MOST_COUNTED = 1_000  # since the start; their counters outlive their sockets
WAY = "outbound websocket"
INTRODUCTION = 10.0  # seconds in which a device says who it is
FULL_STATUS = 5.0  # seconds in which it tells everything by itself
POLL = 60.0


class OutboundSockets:
    """The sockets of all devices that have dialled us, one for each device.

    Who may dial is decided before; the devices ask for no password on these sockets.
    """

    def __init__(self, collector: Collector, live: Live, clock: Clock) -> None:
        self.sessions: dict[str, Session] = {}
        """By our id of the device, while it is connected."""
        self._receivers = Receivers(collector, live, clock)
        self._counters: dict[str, Counters] = {}
        self._open: set[Session] = set()
        self._strangers = 0

    async def serve(self, socket: web.WebSocketResponse, address: str, owner: str = "") -> None:
        """Read one socket, dialled from an address, until it ends.

        Where `owner`, the name of the token that let it in, is the id of a Shelly, only that one may use it.
        """
        counters = Counters(address)
        session = Session(socket, counters)
        if len(self._open) >= MOST_DEVICES:
            await session.close(WSCloseCode.TRY_AGAIN_LATER, "too many devices")
            return
        self._open.add(session)
        try:
            with suppress(Unavailable, RpcError):  # it dials again
                await self._serve(session, counters, address, shelly_rpc.device_id(owner))
        finally:
            self._open.discard(session)
            await session.close()

    async def call(self, device: str, method: str, params: dict[str, Any] | None = None, timeout: float = 10) -> Any:
        """Ask a device over its own socket. Raises `RpcError` and `Unavailable`."""
        session = self.sessions.get(device)
        if session is None:
            raise Unavailable(f"{device} has no outbound WebSocket to us now")
        return await session.call(method, params, timeout)

    async def close(self) -> None:
        """End all sockets; the devices dial again."""
        await asyncio.gather(*(session.close(WSCloseCode.GOING_AWAY) for session in list(self._open)))

    def status(self) -> dict[str, Any]:
        """Return what `status` shows: who is connected, and what each device has sent since the start."""
        return {
            "kind": "shelly outbound",
            "connected": sorted(self.sessions),
            "strangers": self._strangers,
            "devices": {device: counters.report() for device, counters in sorted(self._counters.items())},
        }

    async def _serve(self, session: Session, counters: Counters, address: str, owner: str | None) -> None:
        first = await _introduction(session)
        device = None if first is None else shelly_rpc.device_id(first.src)
        if first is None or device is None or owner not in (None, device):
            self._strangers += 1
            await session.close(WSCloseCode.POLICY_VIOLATION, "expected frames of the Shelly that has this token")
            return
        if device not in self._counters and len(self._counters) >= MOST_COUNTED:
            await session.close(WSCloseCode.TRY_AGAIN_LATER, "too many devices")
            return
        counters.peer = device
        counters = session.counters = self._counters.setdefault(device, counters)
        live = self._receivers.live
        if device not in live.devices:
            live.describe(device, first.src, "")
        live.locate(device, address)
        before = self.sessions.get(device)
        self.sessions[device] = session
        try:
            if before is not None:  # its line is dead, or the device has forgotten it in a restart
                await before.close(WSCloseCode.GOING_AWAY, "replaced by a newer connection")
            await self._read(session, first, Recording(device, WAY, counters, self._receivers))
        finally:
            if self.sessions.get(device) is session:
                del self.sessions[device]
                live.availability(device, available=False, by=counters.peer)

    async def _read(self, session: Session, first: Frame, recording: Recording) -> None:
        told = asyncio.Event()

        async def listen() -> None:
            frame = first
            while True:
                if shelly_rpc.device_id(frame.src) == recording.device:
                    recording.notification(frame)
                else:
                    session.counters.unreadable(f"a frame of another device ({frame.src!r})")
                if recording.status.complete:
                    told.set()
                await recording.room()
                frame = await session.notification()

        async def ask() -> None:
            recording.full(await ask_status(session))

        async def poll() -> None:
            await self._describe(session, recording.device)
            with suppress(TimeoutError):
                async with asyncio.timeout(FULL_STATUS):
                    await told.wait()
            if told.is_set():
                await asyncio.sleep(POLL)
            await keep_asking(ask, Pace(POLL), session.counters)

        await together(listen(), poll())

    async def _describe(self, session: Session, device: str) -> None:
        """Ask for name and model; a device that does not say has its id for a name."""
        with suppress(NoAnswer, RpcError, Throttled):
            info = await session.call("Shelly.GetDeviceInfo")
            found = identity.of_gen2(info) if type(info) is dict else None
            if found is not None and found.device == device:
                self._receivers.collector.describe(device, found.name, found.model)


async def _introduction(session: Session) -> Frame | None:
    """Return the first frame of a device, or None where none comes."""
    try:
        async with asyncio.timeout(INTRODUCTION):
            return await session.notification()
    except TimeoutError:
        return None
