"""Devices that dial us: one session each, full and changed status, RPC on the same socket, strangers shown out."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from edge_energy.api.access import Role
from edge_energy.api.guard import TOKEN
from edge_energy.api.shelly_socket import MAX_FRAME, shelly_application
from edge_energy.api.tokens import Token
from edge_energy.config import Shelly
from edge_energy.devices.shelly_rpc import RpcError
from edge_energy.errors import Unavailable
from edge_energy.sources.shelly import outbound as module
from edge_energy.sources.shelly.device import ShellyDevice
from edge_energy.sources.shelly.outbound import OutboundSockets
from tests.unit.samples import NOON, SECOND
from tests.unit.sources.mqtt.recorder import SetClock
from tests.unit.sources.shelly.scripted import DEVICE, INFO, OWN_ID, STATUS, Device, House, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edge_energy.api.guard import Handler

Json = dict[str, Any]


class Dialler:
    """A device that has dialled; it answers what it is asked."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.asked: list[str] = []
        self.answers: Json = {"Shelly.GetDeviceInfo": INFO, "Shelly.GetStatus": STATUS}
        self._serving = asyncio.create_task(self._serve())

    async def say(self, method: str, params: Json, src: str = OWN_ID) -> None:
        """Send a notification."""
        frame = {"src": src, "dst": "ws", "method": method, "params": params}
        await self.socket.send_str(orjson.dumps(frame).decode())

    async def ended(self) -> int | None:
        """Wait for the end of the socket; return its code."""
        await asyncio.wait_for(asyncio.shield(self._serving), 5)
        return self.socket.close_code

    async def close(self) -> None:
        """Hang up."""
        await self.socket.close()
        await self._serving

    async def _serve(self) -> None:
        async for message in self.socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            asked = orjson.loads(message.data)
            self.asked.append(asked["method"])
            answer = self.answers.get(asked["method"], {"code": 404, "message": "No handler"})
            key = "error" if "code" in answer else "result"
            await self.socket.send_str(orjson.dumps({"id": asked["id"], "src": OWN_ID, key: answer}).decode())


class Door:
    """The address to dial."""

    def __init__(self, house: House, url: str, http: aiohttp.ClientSession) -> None:
        self.house = house
        self.outbound = OutboundSockets(house.collector, house.live, house.clock)
        self.url = url
        self.http = http
        self.owner = ""
        """The name of the token with which devices come."""
        self.diallers: list[Dialler] = []

    async def dial(self, *, autoping: bool = True) -> Dialler:
        """Connect."""
        self.diallers.append(Dialler(await self.http.ws_connect(self.url, autoping=autoping)))
        return self.diallers[-1]

    @web.middleware
    async def let_in(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Stand in for the guard."""
        request[TOKEN] = Token("1", Role.DEVICE, self.owner, b"", None, None)
        return await handler(request)


@asynccontextmanager
async def door(house: House | None = None) -> AsyncIterator[Door]:
    async with aiohttp.ClientSession() as http:
        found = Door(house or House(), "", http)
        application = web.Application(middlewares=[found.let_in])
        application.add_subapp("/shelly", shelly_application(found.outbound))
        runner = web.AppRunner(application, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/shelly/ws/secret"
        try:
            yield found
        finally:
            await runner.cleanup()
            for dialler in found.diallers:
                await dialler.close()


async def test_a_device_introduces_itself_by_its_full_status() -> None:
    """Everything at once; then we ask for its name, and no status that it has just told."""
    async with door(House(SetClock(NOON))) as there:
        device = await there.dial()
        await device.say("NotifyFullStatus", {"ts": NOON / SECOND - 2, **STATUS})
        live = there.house.live
        await until(lambda: DEVICE in live.devices and live.devices[DEVICE].model)
        state = live.devices[DEVICE]
        assert (state.name, state.model, state.available) == ("charging post", "Pro1PM SPSW-201PE16EU", True)
        assert state.address == "127.0.0.1"
        await device.say("NotifyStatus", {"ts": NOON / SECOND - 1, "switch:0": {"id": 0, "apower": 9.5}})
        await until(lambda: state.values["power"] == 9.5)
        (first, everything), (second, change) = there.house.recorded()
        assert (first.time, second.time) == (NOON - 2 * SECOND, NOON - SECOND)
        assert everything == {"output": True, "power": 5.2, "voltage": 232.1, "energy": 100.5}
        assert change == {"power": 9.5}
        assert device.asked == ["Shelly.GetDeviceInfo"]


async def test_before_it_has_a_clock_its_time_stamps_are_uptimes() -> None:
    """Such a reading has the time of its arrival."""
    async with door(House(SetClock(NOON))) as there:
        device = await there.dial()
        await device.say("NotifyFullStatus", {"ts": 5.01, **STATUS})
        await until(lambda: there.outbound.sessions)
        assert there.house.recorded()[0][0].time == NOON


async def test_who_does_not_tell_everything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change alone is no full picture: `GetStatus` brings it, and comes again and again, slowly."""
    monkeypatch.setattr(module, "FULL_STATUS", 0.02)
    monkeypatch.setattr(module, "POLL", 0.02)
    async with door() as there:
        device = await there.dial()
        await device.say("NotifyStatus", {"ts": None, "switch:0": {"id": 0, "apower": 9.5}})
        await until(lambda: device.asked.count("Shelly.GetStatus") >= 3)
        assert there.house.live.devices[DEVICE].values["voltage"] == 232.1
        assert there.outbound.status()["devices"][DEVICE]["frames"] >= 3


async def test_methods_are_called_over_the_same_socket() -> None:
    async with door() as there:
        device = await there.dial()
        device.answers["Switch.Set"] = {"was_on": True}
        await device.say("NotifyFullStatus", STATUS)
        await until(lambda: there.outbound.sessions)
        assert await there.outbound.call(DEVICE, "Switch.Set", {"id": 0, "on": False}) == {"was_on": True}
        with pytest.raises(RpcError, match="404"):
            await there.outbound.call(DEVICE, "Cover.Open")
        with pytest.raises(Unavailable, match="no outbound WebSocket"):
            await there.outbound.call("shelly-000000000000", "Switch.Set")


@pytest.mark.parametrize("src", ["", "toaster", "shelly", "edge-energy", "x" * 128])
async def test_who_is_no_shelly_is_shown_out(src: str) -> None:
    async with door() as there:
        stranger = await there.dial()
        await stranger.say("NotifyFullStatus", STATUS, src)
        assert await stranger.ended() == 1008
        assert there.outbound.status()["strangers"] == 1
        assert not there.house.live.devices


async def test_who_says_nothing_is_shown_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTRODUCTION", 0.02)
    async with door() as there:
        assert await (await there.dial()).ended() == 1008


async def test_nobody_speaks_for_another_device() -> None:
    """On a socket there is one device; what is said for others is counted, not recorded."""
    async with door() as there:
        device = await there.dial()
        await device.say("NotifyFullStatus", STATUS)
        await device.say("NotifyFullStatus", STATUS, "shellyplus1pm-aabbccddeeff")
        counters = there.outbound._counters
        await until(lambda: DEVICE in counters and counters[DEVICE].garbage == 1)
        assert set(there.house.live.devices) == {DEVICE}


@pytest.mark.parametrize(("owner", "welcome"), [(DEVICE, True), ("shelly-aabbccddeeff", False), ("my plugs", True)])
async def test_a_token_of_one_device_is_for_no_other(owner: str, *, welcome: bool) -> None:
    """Who has taken it from one device cannot speak for another, or be asked to switch in its place."""
    async with door() as there:
        there.owner = owner
        device = await there.dial()
        await device.say("NotifyFullStatus", STATUS)
        if welcome:
            await until(lambda: DEVICE in there.outbound.sessions)
        else:
            assert await device.ended() == 1008
            assert not there.house.live.devices


async def test_a_newer_connection_replaces_the_older_one() -> None:
    """After a restart the device dials again, long before we notice that its old line is dead."""
    async with door() as there:
        old = await there.dial()
        await old.say("NotifyFullStatus", STATUS)
        await until(lambda: there.outbound.sessions)
        before = there.outbound.sessions[DEVICE]
        new = await there.dial()
        await new.say("NotifyFullStatus", STATUS)
        await old.ended()
        await until(lambda: there.outbound.sessions[DEVICE] is not before)
        assert there.house.live.devices[DEVICE].available
        assert await there.outbound.call(DEVICE, "Shelly.GetStatus") == STATUS


async def test_the_end_of_the_connection_makes_the_device_unavailable() -> None:
    async with door() as there:
        device = await there.dial()
        await device.say("NotifyFullStatus", STATUS)
        await until(lambda: there.outbound.sessions)
        await device.close()
        await until(lambda: not there.outbound.sessions)
        assert there.house.live.devices[DEVICE].available is False
        assert there.outbound.status()["connected"] == []


async def test_a_device_that_is_also_read_at_its_address_stays_available() -> None:
    """One of its two connections ends; the other one goes on."""
    async with door() as there, Device() as device:
        settings = Shelly.model_validate({"host": "127.0.0.1", "port": device.port, "poll": "1h"})
        configured = ShellyDevice(settings, there.house.collector, there.house.live, there.house.clock)
        reading = asyncio.create_task(configured.run())
        await asyncio.wait_for(configured.up.wait(), 5)
        dialler = await there.dial()
        await dialler.say("NotifyFullStatus", STATUS)
        await until(lambda: there.outbound.sessions)
        await dialler.close()
        await until(lambda: not there.outbound.sessions)
        assert there.house.live.devices[DEVICE].available is True
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
        assert there.house.live.devices[DEVICE].available is False


async def test_a_line_that_died_silently_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No end of the connection was ever told, as when a router is switched off."""
    monkeypatch.setattr("edge_energy.api.shelly_socket.HEARTBEAT", 0.1)
    async with door() as there:
        device = await there.dial(autoping=False)
        await device.say("NotifyFullStatus", STATUS)
        await until(lambda: there.outbound.sessions)
        await until(lambda: not there.outbound.sessions)


async def test_a_device_without_a_method_of_ours_is_no_defect(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it refuses ends its connection at worst; it dials again."""
    monkeypatch.setattr(module, "POLL", 0.0)
    async with door() as there:
        device = await there.dial()
        device.answers.clear()
        await device.say("NotifyFullStatus", STATUS)
        await device.ended()
        assert "Shelly.GetStatus" in device.asked
    assert not caplog.records


async def test_there_is_an_end_to_how_many_devices_may_have_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has a token cannot fill the memory with ever new names; who is known already gets in."""
    monkeypatch.setattr(module, "MOST_COUNTED", 1)
    async with door() as there:
        await (await there.dial()).say("NotifyFullStatus", STATUS)
        await until(lambda: DEVICE in there.outbound.sessions)
        another = await there.dial()
        await another.say("NotifyFullStatus", STATUS, "shellyplus1pm-aabbccddeeff")
        assert await another.ended() == 1013
        again = await there.dial()
        await again.say("NotifyFullStatus", STATUS)
        await until(lambda: there.outbound.status()["devices"][DEVICE]["frames"] >= 2)
        assert set(there.house.live.devices) == {DEVICE}


async def test_there_is_an_end_to_how_many_may_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_DEVICES", 2)
    async with door() as there:
        for _ in range(2):
            await there.dial()
        await until(lambda: len(there.outbound._open) == 2)
        assert await (await there.dial()).ended() == 1013


async def test_a_frame_too_large_ends_the_connection() -> None:
    async with door() as there:
        device = await there.dial()
        await device.say("NotifyFullStatus", STATUS)
        await device.socket.send_str("x" * (MAX_FRAME + 1))
        assert await device.ended() == 1009


async def test_garbage_ends_nothing() -> None:
    async with door() as there:
        device = await there.dial()
        await device.socket.send_str("<html>")
        await device.say("NotifyFullStatus", {"switch:0": ["x"], "sys": None})
        await device.socket.send_str('{"method":')
        await device.say("NotifyFullStatus", STATUS)
        await until(lambda: there.house.live.devices.get(DEVICE) and there.house.live.devices[DEVICE].values)
        assert there.house.recorded()[0][1]["power"] == 5.2


async def test_without_an_upgrade_there_is_nothing_to_see() -> None:
    async with door() as there, there.http.get(there.url) as answer:
        assert answer.status == 426
        assert answer.headers["Upgrade"] == "websocket"
        assert (await answer.json())["status"] == "error"


async def test_the_end_of_the_server_says_goodbye() -> None:
    """Devices dial again at once instead of waiting for a dead line."""
    async with door() as there:
        device = await there.dial()
        await device.say("NotifyFullStatus", STATUS)
        await until(lambda: there.outbound.sessions)
    assert device.socket.close_code == 1001
