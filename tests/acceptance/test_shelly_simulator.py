"""The simulated Shelly devices before clients that nobody here wrote: aioshelly, aiohttp, mosquitto, zeroconf."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiohttp import ClientError, ClientSession, DigestAuthMiddleware, ServerDisconnectedError, encode_basic_auth, web
from aioshelly.common import ConnectionOptions
from aioshelly.exceptions import InvalidAuthError, RpcCallError
from aioshelly.rpc_device import RpcDevice, RpcUpdateType, WsServer
from aioshelly.zeroconf import async_lookup_device_by_name
from zeroconf.asyncio import AsyncZeroconf

from tests.servers.base import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.servers.mosquitto import Mosquitto
    from tests.servers.shelly import SimulatedDevice, SimulatedShelly

PASSWORD = "Köln=secret"  # with what base64, headers and encodings stumble over
PROTECTION = [(None, 1), (None, 2), (PASSWORD, 1), (PASSWORD, 2)]
GEN2 = ["pro1pm", "plus1pm", "pro3em"]
PATIENCE = 15


class Client:
    """aioshelly's view of one device, and everything that it was told."""

    def __init__(self, device: RpcDevice) -> None:
        self.device = device
        self.updates: list[RpcUpdateType] = []
        self._news = asyncio.Event()
        device.subscribe_updates(self._take)

    def _take(self, _: RpcDevice, kind: RpcUpdateType) -> None:
        self.updates.append(kind)
        self._news.set()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for updates until the condition holds."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()


@contextlib.asynccontextmanager
async def connected(
    device: SimulatedDevice, password: str | None = None, server: WsServer | None = None
) -> AsyncIterator[Client]:
    user = None if password is None else "admin"
    options = ConnectionOptions(device.host, user, password, device_mac=device.mac, port=device.port)
    async with ClientSession() as session:
        client = Client(await RpcDevice.create(session, server, options))
        try:
            await client.device.initialize()
            yield client
        finally:
            await client.device.shutdown()


async def disturb(act: Callable[..., Any], *parameters: Any, **named: Any) -> Any:
    """Use the control door without holding up the loop."""
    return await asyncio.to_thread(act, *parameters, **named)


@pytest.mark.parametrize(("password", "firmware"), PROTECTION)
async def test_aioshelly_initialises_every_gen2_device(
    shelly: Callable[..., SimulatedShelly], password: str | None, firmware: int
) -> None:
    """With and without authentication, by the rules of both firmwares; what it reads is the truth."""
    for device in shelly(*GEN2, password=password, firmware=firmware):
        async with connected(device, password) as client:
            seen = client.device
            assert seen.firmware_supported
            assert seen.requires_auth is (password is not None)
            assert seen.hostname == device.id
            assert seen.version.startswith(str(firmware))
            truth = await disturb(device.state)
            if device.name == "pro3em":
                assert seen.status["em:0"]["total_act_power"] == pytest.approx(truth["power"], abs=50)
            else:
                assert seen.status["switch:0"]["output"] is truth["output"]
                total = seen.status["switch:0"]["aenergy"]["total"]
                assert total == pytest.approx(truth["energy"] + truth["energy_returned"], abs=1)
            assert truth["connections"] == 1


@pytest.mark.parametrize("firmware", [1, 2])
async def test_a_wrong_password_is_refused(shelly: Callable[..., SimulatedShelly], firmware: int) -> None:
    """As is none."""
    device = shelly("pro1pm", password=PASSWORD, firmware=firmware)["pro1pm"]
    for password in ("wrong", None):
        with pytest.raises(InvalidAuthError):
            async with connected(device, password):
                pass
    assert (await disturb(device.state))["unauthorized"] >= 2


@pytest.mark.parametrize("name", ["pro1pm", "plus1pm"])
async def test_aioshelly_follows_power_and_energy(shelly: Callable[..., SimulatedShelly], name: str) -> None:
    """A change of the load is pushed; a full minute brings the counters, with their minutes."""
    device = shelly(name, options=["--ntp-delay", "0"])[name]
    async with connected(device) as client:
        await disturb(device.load, 1500)
        status = client.device.status["switch:0"]
        await client.until(lambda: status["apower"] == 1500)
        await disturb(device.minute)
        await client.until(lambda: status["aenergy"].get("by_minute"))
        truth = await disturb(device.state)
        assert status["aenergy"]["total"] == pytest.approx(truth["energy"], abs=2)
        await disturb(device.load, None)
        await client.until(lambda: status["apower"] < 1000)


async def test_aioshelly_follows_a_phase_that_exports(shelly: Callable[..., SimulatedShelly]) -> None:
    """A negative phase arrives negative, its energy as returned energy."""
    device = shelly("pro3em")["pro3em"]
    async with connected(device) as client:
        await disturb(device.load, -2500)
        await client.until(lambda: client.device.status["em:0"]["a_act_power"] == -2500)
        await disturb(device.minute)
        await client.until(lambda: client.device.status["emdata:0"]["a_total_act_ret_energy"] > 0)


@pytest.mark.parametrize(("password", "firmware"), PROTECTION)
async def test_aioshelly_switches(
    shelly: Callable[..., SimulatedShelly], password: str | None, firmware: int
) -> None:
    """Off, on, and off again by the timer; each is pushed and true."""
    device = shelly("pro1pm", password=password, firmware=firmware)["pro1pm"]
    async with connected(device, password) as client:
        status = client.device.status["switch:0"]
        assert await client.device.call_rpc("Switch.Set", {"id": 0, "on": False}) == {"was_on": True}
        await client.until(lambda: not status["output"])
        assert (await disturb(device.state))["output"] is False
        await client.device.call_rpc("Switch.Set", {"id": 0, "on": True, "toggle_after": 4})
        await client.until(lambda: status["output"] and status["timer_duration"] == 4)
        await client.until(lambda: not status["output"])
        assert status["timer_started_at"] is None
        assert status["source"] == "timer"


@pytest.mark.parametrize(("password", "firmware"), PROTECTION)
async def test_aioshelly_sees_a_reboot(
    shelly: Callable[..., SimulatedShelly], password: str | None, firmware: int
) -> None:
    """The connection breaks; initialised again, the counter begins anew and the clock is not set yet."""
    device = shelly("plus1pm", password=password, firmware=firmware, options=["--ntp-delay", "-1"])["plus1pm"]
    async with connected(device, password) as client:
        await disturb(device.reboot, reset_counters=True)
        await client.until(lambda: RpcUpdateType.DISCONNECTED in client.updates)
        await disturb(wait_until, lambda: device.state()["boots"] == 2 and reachable(device))
        await client.device.initialize()
        status = client.device.status
        assert status["switch:0"]["aenergy"] == {"total": pytest.approx(0, abs=1)}
        assert (status["sys"]["unixtime"], status["sys"]["time"]) == (None, None)
        await disturb(device.clock, True)
        await client.device.poll()
        assert client.device.status["sys"]["unixtime"] > 1.7e9


async def test_a_stale_nonce_is_renewed(shelly: Callable[..., SimulatedShelly]) -> None:
    """Firmware 2 says `stale` when a nonce is too old; aioshelly goes on with the new one."""
    device = shelly("pro1pm", password=PASSWORD, firmware=2, options=["--nonce-life", "2"])["pro1pm"]
    async with connected(device, PASSWORD) as client:
        before = (await disturb(device.state))["unauthorized"]
        await asyncio.sleep(2.1)  # the nonce's life, not synchronisation
        assert await client.device.call_rpc("Switch.GetStatus", {"id": 0})
        assert (await disturb(device.state))["unauthorized"] == before + 1


@pytest.mark.parametrize("password", [None, PASSWORD])
async def test_the_outbound_websocket_reaches_aioshelly(
    shelly: Callable[..., SimulatedShelly], password: str | None
) -> None:
    """Configured by aioshelly, used after the reboot: its server gets the full status and then what changes."""
    device = shelly("pro1pm", password=password)["pro1pm"]
    server, frames, news = WsServer(), [], asyncio.Event()
    port = free_port()
    await server.initialize(port)

    def take(frame: dict[str, Any]) -> None:
        frames.append(frame)
        news.set()

    async with connected(device, password) as client:
        assert await client.device.update_outbound_websocket(f"ws://127.0.0.1:{port}/api/shelly/ws")
    unsubscribe = server.subscribe_updates(device.mac, take)
    try:
        async with asyncio.timeout(PATIENCE):
            await news.wait()
            assert frames[0]["method"] == "NotifyFullStatus"
            assert frames[0]["params"].keys() >= {"ts", "switch:0", "sys", "wifi"}
            await disturb(device.load, 2000)
            while not any(frame["params"].get("switch:0", {}).get("apower") == 2000 for frame in frames):
                news.clear()
                await news.wait()
        assert (await disturb(device.state))["outbound_connected"]
    finally:
        unsubscribe()
        server.close()


async def test_requests_over_the_outbound_websocket_need_no_password(
    shelly: Callable[..., SimulatedShelly],
) -> None:
    """Whoever the device calls may ask and switch; when the socket breaks, the device comes back."""
    calls: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def serve(request: web.Request) -> web.StreamResponse:
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        hello = await connection.receive_json()
        await connection.send_json({"id": 1, "src": "us", "method": "Switch.Set", "params": {"id": 0, "on": False}})
        while (frame := await connection.receive_json()).get("id") != 1:
            pass
        await calls.put({"hello": hello, "path": request.path, "answer": frame})
        await connection.close()
        return connection

    async with listening(serve) as url:
        server = url.replace("http", "ws") + "shelly/ws/secret"
        environment = {"SHELLY_SERVER": server}
        await disturb(shelly, "pro1pm", password=PASSWORD, environment=environment)
        async with asyncio.timeout(PATIENCE):
            first, second = await calls.get(), await calls.get()
    assert first["path"] == "/shelly/ws/secret"
    assert first["hello"]["method"] == second["hello"]["method"] == "NotifyFullStatus"
    assert (first["answer"]["result"], second["answer"]["result"]) == ({"was_on": True}, {"was_on": False})


@pytest.mark.parametrize("firmware", [1, 2])
async def test_http_with_the_digest_of_aiohttp(shelly: Callable[..., SimulatedShelly], firmware: int) -> None:
    """Each form of a request; each connection ends with its answer; the exempt ones need no password."""
    device = shelly("pro1pm", password=PASSWORD, firmware=firmware, options=["--rate-limit", "0"])["pro1pm"]
    async with ClientSession(device.url) as anybody:
        for path in ("/shelly", "/rpc/Shelly.GetDeviceInfo"):
            assert (await (await anybody.get(path)).json())["id"] == device.id
        for path in ("/rpc/Shelly.GetStatus", "/rpc/Switch.Set?id=0&on=false", "/relay/0?turn=off"):
            assert (await anybody.get(path)).status == 401
    async with ClientSession(device.url, middlewares=[DigestAuthMiddleware("admin", PASSWORD)]) as session:
        frame = {"id": 5, "method": "Switch.Set", "params": {"id": 0, "on": False}}
        answer = await session.post("/rpc", json=frame)
        assert answer.headers["Connection"] == "close"
        assert await answer.json() == {"id": 5, "src": device.id, "result": {"was_on": True}}
        answer = await session.post("/rpc/Switch.Set", json={"id": 0, "on": True})
        assert await answer.json() == {"was_on": False}
        answer = await session.get("/rpc/Switch.Set?id=0&on=true&toggle_after=10")
        assert await answer.json() == {"was_on": True}
        answer = await session.get("/relay/0?turn=on&timer=10")
        assert (await answer.json())["has_timer"] is True
        for path, status, code in (
            ("/rpc/No.Such", 404, 404),
            ("/rpc/Switch.Set", 500, -103),
            ("/rpc/Switch.Set?id=3&on=true", 500, -105),
        ):
            answer = await session.get(path)
            assert (answer.status, (await answer.json())["code"]) == (status, code)
    state = await disturb(device.state)
    assert state["unauthorized"] == 3 + 1  # the middleware counts on one nonce for everything
    assert state["output"]


async def test_fast_polling_is_answered_429(shelly: Callable[..., SimulatedShelly]) -> None:
    """Firmware 2 only; over WebSocket and HTTP alike, and it passes."""
    device = shelly("pro1pm", firmware=2, options=["--rate-limit", "5"])["pro1pm"]
    async with connected(device) as client:
        with pytest.raises(RpcCallError, match="Too many requests"):
            await poll(client.device, 30)
        async with ClientSession(device.url) as session:
            statuses = [(await session.get("/rpc/Switch.GetStatus?id=0")).status for _ in range(5)]
        assert 429 in statuses
        assert (await disturb(device.state))["throttled"] >= 2


async def test_who_never_reuses_a_nonce_is_answered_429(shelly: Callable[..., SimulatedShelly]) -> None:
    """Firmware 2 keeps 32 nonces; who reuses his is served all the while."""
    options = ["--rate-limit", "0"]
    device = shelly("pro1pm", password=PASSWORD, firmware=2, options=options)["pro1pm"]
    async with ClientSession(device.url, middlewares=[DigestAuthMiddleware("admin", PASSWORD)]) as careful:
        assert (await careful.get("/rpc/Shelly.GetStatus")).status == 200
        async with ClientSession(device.url) as careless:
            statuses = [(await careless.get("/rpc/Shelly.GetStatus")).status for _ in range(40)]
        assert statuses == [401] * 31 + [429] * 9
        assert (await careful.get("/rpc/Shelly.GetStatus")).status == 200


async def test_at_most_six_connections(shelly: Callable[..., SimulatedShelly]) -> None:
    """The seventh is reset, and a place that becomes free is given again."""
    device = shelly("pro1pm")["pro1pm"]
    async with ClientSession(device.url) as session:
        sockets = [await session.ws_connect("/rpc") for _ in range(6)]
        with pytest.raises((ServerDisconnectedError, ClientError)):
            await session.get("/shelly")
        await sockets[0].close()
        await disturb(wait_until, lambda: device.state()["connections"] == 5)
        assert (await session.get("/shelly")).status == 200
        for connection in sockets:
            await connection.close()
    state = await disturb(device.state)
    assert state["most_connections"] == 6
    assert state["refused_connections"] >= 1  # aiohttp tries again by itself


async def test_notifications_begin_with_the_first_request_that_has_a_source(
    shelly: Callable[..., SimulatedShelly],
) -> None:
    """Who only listens hears nothing."""
    device = shelly("pro1pm")["pro1pm"]
    async with ClientSession(device.url) as session, session.ws_connect("/rpc") as connection:
        await disturb(device.load, 1000)
        await disturb(wait_until, lambda: device.state()["power"] == 1000)
        await connection.send_json({"id": 1, "method": "Shelly.GetDeviceInfo"})
        assert "dst" not in await connection.receive_json()
        await connection.send_json({"id": 2, "src": "me", "method": "Shelly.GetDeviceInfo"})
        assert (await connection.receive_json())["dst"] == "me"
        await disturb(device.load, 2000)
        frame = await connection.receive_json(timeout=PATIENCE)
        assert (frame["method"], frame["dst"], frame["src"]) == ("NotifyStatus", "me", device.id)


async def test_the_network_goes_and_comes_back(shelly: Callable[..., SimulatedShelly]) -> None:
    """Connections break and new ones are refused for as long; the device itself never stopped."""
    device = shelly("pro1pm")["pro1pm"]
    async with connected(device) as client:
        await disturb(device.load, 3000)
        await disturb(device.wifi, 6)
        await client.until(lambda: RpcUpdateType.DISCONNECTED in client.updates)
        assert not reachable(device)
        await disturb(wait_until, lambda: reachable(device), 20)
        await client.device.initialize()
        assert client.device.status["switch:0"]["apower"] == 3000
        assert client.device.status["sys"]["uptime"] >= 1
    assert (await disturb(device.state))["boots"] == 1


async def test_slow_and_senseless_answers(shelly: Callable[..., SimulatedShelly]) -> None:
    """On demand, and sound again afterwards."""
    device = shelly("pro1pm")["pro1pm"]
    async with ClientSession(device.url) as session:
        await disturb(device.slow, 30)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await session.get("/rpc/Shelly.GetStatus")
        await disturb(device.slow, 0)
        await disturb(device.garbage, True)
        texts = [await (await session.get("/rpc/Shelly.GetStatus")).text() for _ in range(4)]
        assert texts[0].startswith("<html>")
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(texts[1])
        assert orjson.loads(texts[2])["switch:0"]["output"] == "yes"
        assert "1e999" in texts[3]
        await disturb(device.garbage, False)
        assert (await (await session.get("/rpc/Shelly.GetStatus")).json())["switch:0"]["output"] is True


async def test_webhooks(shelly: Callable[..., SimulatedShelly]) -> None:
    """Created over RPC; the GET carries the values, and what cannot be evaluated as it was written."""
    queries: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    async def serve(request: web.Request) -> web.Response:
        await queries.put(dict(request.query))
        return web.Response()

    device = shelly("pro1pm")["pro1pm"]
    async with listening(serve) as url, ClientSession(device.url) as session:
        hook = {
            "cid": 0,
            "enable": True,
            "event": "switch.active_power_change",
            "condition": "ev.apower > 1000",
            "urls": [url + 'webhook?power=${ev.apower}&voltage=${status["switch:0"].voltage}&x=${ev.none}'],
        }
        assert await (await session.post("/rpc/Webhook.Create", json=hook)).json() == {"id": 1, "rev": 1}
        await disturb(device.load, 1800)
        async with asyncio.timeout(PATIENCE):
            query = await queries.get()
    assert float(query["power"]) == 1800
    assert 207 < float(query["voltage"]) < 253
    assert query["x"] == "${ev.none}"
    await disturb(wait_until, lambda: device.state()["webhooks_sent"] == 1)


async def test_gen1_over_http(shelly: Callable[..., SimulatedShelly]) -> None:
    """Basic authentication but for /shelly; Watt-minutes; a timer; a boot resets the counter."""
    device = shelly("gen1", password="plain", options=["--speed", "600"])["gen1"]
    async with ClientSession(device.url) as anybody:
        assert (await (await anybody.get("/shelly")).json())["auth"] is True
        assert (await anybody.get("/relay/0?turn=off")).status == 401
    authorization = {"Authorization": encode_basic_auth("admin", "plain")}
    async with ClientSession(device.url, headers=authorization) as session:
        await disturb(device.load, 600)
        await disturb(wait_until, lambda: device.state()["energy"] > 100)
        truth = await disturb(device.state)
        meter = (await (await session.get("/status")).json())["meters"][0]
        assert meter["power"] == 600
        assert meter["total"] >= truth["energy"] * 60 - 1
        answer = await (await session.get("/relay/0?turn=off&timer=60")).json()
        assert (answer["ison"], answer["has_timer"]) == (False, True)
        assert (await (await session.get("/settings")).json())["relays"][0]["ison"] is False
        await disturb(device.reboot)
        await disturb(wait_until, lambda: device.state()["boots"] == 2 and reachable(device))
        assert (await (await session.get("/status")).json())["meters"][0]["total"] == 0


def test_mqtt(shelly: Callable[..., SimulatedShelly], mosquitto: Callable[..., Mosquitto]) -> None:
    """Status, frames, requests, commands, and the last will when the network goes."""
    broker = mosquitto()
    devices = shelly("pro1pm", "gen1", options=["--mqtt-port", str(broker.port), "--status-ntf"])
    post, plug = devices["pro1pm"], devices["gen1"]
    wait_until(lambda: all(device.state()["mqtt_connected"] for device in devices))
    assert broker.receive(f"{post.id}/online", 1) == ["true"]
    post.load(1200)
    wait_until(lambda: '"apower":1200' in broker.receive(f"{post.id}/status/switch:0", 1, timeout=20)[0])
    broker.publish(f"{post.id}/command/switch:0", "off")
    wait_until(lambda: not post.state()["output"])
    broker.publish(f"shellies/{plug.id}/relay/0/command", "off")
    wait_until(lambda: not plug.state()["output"])
    post.wifi(5)
    plug.wifi(5)
    wait_until(lambda: broker.receive(f"{post.id}/online", 1) == ["false"])
    wait_until(lambda: broker.receive(f"shellies/{plug.id}/online", 1) == ["false"])
    wait_until(lambda: broker.receive(f"{post.id}/online", 1) == ["true"], timeout=20)


async def test_discovery_on_the_loopback_interface(shelly: Callable[..., SimulatedShelly]) -> None:
    """Multicast DNS finds address and port."""
    device = shelly("pro1pm", options=["--mdns"])["pro1pm"]
    zeroconf = AsyncZeroconf(interfaces=["127.0.0.1"])
    try:
        assert await async_lookup_device_by_name(zeroconf, device.id) == ("127.0.0.1", device.port)
    finally:
        await zeroconf.async_close()


@contextlib.asynccontextmanager
async def listening(handler: Callable[[web.Request], Any]) -> AsyncIterator[str]:
    """Serve every path with one handler; give the base URL."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        await runner.cleanup()


async def poll(device: RpcDevice, times: int) -> None:
    """Ask without a pause."""
    for _ in range(times):
        await device.call_rpc("Switch.GetStatus", {"id": 0})


def reachable(device: SimulatedDevice) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((device.host, device.port)) == 0
