"""HTTP to one Shelly: JSON-RPC, the pages of the first generation, and the door to its WebSocket."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from yarl import URL

from edge_energy.devices import payload as json_payload
from edge_energy.devices import shelly_rpc
from edge_energy.errors import Unavailable, UnreadablePayload
from edge_energy.sources.shelly.session import (
    HEARTBEAT,
    MAX_FRAME,
    SOURCE,
    Garbled,
    Lost,
    NoAnswer,
    Throttled,
    WrongPassword,
    refuse,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

MOST_CONNECTIONS = 2
"""To one device, its WebSocket among them; it has six for everybody."""
LARGEST = 2**20  # bytes of an answer
TIMEOUT = 10.0
CLOSE_TIMEOUT = 1.0  # for the last word of a WebSocket
LONGEST_RETRY_AFTER = 300.0


class WebSocketRefused(Unavailable):
    """The device answers, but lets us have no WebSocket."""


class HttpRpc:
    """Asks one device. Each `async with` opens connections of its own; nonces outlive them.

    There is never a connection more than `MOST_CONNECTIONS`: whoever wants one waits. Each is closed after its
    answer, as the devices want it.
    """

    def __init__(self, host: str, port: int = 80, password: str | None = None, username: str = "admin") -> None:
        self.basic = False
        """Whether to send the password readable (Basic), as Gen1 alone wants it. No password goes to `/shelly`."""
        self.peer = host if port == 80 else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._url = URL.build(scheme="http", host=host, port=port)
        self._username = username
        self._password = password
        self._digest: aiohttp.DigestAuthMiddleware | None = None
        self._session: aiohttp.ClientSession | None = None
        self._number = 0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MOST_CONNECTIONS, force_close=True),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT),
            headers={"Accept-Encoding": "identity", "User-Agent": SOURCE},
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(_no_redirect,),
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        session, self._session = self._session, None  # whoever still asks gets `Lost`
        if session is not None:
            await session.close()

    async def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Return the result of a method. Raises `shelly_rpc.RpcError` and `Unavailable`."""
        self._number = number = self._number + 1
        body = shelly_rpc.request(number, method, params, src=SOURCE)
        answer = await self._request("POST", "/rpc", body)
        try:
            frame = shelly_rpc.parse_frame(answer)
        except UnreadablePayload as error:
            raise Garbled(self.peer, f"{method}: {error}") from None
        if frame.error is not None:
            refuse(self.peer, frame.error, password=self._password is not None)
        if frame.method is not None or frame.id != number:
            raise Garbled(self.peer, f"{method}: the answer to another question")
        return frame.result

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the JSON object at a path. Raises `Unavailable`."""
        try:
            return json_payload.parse(await self._request("GET", path, query=query))
        except UnreadablePayload as error:
            raise Garbled(self.peer, f"{path}: {error}") from None

    async def websocket(self) -> aiohttp.ClientWebSocketResponse:
        """Open the device's WebSocket. Raises `WebSocketRefused` and `Unavailable`."""
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._open.ws_connect(
                    self._url.with_path("/rpc").with_scheme("ws"),
                    heartbeat=HEARTBEAT,
                    max_msg_size=MAX_FRAME,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT),
                )
        except aiohttp.WSServerHandshakeError as error:
            if error.status == 429:
                raise Throttled(self.peer) from None
            raise WebSocketRefused(f"{self.peer} refuses a WebSocket ({error.status})") from None
        except TimeoutError:
            raise NoAnswer(self.peer, "no WebSocket in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Lost(self.peer, _words(error)) from None

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise Lost(self.peer, "not connected")
        return self._session

    async def _request(
        self, method: str, path: str, body: bytes | None = None, query: Mapping[str, str] | None = None
    ) -> bytes:
        options: dict[str, Any] = {"data": body}
        if self._password is not None and path != "/shelly":
            if self.basic:
                readable = b64encode(f"{self._username}:{self._password}".encode()).decode()
                options["headers"] = {"Authorization": f"Basic {readable}"}
            else:
                self._digest = self._digest or aiohttp.DigestAuthMiddleware(self._username, self._password)
                options["middlewares"] = (_no_redirect, self._digest)
        try:
            async with self._open.request(method, self._url.with_path(path).with_query(query), **options) as response:
                self._check(response, path)
                return await self._read(response)
        except TimeoutError:
            raise NoAnswer(self.peer, f"no answer to {path} within {TIMEOUT:g} s") from None
        except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
            raise Garbled(self.peer, f"{path}: {_words(error)}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Lost(self.peer, f"{path}: {_words(error)}") from None
        except asyncio.CancelledError:
            # aiohttp cancels whoever waits for a connection while it closes them.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise Lost(self.peer, f"{path}: the connections were closed") from None

    def _check(self, response: ClientResponse, path: str) -> None:
        """Raise what the status of an answer means; an error of RPC comes with 200 or 500, and says what it is."""
        status = response.status
        if status == 401:
            self._digest = None
            raise WrongPassword(self.peer, given=self._password is not None)
        if status == 429:
            self._digest = None  # its nonce may be what the device has no room for
            raise Throttled(self.peer, _seconds(response.headers.get("Retry-After", "")))
        if status not in (200, 500):
            raise Garbled(self.peer, f"{path}: status {status}")

    async def _read(self, response: ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > LARGEST:
                raise Garbled(self.peer, "an answer larger than 1 MiB")
        return bytes(body)


async def _no_redirect(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Follow nobody to another place: passwords and questions are for this device."""
    response = await handler(request)
    if 300 <= response.status < 400:
        response.close()
        raise aiohttp.ClientResponseError(
            response.request_info, (), status=response.status, message="a redirect to another place"
        )
    return response


def _seconds(text: str) -> float | None:
    """Return the seconds of a Retry-After header, bounded; None for its other form, a date."""
    try:
        return min(LONGEST_RETRY_AFTER, max(0.0, float(text)))
    except ValueError:
        return None


def _words(error: Exception) -> str:
    return f"{str(error) or type(error).__name__:.200}"
