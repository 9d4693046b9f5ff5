"""JSON-RPC with one Shelly over one WebSocket, whoever dialled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn

import aiohttp
import orjson

from edge_energy.devices import shelly_rpc
from edge_energy.errors import Unavailable, UnreadablePayload

if TYPE_CHECKING:
    from aiohttp import web

    from edge_energy.devices.shelly_rpc import Frame, FrameAuth
    from edge_energy.sources.shelly.recording import Counters

    Socket = aiohttp.ClientWebSocketResponse | web.WebSocketResponse

SOURCE = "edge-energy"
"""Who we say that we are; a device sends notifications to whom it knows."""
MAX_FRAME = 256 * 1024  # bytes; a full status has 5 KiB, the whole configuration of a device 20
HEARTBEAT = 30.0  # seconds between pings; a line is dead when one is not answered in half of that
MOST_GARBAGE = 20  # unreadable frames in a row, after which nothing can be hoped for
WRONG_PASSWORD_PAUSE = 60.0  # seconds; firmware 2 locks everybody out after 20 wrong ones within 10 minutes
_TOO_MANY = 429
_NO_HANDLER = 404


class WrongPassword(Unavailable):
    """The device wants a password, or another one."""

    def __init__(self, peer: str, *, given: bool) -> None:
        advice = "refuses the password: correct" if given else "asks for a password: set"
        super().__init__(f"{peer} {advice} [[shelly]] password", retry_after=WRONG_PASSWORD_PAUSE)


class Throttled(Unavailable):
    """The device asks to be left alone for a while (429)."""

    def __init__(self, peer: str, retry_after: float | None = None) -> None:
        super().__init__(f"{peer} has too many requests to answer (429)", retry_after)


class Garbled(Unavailable):
    """An answer cannot be read; `detail` says why not."""

    def __init__(self, peer: str, detail: str) -> None:
        super().__init__(f"{peer} answers what no Shelly does: is it one?")
        self.detail = detail


class Lost(Unavailable):
    """There is no connection. Always the same words, so that an outage is one line in the log; `detail` has more."""

    def __init__(self, peer: str, detail: str) -> None:
        super().__init__(f"{peer} does not answer: it is off, out of reach, or has another address now")
        self.detail = detail


class NoAnswer(Lost):
    """A question was not answered in time; the connection may live."""


def refuse(peer: str, error: tuple[int, str], *, password: bool) -> NoReturn:
    """Raise what an error of the device means; `password`: whether one was given."""
    code, message = error
    if code == shelly_rpc.UNAUTHORIZED:
        raise WrongPassword(peer, given=password)
    if code == _TOO_MANY:
        raise Throttled(peer)
    raise shelly_rpc.RpcError(code, message)


class Session:
    """Asks, and hears what the device says on its own.

    Answers come only while somebody awaits `notification()`.
    """

    def __init__(self, socket: Socket, counters: Counters, auth: FrameAuth | None = None) -> None:
        self._socket = socket
        self.counters = counters
        self._auth = auth
        self._number = 0
        self._asked: dict[int, asyncio.Future[Frame]] = {}
        self._ended: Lost | None = None

    @property
    def peer(self) -> str:
        """Where the device is, or its id."""
        return self.counters.peer

    async def notification(self) -> Frame:
        """Return the next frame that is no answer; answers go to those who asked. Raises `Lost` at the end."""
        garbage = 0
        while True:
            try:
                frame = shelly_rpc.parse_frame(await self._receive())
            except UnreadablePayload as error:
                self.counters.unreadable(str(error))
                garbage += 1
                if garbage >= MOST_GARBAGE:
                    raise self._end(f"{garbage} unreadable frames in a row ({error})") from None
                continue
            garbage = 0
            if frame.method is None:
                self._answered(frame)
            elif frame.id is not None:
                await self._decline(frame)
            else:
                return frame

    async def call(self, method: str, params: dict[str, Any] | None = None, timeout: float = 10) -> Any:
        """Return the result of a method. Raises `shelly_rpc.RpcError` and `Unavailable`."""
        frame = await self._ask(method, params, timeout)
        if frame.error is not None and self._challenged(frame.error):
            frame = await self._ask(method, params, timeout)
        if frame.error is not None:
            refuse(self.peer, frame.error, password=self._auth is not None)
        return frame.result

    async def close(self, code: int = aiohttp.WSCloseCode.OK, reason: str = "") -> None:
        """Close the socket; whoever waits for an answer gets `Lost`."""
        self._end("closed by us")
        await self._socket.close(code=code, message=reason.encode())

    async def _receive(self) -> bytes | str:
        if self._ended is not None:
            raise self._ended
        message = await self._socket.receive()
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            payload: bytes | str = message.data
            return payload
        reason = self._socket.exception() or f"closed with {self._socket.close_code}"
        raise self._end(f"the WebSocket ended ({reason!s:.200})")

    def _end(self, reason: str) -> Lost:
        """Let nobody wait any longer; return the error that says so."""
        if self._ended is None:
            self._ended = Lost(self.peer, reason)
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_exception(self._ended)
        return self._ended

    def _answered(self, frame: Frame) -> None:
        waiting = self._asked.get(frame.id) if type(frame.id) is int else None
        if waiting is not None and not waiting.done():
            waiting.set_result(frame)

    def _challenged(self, error: tuple[int, str]) -> bool:
        """Tell whether asking again with the password can help."""
        code, message = error
        if code != shelly_rpc.UNAUTHORIZED or self._auth is None:
            return False
        challenge = shelly_rpc.challenge(message)
        if challenge is not None:
            self._auth.take(challenge)
        return challenge is not None

    async def _ask(self, method: str, params: dict[str, Any] | None, timeout: float) -> Frame:
        if self._ended is not None:
            raise self._ended
        self._number += 1
        number = self._number
        auth = None if self._auth is None else self._auth.sign()
        waiting: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._asked[number] = waiting
        try:
            async with asyncio.timeout(timeout):
                await self._send(shelly_rpc.request(number, method, params, src=SOURCE, auth=auth))
                return await waiting
        except TimeoutError:
            raise NoAnswer(self.peer, f"no answer to {method} within {timeout:g} s") from None
        finally:
            del self._asked[number]

    async def _decline(self, frame: Frame) -> None:
        """Answer a request of the device: we serve none."""
        error = {"code": _NO_HANDLER, "message": f"No handler for {frame.method}"}
        await self._send(orjson.dumps({"id": frame.id, "src": SOURCE, "dst": frame.src, "error": error}))

    async def _send(self, frame: bytes) -> None:
        try:
            await self._socket.send_str(frame.decode())
        except (ConnectionError, aiohttp.ClientError) as error:
            raise self._end(f"the WebSocket ended ({error!s:.200})") from None
