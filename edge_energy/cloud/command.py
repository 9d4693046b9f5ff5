"""What a command from the cloud asks for. No I/O.

`{"device_id": "shelly-ec62608ab9a4", "switch": true, "command_id": "…", "for": "30m", "expires": "<ISO 8601>"}`: the
first two are required, as in POST /send; `expires` where it is to be good for another time than half a minute: an
hour at most.
"""

from __future__ import annotations

from typing import NamedTuple

from edge_energy.devices.payload import parse as parse_json
from edge_energy.errors import UnreadablePayload
from edge_energy.relays import fields
from edge_energy.relays.fields import LARGEST

EXPECTED = (
    'expected JSON like {"device_id": "<id>", "switch": true, "command_id": "my-1", "for": "30m", '
    '"expires": "<ISO 8601>"}'
)
_LONGEST_DEVICE = 128  # characters
_KEYS = {"device_id", "switch", "command_id", "for", "expires"}


class Wanted(NamedTuple):
    """What is asked for: `for_` in seconds, `expires_at` in UTC seconds, `id` where the sender gave one."""

    device: str
    on: bool
    id: str | None = None
    for_: float | None = None
    expires_at: float | None = None


def parse(payload: bytes) -> Wanted:
    """Return what a message asks for; raises `UnreadablePayload`, which says what was expected."""
    if len(payload) > LARGEST:
        raise UnreadablePayload(f"larger than {LARGEST} bytes: {EXPECTED}")
    body = parse_json(payload)
    fields.only(body, _KEYS, EXPECTED)
    device, on = body.get("device_id"), body.get("switch")
    if type(device) is not str or not 0 < len(device) <= _LONGEST_DEVICE:
        raise UnreadablePayload(f"device_id: expected the id of a device: {EXPECTED}")
    if type(on) is not bool:
        raise UnreadablePayload(f"switch: expected true or false: {EXPECTED}")
    return Wanted(device, on, fields.id_(body, "command_id"), fields.for_(body), fields.time(body, "expires"))
