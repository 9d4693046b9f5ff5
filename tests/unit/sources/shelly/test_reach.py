"""Which connections there are with a device: what reads it now, best first, and nothing while it is away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from edge_energy.errors import Unavailable
from edge_energy.sources.shelly import patient
from edge_energy.sources.shelly.outbound import OutboundSockets
from edge_energy.sources.shelly.reach import Reach
from edge_energy.sources.shelly.recording import Counters
from edge_energy.sources.shelly.session import Session, Throttled
from tests.unit.sources.shelly.scripted import DEVICE, Device, House, until
from tests.unit.sources.shelly.test_device import GEN1_PAGES, shelly, supervised

if TYPE_CHECKING:
    from edge_energy.sources.shelly.device import ShellyDevice


def reach(*devices: ShellyDevice) -> Reach:
    house = House()
    return Reach(devices, OutboundSockets(house.collector, house.live, house.clock))


def connections(found: Reach, device: str = DEVICE) -> list[Any]:
    return [calls.connection for calls in found.calls(device)]


async def test_a_websocket_comes_before_http_and_nothing_is_opened() -> None:
    async with Device() as device:
        component = shelly(House(), device.port)
        found = reach(component)
        assert not connections(found)
        async with supervised(component):
            await asyncio.wait_for(component.up.wait(), 5)
            assert connections(found) == [component.session, component.rpc]
            assert not list(found.pages(DEVICE))
            assert not connections(found, "shelly-aabbccddeeff")
            opened = device.opened
            (calls, *_) = found.calls(DEVICE)
            await calls.call("Switch.GetStatus", {"id": 0})
            assert device.requests[-1] == "Switch.GetStatus"
            assert device.opened == opened
            await device.cut()
            await until(lambda: component.session is None)
            assert not connections(found)
        assert component.session is None


async def test_who_has_dialled_us_comes_first() -> None:
    """It has proved that it lives, and asks for no password."""
    async with Device() as device:
        component = shelly(House(), device.port)
        found = reach(component)
        dialled = Session(None, Counters(DEVICE))  # type: ignore[arg-type]
        found._outbound.sessions[DEVICE] = dialled
        assert connections(found) == [dialled]
        async with supervised(component):
            await asyncio.wait_for(component.up.wait(), 5)
            assert connections(found) == [dialled, component.session, component.rpc]


async def test_a_device_of_the_first_generation_has_pages() -> None:
    async with Device() as device:
        device.admit = lambda request: web.json_response(GEN1_PAGES[request.path])
        component = shelly(House(), device.port)
        found = reach(component)
        async with supervised(component):
            await asyncio.wait_for(component.up.wait(), 5)
            assert list(found.pages("shelly-8ab9a4")) == [component.rpc]
            assert not connections(found, "shelly-8ab9a4")
        assert not list(found.pages("shelly-8ab9a4"))


async def test_one_question_too_many_is_asked_again_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Firmware 2 says 429; the command of somebody who waits must not fail for that."""
    monkeypatch.setattr(patient, "PAUSES", (0.001, 0.001))
    async with Device() as device:
        component = shelly(House(), device.port)
        device.sockets = False
        async with supervised(component):
            await asyncio.wait_for(component.up.wait(), 5)
            (calls,) = reach(component).calls(DEVICE)
            busy = [429, 429]
            device.admit = lambda _request: web.Response(status=busy.pop()) if busy else None
            assert await calls.call("Switch.Set", {"id": 0, "on": True})
            assert calls.peer == component.rpc.peer
            busy += [429] * 9
            with pytest.raises(Throttled):
                await calls.call("Switch.Set", {"id": 0, "on": True})
            assert issubclass(Throttled, Unavailable)
