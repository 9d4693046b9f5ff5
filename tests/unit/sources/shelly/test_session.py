"""JSON-RPC over one WebSocket: answers find who asked, garbage kills nothing, passwords are proved once."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.devices.shelly_rpc import FrameAuth, RpcError
from edge_energy.errors import Unavailable
from edge_energy.sources.shelly import session as module
from edge_energy.sources.shelly.recording import Counters
from edge_energy.sources.shelly.session import Lost, NoAnswer, Session, Throttled, WrongPassword
from simulator.shelly.digest import Digest
from tests.unit.sources.shelly.scripted import OWN_ID, STATUS, Device, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from edge_energy.devices.shelly_rpc import Frame


class Line:
    """One WebSocket to a scripted device, read all the time."""

    def __init__(self, device: Device, session: Session) -> None:
        self.device = device
        self.session = session
        self.frames: list[Frame] = []
        self.ended: Lost | None = None

    async def listen(self) -> None:
        """Take what comes until the line ends."""
        try:
            while True:
                self.frames.append(await self.session.notification())
        except Lost as error:
            self.ended = error


@asynccontextmanager
async def line(
    answer: Callable[[dict[str, Any]], dict[str, Any]] | None = None, auth: FrameAuth | None = None
) -> AsyncIterator[Line]:
    async with Device() as device, aiohttp.ClientSession() as http:
        if answer is not None:
            device.answer = answer
        socket = await http.ws_connect(f"ws://127.0.0.1:{device.port}/rpc", max_msg_size=module.MAX_FRAME)
        found = Line(device, Session(socket, Counters("device"), auth))
        listening = asyncio.create_task(found.listen())
        await until(lambda: device.open)
        yield found
        await found.session.close()
        await listening


def notification(number: int) -> dict[str, Any]:
    return {"src": OWN_ID, "dst": "us", "method": "NotifyStatus", "params": {"number": number}}


async def test_answers_find_who_asked_and_notifications_pass_between_them() -> None:
    """Many callers share a socket with what the device says on its own."""
    async with line(lambda request: {"result": request["params"]["n"]}) as wire:
        calls = [wire.session.call("Echo", {"n": number}) for number in range(20)]
        await wire.device.say(notification(1))
        assert await asyncio.gather(*calls) == list(range(20))
        await until(lambda: wire.frames)
        assert wire.frames[0].params == {"number": 1}


async def test_errors_of_the_device_are_told_apart() -> None:
    errors = {"Missing": -105, "Often": 429}
    async with line(lambda request: {"error": {"code": errors[request["method"]], "message": "no"}}) as wire:
        with pytest.raises(RpcError) as refused:
            await wire.session.call("Missing")
        assert (refused.value.code, refused.value.message) == (-105, "no")
        with pytest.raises(Throttled):
            await wire.session.call("Often")


async def test_an_answer_that_does_not_come_is_waited_for_no_longer_than_asked() -> None:
    """The line itself stays usable, and a late answer harms nobody."""
    async with line(lambda request: {} if request["method"] == "Slow" else {"result": 1}) as wire:
        with pytest.raises(NoAnswer):
            await wire.session.call("Slow", timeout=0.05)
        await wire.device.say({"id": 1, "src": OWN_ID, "result": "late"})
        assert await wire.session.call("Fast") == 1


async def test_the_end_of_the_socket_ends_all_waiting() -> None:
    """Nobody waits ten seconds for an answer that cannot come."""
    async with line(lambda _request: {}) as wire:
        calls = [asyncio.create_task(wire.session.call("Never", timeout=60)) for _ in range(3)]
        await until(lambda: len(wire.device.requests) == 3)
        await wire.device.cut()
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, Lost)
        with pytest.raises(Lost):
            await wire.session.call("Afterwards")


async def test_garbage_is_counted_and_logged_once_and_ends_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    async with line() as wire:
        for garbage in ("<html>", '{"src":', "[1]", '{"src":["x"],"method":"NotifyStatus"}', '{"id":1}', "{}"):
            await wire.device.say(garbage)
        await wire.device.say(notification(7))
        await until(lambda: wire.frames)
        assert wire.session.counters.garbage == 6
        assert await wire.session.call("Shelly.GetStatus") == STATUS
    assert capfd.readouterr().out.count("unreadable message") == 1


async def test_nothing_but_garbage_ends_the_connection() -> None:
    """Whatever it is, it will not become a Shelly."""
    async with line() as wire:
        for _ in range(module.MOST_GARBAGE):
            await wire.device.say("noise")
        await until(lambda: wire.ended)


async def test_a_frame_too_large_ends_the_connection() -> None:
    """Nobody makes us hold more than we allow."""
    async with line() as wire:
        await wire.device.say("x" * (module.MAX_FRAME + 1))
        await until(lambda: wire.ended)


async def test_requests_of_the_device_are_declined() -> None:
    """We serve no methods; a device that asks is told so instead of waiting."""
    async with line() as wire:
        await wire.device.say({"id": 5, "src": OWN_ID, "method": "Shelly.GetStatus"})
        await until(lambda: wire.device.answers)
        assert wire.device.answers[0]["id"] == 5
        assert wire.device.answers[0]["error"]["code"] == 404
        assert not wire.frames


class Guarded:
    """A device that lets in who proves the password, as the simulated devices check it."""

    def __init__(self, firmware: int, password: str, life: float = 3600) -> None:
        self.digest = Digest(OWN_ID, firmware, random.Random(1), life)
        self.digest.set_password(password)
        self.now = 0.0
        self.refused = 0

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request."""
        refusal = self.digest.check_frame(request.get("auth"), self.now)
        if refusal is None:
            return {"result": STATUS}
        self.refused += 1
        return {"error": {"code": refusal.code, "message": refusal.message}}


def proof(password: str) -> FrameAuth:
    return FrameAuth(OWN_ID, password, lambda: "cnonce")


@pytest.mark.parametrize("firmware", [1, 2])
async def test_a_password_is_proved_with_one_nonce_until_that_expires(firmware: int) -> None:
    """Firmware 2 has few nonces and counts their uses; whoever takes a new one for each question is locked out."""
    guarded = Guarded(firmware, "secret")
    async with line(guarded, proof("secret")) as wire:
        for _ in range(40):
            assert await wire.session.call("Shelly.GetStatus") == STATUS
        assert guarded.refused == 1
        guarded.now = 4000.0
        assert await wire.session.call("Shelly.GetStatus") == STATUS
        assert guarded.refused == (2 if firmware == 2 else 1)


@pytest.mark.parametrize("firmware", [1, 2])
async def test_a_nonce_outlives_its_connection(firmware: int) -> None:
    """Reconnecting after a Wi-Fi outage does not cost nonces."""
    guarded, auth = Guarded(firmware, "secret"), proof("secret")
    for _ in range(5):
        async with line(guarded, auth) as wire:
            await wire.session.call("Shelly.GetStatus")
    assert guarded.refused == 1


@pytest.mark.parametrize("firmware", [1, 2])
async def test_a_wrong_password_says_which_setting_is_wrong_and_is_left_alone(firmware: int) -> None:
    """Twenty wrong ones within ten minutes lock everybody out."""
    guarded = Guarded(firmware, "secret")
    async with line(guarded, proof("guessed")) as wire:
        with pytest.raises(WrongPassword, match=r"correct \[\[shelly\]\] password") as wrong:
            await wire.session.call("Shelly.GetStatus")
    assert wrong.value.retry_after is not None
    assert 600 / wrong.value.retry_after * 2 <= 20
    assert "guessed" not in str(wrong.value)
    assert guarded.refused == 2


async def test_a_device_that_asks_for_a_password_that_we_do_not_have() -> None:
    async with line(Guarded(2, "secret")) as wire:
        with pytest.raises(WrongPassword, match=r"set \[\[shelly\]\] password"):
            await wire.session.call("Shelly.GetStatus")


class Script:
    """A socket that says what hypothesis wants."""

    close_code = 1006

    def __init__(self, texts: list[str | bytes]) -> None:
        self._texts = texts
        self.sent: list[str] = []

    async def receive(self) -> aiohttp.WSMessage:
        """Give the next text, or the end."""
        if not self._texts:
            return aiohttp.WSMessage(aiohttp.WSMsgType.CLOSED, None, None)
        text = self._texts.pop(0)
        kind = aiohttp.WSMsgType.TEXT if isinstance(text, str) else aiohttp.WSMsgType.BINARY
        return aiohttp.WSMessage(kind, text, None)

    async def send_str(self, text: str) -> None:
        """Keep it."""
        self.sent.append(text)

    def exception(self) -> None:
        """Say that nothing went wrong."""


keys = st.sampled_from(["id", "src", "method", "params", "result", "error", "code", "message"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=6),
    max_leaves=12,
)
frames = st.dictionaries(keys, values, max_size=6).map(json.dumps)


@given(st.lists(st.text(max_size=40) | st.binary(max_size=40) | frames, max_size=30))
def test_whatever_comes_ends_in_words(texts: list[str | bytes]) -> None:
    """No frame raises anything but that the connection is over."""

    async def read() -> None:
        session = Session(Script(list(texts)), Counters("device"))  # type: ignore[arg-type]
        asking = asyncio.create_task(session.call("Shelly.GetStatus", timeout=5))
        await asyncio.sleep(0)
        with suppress(Lost):
            while True:
                await session.notification()
        with suppress(Unavailable, RpcError):
            await asking

    asyncio.run(read())
