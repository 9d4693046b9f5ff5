"""HTTP to one device: bounded, patient, never more than two connections, and sparing with passwords."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import Any

import pytest
from aiohttp import web

from edge_energy.devices.shelly_rpc import RpcError
from edge_energy.errors import Unavailable
from edge_energy.sources.shelly import http_rpc as module
from edge_energy.sources.shelly.http_rpc import HttpRpc, WebSocketRefused
from edge_energy.sources.shelly.session import Garbled, Lost, NoAnswer, Throttled, WrongPassword
from simulator.shelly.digest import Digest
from tests.servers.base import free_port
from tests.unit.sources.shelly.scripted import INFO, OWN_ID, STATUS, Device


def rpc(device: Device, password: str | None = None) -> HttpRpc:
    return HttpRpc("127.0.0.1", device.port, password)


async def test_a_result_and_an_error() -> None:
    async with Device() as device, rpc(device) as client:
        assert await client.call("Shelly.GetStatus") == STATUS
        assert await client.get("/shelly") == INFO
        device.answer = lambda _request: {"error": {"code": -103, "message": "Missing required 'id'"}}
        with pytest.raises(RpcError, match=r"-103.*Missing"):
            await client.call("Switch.Set", {"on": True})


async def test_a_page_is_asked_for_with_its_query() -> None:
    """As Gen1 is switched."""
    asked: list[str] = []

    def note(request: web.Request) -> None:
        asked.append(request.raw_path)

    async with Device() as device, rpc(device) as client:
        device.admit = note
        await client.get("/relay/0", {"turn": "on", "timer": "60"})
        await client.get("/relay/0")
    assert asked == ["/relay/0?turn=on&timer=60", "/relay/0"]


async def test_whoever_asks_where_nothing_is_connected_is_told_so() -> None:
    """A command may come at any moment, also while the device is away."""
    async with Device() as device:
        client = rpc(device)
        for work in (client.call("Switch.Set"), client.get("/relay/0"), client.websocket()):
            with pytest.raises(Lost):
                await work
        assert not device.requests


async def test_whoever_waits_when_the_connections_are_closed_is_told_so() -> None:
    """Those with a connection, and those who waited for one: nobody takes it for being cancelled."""
    async with Device() as device:
        reached = asyncio.Event()

        def hold(_request: web.Request) -> None:
            reached.set()

        device.admit = hold
        device.answer = lambda _request: {}
        original = device._http

        async def for_ever(request: web.Request) -> web.Response:
            await original(request)
            return await asyncio.Event().wait()  # type: ignore[return-value]

        device._http = for_ever  # type: ignore[method-assign]
        await device.__aexit__()
        async with device:
            async with rpc(device) as client:
                asking = [asyncio.create_task(client.call("Switch.Set")) for _ in range(4)]
                await reached.wait()
                await asyncio.sleep(0)
            outcomes = await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 5)
    assert [type(outcome) for outcome in outcomes] == [Lost] * 4


async def test_who_is_really_cancelled_is_cancelled() -> None:
    async with Device() as device, rpc(device) as client:
        reached = asyncio.Event()

        def hold(_request: web.Request) -> None:
            reached.set()

        device.admit = hold
        asking = asyncio.create_task(client.call("Switch.Set"))
        await reached.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(text="<html>busy</html>"),
        web.Response(text='{"id":1,"src":"x","resu'),
        web.Response(text="[1]"),
        web.Response(text='{"id":99,"src":"x","result":{}}'),
        web.Response(text='{"id":["1"],"src":"x","result":{}}'),
        web.Response(text="{" * 100_000),
        web.Response(text='"' + "x" * (module.LARGEST + 1) + '"'),
        web.Response(status=302, headers={"Location": "http://127.0.0.1:1/rpc"}),
        web.Response(status=404),
        web.Response(text="{}", headers={"Content-Encoding": "gzip"}),
    ],
    ids=["html", "cut off", "list", "another's", "no number", "deep", "large", "redirect", "missing", "gzip"],
)
async def test_what_is_no_answer_says_so(answer: web.Response) -> None:
    """It is neither taken for a value nor a defect of ours."""
    async with Device() as device, rpc(device) as client:
        device.admit = lambda _request: answer
        with pytest.raises(Garbled):
            await client.call("Shelly.GetStatus")


async def test_nobody_there_and_nobody_answering_are_the_same_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage is one line in the log, however it changes its face."""
    port = free_port()
    monkeypatch.setattr(module, "TIMEOUT", 0.1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", port))
        async with HttpRpc("127.0.0.1", port) as client:
            with pytest.raises(Lost) as nobody:
                await client.get("/shelly")
            with pytest.raises(Lost) as no_socket:
                await client.websocket()
            silent.listen()
        async with HttpRpc("127.0.0.1", port) as client:
            with pytest.raises(NoAnswer) as no_answer:
                await client.get("/shelly")
            with pytest.raises(NoAnswer) as no_upgrade:
                await client.websocket()
    assert len({str(error.value) for error in (nobody, no_socket, no_answer, no_upgrade)}) == 1


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("", None), ("soon", None), ("86400", 300.0)])
async def test_429_carries_what_the_device_wishes(header: str, seconds: float | None) -> None:
    async with Device() as device, rpc(device) as client:
        device.admit = lambda _request: web.Response(status=429, headers={"Retry-After": header})
        with pytest.raises(Throttled) as throttled:
            await client.call("Shelly.GetStatus")
        assert throttled.value.retry_after == seconds


async def test_there_are_never_more_than_two_connections() -> None:
    """A device has six channels for everybody; the WebSocket is one of our two."""
    at_once: list[int] = []
    working = 0

    async with Device() as device:
        original = device._http

        async def slowly(request: web.Request) -> web.Response:
            nonlocal working
            working += 1
            at_once.append(working)
            await asyncio.sleep(0.02)
            working -= 1
            return await original(request)

        device._http = slowly  # type: ignore[method-assign]
        await device.__aexit__()
        async with device, rpc(device) as client:
            await asyncio.gather(*(client.get("/shelly") for _ in range(8)))
            assert max(at_once) == 2
            at_once.clear()
            line = await client.websocket()
            await asyncio.gather(*(client.get("/shelly") for _ in range(8)))
            assert max(at_once) == 1
            await line.close()


async def test_a_websocket_that_is_refused() -> None:
    async with Device() as device, rpc(device) as client:
        device.sockets = False
        with pytest.raises(WebSocketRefused):
            await client.websocket()


class Guarded:
    """Lets in who proves the password in the header, as the simulated devices check it."""

    def __init__(self, firmware: int, password: str) -> None:
        self.digest = Digest(OWN_ID, firmware, random.Random(1))
        self.digest.set_password(password)
        self.now = 0.0
        self.refused: list[int] = []
        self.seen: list[str] = []

    def __call__(self, request: web.Request) -> web.Response | None:
        """Answer a request that may not pass."""
        header = request.headers.get("Authorization")
        self.seen.append(header or "")
        if request.path == "/shelly":
            return None
        refusal = self.digest.check_header(header, request.method, request.raw_path, self.now)
        if refusal is None:
            return None
        self.refused.append(refusal.code)
        headers = {"WWW-Authenticate": refusal.header} if refusal.header else {}
        return web.json_response({"code": refusal.code}, status=refusal.code, headers=headers)


@pytest.mark.parametrize("firmware", [1, 2])
async def test_digest_follows_the_rules_of_the_firmware(firmware: int) -> None:
    """One nonce, its count from 1 and only growing; a new one when it has expired; it outlives our connections."""
    async with Device() as device:
        guarded = device.admit = Guarded(firmware, "secret")
        client = rpc(device, "secret")
        for _ in range(2):
            async with client:
                for _ in range(20):
                    assert await client.call("Shelly.GetStatus") == STATUS
        assert guarded.refused == [401]
        guarded.now = 4000.0
        async with client:
            assert await client.call("Shelly.GetStatus") == STATUS
        assert guarded.refused == ([401, 401] if firmware == 2 else [401])


async def test_several_questions_at_once_do_not_confuse_the_count() -> None:
    """Firmware 2 refuses a count that it has seen."""
    async with Device() as device, rpc(device, "secret") as client:
        guarded = device.admit = Guarded(2, "secret")
        assert await asyncio.gather(*(client.call("Shelly.GetStatus") for _ in range(6))) == [STATUS] * 6
        first = len(guarded.refused)
        await client.call("Shelly.GetStatus")
        assert len(guarded.refused) == first <= 6


@pytest.mark.parametrize("firmware", [1, 2])
async def test_a_wrong_password_costs_one_wrong_digest(firmware: int) -> None:
    """Twenty within ten minutes lock everybody out; we try once a minute."""
    async with Device() as device, rpc(device, "guessed") as client:
        guarded = device.admit = Guarded(firmware, "secret")
        for _ in range(10):
            with pytest.raises(WrongPassword, match=r"correct \[\[shelly\]\] password") as wrong:
                await client.call("Shelly.GetStatus")
        assert wrong.value.retry_after == 60
        assert set(guarded.refused) == {401}
        assert sum("Digest" in header for header in guarded.seen) == 10


async def test_after_429_for_its_nonces_a_new_one_is_asked_for() -> None:
    """Firmware 2 has room for 32; the one that we had may be gone."""
    async with Device() as device, rpc(device, "secret") as client:
        guarded = device.admit = Guarded(2, "secret")
        for number in range(32):
            guarded.digest.check_header(None, "POST", "/rpc", number / 100)
        with pytest.raises(Throttled):
            await client.call("Shelly.GetStatus")
        guarded.now = 10.0
        assert await client.call("Shelly.GetStatus") == STATUS


async def test_a_password_in_plain_goes_to_gen1_alone_and_never_to_the_open_page() -> None:
    """Basic is as good as a postcard; nobody gets it by merely asking for it."""
    seen: list[tuple[str, str | None]] = []

    def ask(request: web.Request) -> web.Response | None:
        header = request.headers.get("Authorization")
        seen.append((request.path, header))
        if request.path == "/shelly" or header == "Basic YWRtaW46c2VjcmV0":
            return None
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="shelly"'})

    async with Device() as device, rpc(device, "secret") as client:
        device.admit = ask
        with pytest.raises(WrongPassword):
            await client.get("/status")
        client.basic = True
        await client.get("/shelly")
        await client.get("/status")
    assert [header for path, header in seen if path == "/shelly"] == [None]
    assert [header is None for path, header in seen if path == "/status"] == [True, False]


async def test_errors_never_show_the_password() -> None:
    texts: list[Any] = []
    async with Device() as device, rpc(device, "hunter2") as client:
        for status in (401, 429, 302, 500):
            device.admit = lambda _request, status=status: web.Response(status=status)  # type: ignore[misc]
            try:
                await client.call("Shelly.GetStatus")
            except Unavailable as error:
                texts.append(f"{error} {error!r} {vars(error)}")
    assert len(texts) == 4
    assert not any("hunter2" in text for text in texts)
