"""JSON-RPC as devices speak it: requests in, answers and notifications out. No I/O."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

Json = dict[str, Any]


class RpcError(Exception):
    """What a device answers in place of a result."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def body(self) -> Json:
        """The error object."""
        return {"code": self.code, "message": self.message}


class Request(NamedTuple):
    """A request frame; `number` is its id, which the answer repeats."""

    number: int | str
    method: str
    params: Json
    src: str | None
    auth: Json | None


def parse(payload: str | bytes) -> Request | None:
    """Read a request frame; None for what is none, which devices do not answer."""
    try:
        frame = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(frame, dict) or not isinstance(frame.get("method"), str):
        return None
    number, params = frame.get("id"), frame.get("params") or {}
    if not isinstance(number, int | str) or isinstance(number, bool) or not isinstance(params, dict):
        return None
    src, auth = frame.get("src"), frame.get("auth")
    return Request(
        number,
        frame["method"],
        params,
        src if isinstance(src, str) and src else None,
        auth if isinstance(auth, dict) else None,
    )


def answer(request: Request, device: str, outcome: Any | RpcError) -> Json:
    """Make the answer to a request; without a `src` in it there is no `dst`."""
    frame: Json = {"id": request.number, "src": device}
    if request.src:
        frame["dst"] = request.src
    return frame | ({"error": outcome.body} if isinstance(outcome, RpcError) else {"result": outcome})


def notification(device: str, dst: str, method: str, params: Json) -> Json:
    """Make a notification frame."""
    return {"src": device, "dst": dst, "method": method, "params": params}
