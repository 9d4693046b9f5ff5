"""The shape of every JSON answer, and which answer an error becomes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from edge_energy.errors import JournalFull, UnreadablePayload
from edge_energy.ways import TooManyDevices

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

FULL_RETRY = 5  # seconds; the journal looks for space every two
MANY_RETRY = 60  # seconds until whoever invents devices may try again
LONGEST_REASON = 500


class BadRequest(Exception):  # noqa: N818 - what the caller did, not what failed here
    """The request cannot be taken. `parameter` is the name of what is wrong in it, where it is one thing."""

    def __init__(self, reason: str, parameter: str | None = None, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.parameter = parameter
        self.status = status


def ok(**fields: Any) -> web.Response:
    """Return `{"status":"ok", …}`."""
    return json_response({"status": "ok", **fields})


def failure(
    status: int, reason: str, parameter: str | None = None, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return `{"status":"error","error":"<parameter>: <reason>","parameter":…}`; without a parameter, no such key."""
    reason = reason[:LONGEST_REASON]
    if parameter is None:
        return json_response({"status": "error", "error": reason}, status, headers)
    parameter = parameter[:LONGEST_REASON]
    body = {"status": "error", "error": f"{parameter}: {reason}", "parameter": parameter}
    return json_response(body, status, headers)


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return any JSON, also with texts of a request in it that are no valid Unicode."""
    try:
        encoded = orjson.dumps(body)
    except orjson.JSONEncodeError:  # half of a surrogate pair; json writes it as \ud800
        encoded = json.dumps(body).encode()
    return web.Response(body=encoded, status=status, headers=headers, content_type="application/json")


def dress(answer: web.StreamResponse) -> web.StreamResponse:
    """Add the headers that every answer has; the name of the server without its versions."""
    answer.headers["Server"] = "edge-energy"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers.setdefault("Cache-Control", "no-store")
    return answer


@web.middleware
async def explained(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer what a handler raises on purpose. Anything else is a defect, which aiohttp answers with 500."""
    try:
        return await handler(request)
    except BadRequest as error:
        return failure(error.status, error.reason, error.parameter)
    except UnreadablePayload as error:
        return failure(400, str(error))
    except JournalFull:
        return failure(503, "the disk is full: nothing was recorded", headers=retry_after(FULL_RETRY))
    except TooManyDevices as error:
        return failure(503, str(error), headers=retry_after(MANY_RETRY))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return failure(error.status, _explanation(error), headers=allow)


def retry_after(seconds: int) -> dict[str, str]:
    """Return the header that says when to try again."""
    return {"Retry-After": str(seconds)}


def _explanation(error: web.HTTPException) -> str:
    """Return what was said where it was raised, else what the status means."""
    usual = f"{error.status}: {error.reason}"
    return error.text if error.text and error.text != usual else error.reason.lower()
