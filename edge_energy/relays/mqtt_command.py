"""What a message on `…/relay/<id>/set` asks for. No I/O.

`ON` or `OFF`, or a JSON object: `{"state": "ON", "id": "…", "for": "30m", "issued": "2026-11-21T18:00:00Z"}`, with
`expires` where it is to be good for another time than half a minute.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from edge_energy.devices import payload as json_payload
from edge_energy.errors import UnreadablePayload
from edge_energy.relays.command import ID, duration_of

LARGEST = 1024  # bytes
EXPECTED = (
    'expected ON, OFF or JSON like {"state": "ON", "id": "my-1", "for": "30m", "issued": "<ISO 8601>", '
    '"expires": "<ISO 8601>"}'
)
_STATES = {"ON": True, "OFF": False}
_KEYS = {"state", "id", "for", "issued", "expires"}


class NotUnderstood(UnreadablePayload):
    """Nobody can say what a message asks for; `id` is the sender's own, where it is a valid one."""

    def __init__(self, reason: str, id_: str | None = None) -> None:
        super().__init__(reason)
        self.id = id_


class Wanted(NamedTuple):
    """What is asked for: `for_` in seconds, `issued_at` and `expires_at` in UTC seconds, what the sender gave."""

    on: bool
    id: str | None = None
    for_: float | None = None
    issued_at: float | None = None
    expires_at: float | None = None


def parse(payload: bytes) -> Wanted:
    """Return what a message asks for; raises `NotUnderstood`, which says what was expected."""
    if len(payload) > LARGEST:
        raise NotUnderstood(f"larger than {LARGEST} bytes: {EXPECTED}")
    text, id_ = payload.strip(), None
    try:
        if text[:1] != b"{":
            return Wanted(_state(text.decode(errors="replace")))
        body = json_payload.parse(text)
        id_ = _id(body)
        return _wanted(body, id_)
    except UnreadablePayload as error:
        raise NotUnderstood(str(error), id_) from None


def _wanted(body: dict[str, Any], id_: str | None) -> Wanted:
    if unknown := body.keys() - _KEYS:
        raise UnreadablePayload(f"unknown key {min(unknown)[:64]!r}: {EXPECTED}")
    return Wanted(_state(body.get("state")), id_, _for(body), _time(body, "issued"), _time(body, "expires"))


def _state(value: object) -> bool:
    on = _STATES.get(value.strip().upper()) if type(value) is str else None
    if on is None:
        raise UnreadablePayload(f"neither ON nor OFF: {EXPECTED}")
    return on


def _id(body: dict[str, Any]) -> str | None:
    value = body.get("id")
    if value is not None and (type(value) is not str or not ID.fullmatch(value)):
        raise UnreadablePayload("id: expected a text of 1 to 64 letters, digits, . _ : -")
    return value


def _for(body: dict[str, Any]) -> float | None:
    value = body.get("for")
    if value is None:
        return None
    try:
        return duration_of(value)
    except ValueError:
        raise UnreadablePayload('for: expected seconds or a text like "30m", from 0.1s to 365d') from None


def _time(body: dict[str, Any], key: str) -> float | None:
    value = body.get(key)
    if value is None:
        return None
    time = _moment(value) if type(value) is str else json_payload.timestamp(value)
    if time is None:
        raise UnreadablePayload(f'{key}: expected seconds since 1970, or a time like "2026-11-21T18:00:00+01:00"')
    return time / 1e9


def _moment(text: str) -> int | None:
    """Return UTC nanoseconds. Not of a local time: taken for UTC, a command would be good for hours too long."""
    try:
        known = datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return None
    return json_payload.timestamp(text) if known else None
