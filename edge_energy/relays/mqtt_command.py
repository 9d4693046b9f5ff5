"""What a message on `…/relay/<id>/set` asks for. No I/O.

`ON` or `OFF`, or a JSON object: `{"state": "ON", "id": "…", "for": "30m", "issued": "2026-11-21T18:00:00Z"}`, with
`expires` where it is to be good for another time than half a minute.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from edge_energy.devices.payload import parse as parse_json
from edge_energy.errors import UnreadablePayload
from edge_energy.relays import fields
from edge_energy.relays.fields import LARGEST

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
        body = parse_json(text)
        id_ = fields.id_(body, "id")
        return _wanted(body, id_)
    except UnreadablePayload as error:
        raise NotUnderstood(str(error), id_) from None


def _wanted(body: dict[str, Any], id_: str | None) -> Wanted:
    fields.only(body, _KEYS, EXPECTED)
    state = _state(body.get("state"))
    return Wanted(state, id_, fields.for_(body), fields.time(body, "issued"), fields.time(body, "expires"))


def _state(value: object) -> bool:
    on = _STATES.get(value.strip().upper()) if type(value) is str else None
    if on is None:
        raise UnreadablePayload(f"neither ON nor OFF: {EXPECTED}")
    return on
