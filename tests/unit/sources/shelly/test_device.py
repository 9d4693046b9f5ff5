"""One configured device: WebSocket while it is good, HTTP where it is not, and words for whoever must act."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from edge_energy.config import Shelly
from edge_energy.errors import Unavailable
from edge_energy.sources.shelly import device as module
from edge_energy.sources.shelly import polling
from edge_energy.sources.shelly.device import ShellyDevice
from edge_energy.sources.shelly.session import Garbled, Lost, WrongPassword
from edge_energy.supervisor import Supervisor
from tests.servers.base import free_port
from tests.unit.sources.shelly.scripted import DEVICE, OWN_ID, VALUES, Device, House, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

GEN1_PAGES: dict[str, dict[str, Any]] = {
    "/shelly": {"type": "SHSW-PM", "mac": "EC62608AB9A4", "auth": False, "fw": "v1.14.0"},
    "/settings": {"device": {"hostname": "shelly1pm-8AB9A4"}, "name": None},
    "/status": {"relays": [{"ison": True}], "meters": [{"power": 60.0, "total": 120}], "temperature": 40.5},
}


def shelly(house: House, port: int, **more: Any) -> ShellyDevice:
    settings = Shelly.model_validate({"host": "127.0.0.1", "port": port, "poll": "5s", **more})
    return ShellyDevice(settings, house.collector, house.live, house.clock)


@asynccontextmanager
async def supervised(component: ShellyDevice) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(component)
    running = asyncio.create_task(supervisor.run())
    yield supervisor
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def opened(device: Device, number: int) -> Callable[[], bool]:
    """Tell whether the WebSocket is open for this time."""
    return lambda: device.opened == number and bool(device.open)


async def test_the_first_question_brings_everything_and_pushes_follow() -> None:
    """Its status comes at once; notifications come because it knows who asked."""
    house = House()
    async with Device() as device:
        component = shelly(house, device.port)
        async with supervised(component):
            await asyncio.wait_for(component.up.wait(), 5)
            params = {"ts": None, "switch:0": {"id": 0, "apower": 900.0}}
            await device.say({"src": OWN_ID, "dst": "us", "method": "NotifyStatus", "params": params})
            await until(lambda: house.live.devices[DEVICE].values["power"] == 900.0)
            state, status = house.live.devices[DEVICE], component.status()
    assert (state.name, state.model, state.address) == ("charging post", "Pro1PM SPSW-201PE16EU", "127.0.0.1")
    assert {"kind": "shelly", "device": DEVICE, "generation": 2, "firmware": "1.7.5", "way": "websocket"}.items() <= (
        status.items()
    )
    assert (status["frames"], status["readings"], status["garbage"]) == (2, 2, 0)
    assert house.recorded()[0][1].items() >= VALUES.items()
    assert state.available is False  # it was stopped


async def test_a_websocket_that_is_refused_is_replaced_by_polling_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log tells once; when the WebSocket works again, it is used."""
    monkeypatch.setattr(module, "WEBSOCKET_EVERY", 0.05)
    house = House()
    async with Device() as device:
        device.sockets = False
        component = shelly(house, device.port)
        component._pace._interval = 0.02
        async with supervised(component) as supervisor:
            await until(lambda: device.opened >= 3)
            assert component.way == "rpc"
            device.sockets = True
            await until(lambda: component.way == "websocket" and device.open)
            assert supervisor.outage is None


async def test_a_websocket_that_breaks_again_and_again_is_replaced_by_polling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three times in a row, while the device itself answers."""
    monkeypatch.setattr("edge_energy.supervisor.FIRST_WAIT", 0.01)
    house = House()
    async with Device() as device:
        component = shelly(house, device.port)
        async with supervised(component):
            for number in range(1, module.MOST_BREAKS + 1):
                await until(opened(device, number))
                await device.cut()
            await until(lambda: component.way == "rpc" and component.up.is_set())


async def test_a_websocket_that_lasted_is_simply_dialled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart of the device now and then does not take pushes away."""
    monkeypatch.setattr("edge_energy.supervisor.FIRST_WAIT", 0.01)
    monkeypatch.setattr(module, "SHORT", 0.0)
    house = House()
    async with Device() as device:
        component = shelly(house, device.port)
        async with supervised(component):
            for number in range(1, 6):
                await until(opened(device, number))
                await device.cut()
            await until(lambda: component.way == "websocket" and device.open)


async def test_an_outage_is_one_line_and_its_end_another(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """However it begins (the socket ends) and goes on (nobody listens)."""
    monkeypatch.setattr("edge_energy.supervisor.FIRST_WAIT", 0.01)
    monkeypatch.setattr("edge_energy.supervisor.LONGEST_WAIT", 0.05)
    house = House()
    device = Device()
    async with device:
        component = shelly(house, port := device.port)
        async with supervised(component) as supervisor:
            await asyncio.wait_for(component.up.wait(), 5)
            await device.__aexit__()
            await until(lambda: supervisor.outage is not None and supervisor.outage.attempts > 5)
            assert house.live.devices[DEVICE].available is False
            device.fixed_port = port
            await device.__aenter__()
            await until(component.up.is_set)
            assert house.live.devices[DEVICE].available is True
    text = capfd.readouterr().out
    assert text.count("unavailable") == 1
    assert text.count("available again") == 1


async def test_a_line_that_died_silently_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No end of the connection was ever told, as when a router is switched off."""
    monkeypatch.setattr("edge_energy.sources.shelly.http_rpc.HEARTBEAT", 0.1)
    async with Device() as device:
        device.deaf = True
        with pytest.raises(Lost):
            await asyncio.wait_for(shelly(House(), device.port).run(), 5)


async def test_nobody_there() -> None:
    with pytest.raises(Lost, match="does not answer"):
        await shelly(House(), free_port()).run()


async def test_a_host_that_nobody_knows_names_the_setting() -> None:
    component = shelly(House(), 80, host="no-such-shelly.invalid")
    with pytest.raises(Unavailable, match=r"\[\[shelly\]\] host"):
        await component.run()


async def test_something_else_at_the_address_is_no_shelly() -> None:
    async with Device() as device:
        device.info = {"product": "printer"}
        with pytest.raises(Garbled, match="is it one"):
            await shelly(House(), device.port).run()


async def test_a_wrong_password_is_not_hammered_with() -> None:
    """Firmware 2 would lock everybody out."""
    async with Device() as device:
        device.answer = lambda _request: {"error": {"code": 401, "message": "{}"}}
        with pytest.raises(WrongPassword) as wrong:
            await shelly(House(), device.port, password="guessed").run()
        assert wrong.value.retry_after == 60
        assert device.requests.count("Shelly.GetStatus") == 1


async def test_429_makes_the_polls_rarer_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pushes go on meanwhile."""
    monkeypatch.setattr("edge_energy.sources.shelly.pace.FIRST_PAUSE", 0.01)
    refusals = [{"error": {"code": 429, "message": "Too many requests"}}] * 3
    house = House()
    async with Device() as device:
        usual = device.answer
        device.answer = lambda request: refusals.pop() if refusals else usual(request)
        component = shelly(house, device.port)
        async with supervised(component) as supervisor:
            await asyncio.wait_for(component.up.wait(), 5)
            assert component.status()["throttled"] == 3
            assert device.opened == 1
            assert supervisor.last_error is None


async def test_429_before_anything_else_is_respected() -> None:
    async with Device() as device:
        device.admit = lambda _request: web.Response(status=429, headers={"Retry-After": "120"})
        component = shelly(House(), device.port)
        with pytest.raises(Unavailable) as throttled:
            await component.run()
        assert throttled.value.retry_after == 120


async def test_one_missed_poll_is_forgiven_two_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is open but dead is noticed; a device that is slow once is not thrown off."""
    monkeypatch.setattr(polling, "_AGAIN", 0.0)
    bad: list[dict[str, Any]] = [{"result": "x"}]
    house = House()
    async with Device() as device:
        usual = device.answer
        device.answer = lambda request: bad.pop() if bad else usual(request)
        component = shelly(house, device.port)
        async with supervised(component):
            await asyncio.wait_for(component.up.wait(), 5)
            assert device.opened == 1
            assert component.status()["garbage"] == 1
        bad += [{"result": "x"}] * 2
        with pytest.raises(Garbled):
            await component.run()


def gen1(request: web.Request) -> web.Response:
    page = GEN1_PAGES.get(request.path)
    return web.Response(status=404) if page is None else web.json_response(page)


async def test_gen1_is_polled_and_known_as_by_mqtt() -> None:
    house = House()
    async with Device() as device:
        device.admit = gen1
        component = shelly(house, device.port)
        component._pace._interval = 0.01
        async with supervised(component):
            await until(lambda: device.requests.count("/status") >= 3)
            status = component.status()
    assert {
        "device": "shelly-8ab9a4",
        "generation": 1,
        "firmware": "v1.14.0",
        "way": "gen1",
    }.items() <= status.items()
    values = house.recorded()[0][1]
    assert values == {"output": True, "power": 60, "energy": 2, "temperature": 40.5}


async def test_gen1_that_answers_nonsense_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "_AGAIN", 0.0)
    monkeypatch.setitem(GEN1_PAGES, "/status", {"uptime": 5})
    async with Device() as device:
        device.admit = gen1
        with pytest.raises(Garbled):
            await shelly(House(), device.port).run()


async def test_the_readable_password_of_gen1_is_not_sent_to_what_takes_its_place() -> None:
    """Gen2 wants a digest; a password in clear would be of no use, and seen by everybody."""
    sent: list[str] = []

    def admit(request: web.Request) -> web.Response | None:
        sent.append(request.headers.get("Authorization", ""))
        return gen1(request) if replaced is None else None

    replaced: Device | None = None
    house = House()
    async with Device() as device:
        device.admit, device.sockets = admit, False
        component = shelly(house, device.port, password="secret")
        async with supervised(component):
            await asyncio.wait_for(component.up.wait(), 5)
        assert any(header.startswith("Basic ") for header in sent)
        sent.clear()
        replaced = device
        async with supervised(component):
            await asyncio.wait_for(component.up.wait(), 5)
        assert sent
        assert not any(header.startswith("Basic ") for header in sent)


async def test_another_device_at_the_same_address_is_another_device() -> None:
    """An address may be given to another one by the router."""
    house = House()
    async with Device() as device:
        component = shelly(house, device.port)
        for own_id in (OWN_ID, "shellyplus1pm-aabbccddeeff"):
            device.info["id"] = own_id
            async with supervised(component):
                await asyncio.wait_for(component.up.wait(), 5)
            component.up.clear()
    assert {entry.device for entry, _ in house.recorded()} == {DEVICE, "shelly-aabbccddeeff"}


async def test_a_websocket_that_is_cut_off_while_dialling_counts_as_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device with no channel left resets whoever dials; its pages answer between."""
    monkeypatch.setattr("edge_energy.supervisor.FIRST_WAIT", 0.01)
    house = House()
    async with Device() as device:
        component = shelly(house, device.port)
        dialled = 0

        async def reset() -> None:
            nonlocal dialled
            dialled += 1
            raise Lost("device", "reset")

        component.rpc.websocket = reset  # type: ignore[method-assign, assignment]
        async with supervised(component):
            await until(lambda: component.way == "rpc" and component.up.is_set())
        assert dialled == module.MOST_BREAKS
