"""Shelly's JSON-RPC frames (Gen2 and later), and how to authenticate in them. No I/O.

Sources: Shelly's documentation of the RPC protocol and of authentication; frames of firmware 1.x and 2.0.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from edge_energy.devices import payload as json_payload
from edge_energy.errors import EdgeEnergyError, UnreadablePayload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

USER = "admin"
"""The only user that these devices have."""
UNAUTHORIZED = 401
"""Code of the error whose message is a challenge."""

_DEEPEST = 16  # objects and lists; the whole configuration of a device needs half of it
_LONGEST_NAME = 128  # of a sender, a method, an id, a realm
_LONGEST_MESSAGE = 1024  # of an error; a challenge has 200 characters
_LONGEST_NONCE = 256
_LARGEST_COUNT = 2**31
_LATEST = 4_102_444_800  # 2100-01-01: a clock ahead of that was never set either
_ID = re.compile(r"shelly[a-z0-9-]*-([0-9a-f]{12}|[0-9a-f]{6})|([0-9a-f]{12})", re.ASCII | re.IGNORECASE)
_COUNT = re.compile(r"[0-9]{1,10}")


class RpcError(EdgeEnergyError):
    """The device refuses a request; `code` and `message` are its own."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"the device answers {code}: {message[:200] or 'no explanation'}")
        self.code = code
        self.message = message


class Frame(NamedTuple):
    """A frame from a device: a notification or request (`method`), or an answer (`result` or `error`)."""

    src: str
    method: str | None
    id: int | str | None
    params: dict[str, Any]
    result: Any
    error: tuple[int, str] | None
    """Code and message."""


class Challenge(NamedTuple):
    """What a device wants a password proved with. `stale`: the nonce was too old, not the password wrong."""

    realm: str
    nonce: int | str
    nc: int
    stale: bool


def device_id(name: str) -> str | None:
    """Return our id of a device, by its own id or by its bare MAC address; None for any other name.

    `shellypro1pm-ec62608ab9a4` and `EC62608AB9A4` are `shelly-ec62608ab9a4`; Gen1 devices mostly have 6 digits.
    """
    match = _ID.fullmatch(name) if len(name) <= _LONGEST_NAME else None
    return f"shelly-{(match[1] or match[2]).lower()}" if match else None


def parse_frame(payload: bytes | str) -> Frame:
    """Return the frame of a payload, or raise `UnreadablePayload` with the reason."""
    # What cannot be encoded (half a surrogate pair) becomes bytes that are no JSON.
    raw = payload.encode(errors="surrogatepass") if isinstance(payload, str) else payload
    frame = json_payload.parse(raw)
    if not _within(frame, _DEEPEST):
        raise UnreadablePayload(f"nests deeper than {_DEEPEST}")
    src, method, number, params = frame.get("src"), frame.get("method"), frame.get("id"), frame.get("params")
    for key, value in (("src", src), ("method", method), ("id", number)):
        if type(value) is str and len(value) > _LONGEST_NAME:
            raise UnreadablePayload(f"{key} is longer than {_LONGEST_NAME} characters")
        if value is not None and type(value) is not str and not (key == "id" and type(value) is int):
            raise UnreadablePayload(f"{key} is a JSON {type(value).__name__}")
    if params is not None and type(params) is not dict:
        raise UnreadablePayload(f"params are a JSON {type(params).__name__}, not an object")
    error = _error(frame.get("error"))
    if method is None and error is None and "result" not in frame:
        raise UnreadablePayload("neither method nor result nor error: no RPC frame")
    return Frame(src or "", method, number, params or {}, frame.get("result"), error)


def _error(error: object) -> tuple[int, str] | None:
    """Return code and message of a frame's error, the message cut where it is too long for any challenge."""
    if error is None:
        return None
    code, message = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, None)
    if type(code) is not int:
        raise UnreadablePayload("error is no object with a numeric code")
    return code, message[:_LONGEST_MESSAGE] if type(message) is str else ""


def _within(value: object, depth: int) -> bool:
    """Tell whether a value nests at most so deep."""
    if type(value) is dict:
        return depth > 0 and all(_within(inner, depth - 1) for inner in value.values())
    if type(value) is list:
        return depth > 0 and all(_within(inner, depth - 1) for inner in value)
    return True


def request(
    number: int, method: str, params: dict[str, Any] | None, *, src: str, auth: dict[str, Any] | None = None
) -> bytes:
    """Return the frame of a request; the answer comes with the same number, to `src`."""
    frame: dict[str, Any] = {"id": number, "src": src, "method": method}
    if params is not None:
        frame["params"] = params
    if auth is not None:
        frame["auth"] = auth
    return orjson.dumps(frame)


def own_time(params: Mapping[str, Any]) -> int | None:
    """Return UTC nanoseconds, to the millisecond, of a notification's `ts` (s); None where that is no date.

    Until a device has heard from its time server, `ts` is the time since it started.
    """
    seconds = params.get("ts")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds < _LATEST:
        return None
    time = round(seconds * 1000) * 1_000_000
    return time if json_payload.believable(time, time) else None


def challenge(error_message: str) -> Challenge | None:
    """Return the challenge that the message of error 401 is, or None where it is none that we can answer.

    `{"auth_type":"digest","nonce":1707272138,"nc":1,"realm":"shelly…","algorithm":"SHA-256"}`; the nonce of
    firmware 2 is text, and `"stale":true` says that the former one has expired. Some devices send nc as text.
    """
    try:
        asked = orjson.loads(error_message) if len(error_message) <= _LONGEST_MESSAGE else None
    except orjson.JSONDecodeError:
        return None
    if type(asked) is not dict or asked.get("auth_type") != "digest" or asked.get("algorithm") != "SHA-256":
        return None
    realm, nonce = asked.get("realm"), asked.get("nonce")
    if type(realm) is not str or not 0 < len(realm) <= _LONGEST_NAME:
        return None
    if type(nonce) is not int and (type(nonce) is not str or not 0 < len(nonce) <= _LONGEST_NONCE):
        return None
    return Challenge(realm, nonce, _count(asked.get("nc")), asked.get("stale") is True)


def _count(nc: object) -> int:
    """Return the count that a challenge begins with; 1 where it gives none."""
    if type(nc) is str and _COUNT.fullmatch(nc):
        nc = int(nc)
    return nc if type(nc) is int and 0 < nc < _LARGEST_COUNT else 1


class FrameAuth:
    """Proves one device's password in frames: a digest (SHA-256) over its nonce and a count of the uses of it.

    Of RFC 7616, with a made-up method and address, as frames have none. A challenge for another realm is not
    answered: what stands at the address now is another device.
    """

    def __init__(self, realm: str, password: str, cnonce: Callable[[], str]) -> None:
        """`realm` is the device's own id; `cnonce` returns a new unpredictable text (`secrets.token_hex`)."""
        self._realm = realm
        self._secret = _hash(f"{USER}:{realm}:{password}")
        self._cnonce = cnonce
        self._nonce: int | str | None = None
        self._nc = 1

    def take(self, challenge: Challenge) -> None:
        """Take the challenge that the next frames are to answer."""
        nonce = challenge.nonce if challenge.realm == self._realm else None
        # The same nonce again: firmware 2 refuses a count that it has seen.
        self._nc = max(self._nc, challenge.nc) if nonce == self._nonce else challenge.nc
        self._nonce = nonce

    def sign(self) -> dict[str, Any] | None:
        """Return the `auth` of the next frame, good for that one only; None before the first challenge."""
        if self._nonce is None:
            return None
        cnonce, nc = self._cnonce(), self._nc
        self._nc += 1
        return {
            "realm": self._realm,
            "username": USER,
            "nonce": self._nonce,
            "nc": nc,
            "cnonce": cnonce,
            "response": _hash(f"{self._secret}:{self._nonce}:{nc}:{cnonce}:auth:{_PLACE}"),
            "algorithm": "SHA-256",
        }


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


_PLACE = _hash("dummy_method:dummy_uri")
