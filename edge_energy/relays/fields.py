"""What may stand in a command that is a JSON object, the same whichever way it comes. No I/O.

All raise `UnreadablePayload`, which says what was expected.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from edge_energy.devices import payload as json_payload
from edge_energy.errors import UnreadablePayload
from edge_energy.relays.command import ID, duration_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

LARGEST = 1024
"""Bytes of a command."""


def only(body: Mapping[str, Any], known: Collection[str], expected: str) -> None:
    """Refuse what nobody here understands: it was meant to change something."""
    if unknown := body.keys() - set(known):
        raise UnreadablePayload(f"unknown key {min(unknown)[:64]!r}: {expected}")


def id_(body: Mapping[str, Any], key: str) -> str | None:
    """Return the id that its sender gave a command."""
    value = body.get(key)
    if value is not None and (type(value) is not str or not ID.fullmatch(value)):
        raise UnreadablePayload(f"{key}: expected a text of 1 to 64 letters, digits, . _ : -")
    return value


def for_(body: Mapping[str, Any]) -> float | None:
    """Return for how long (s) something is to be switched."""
    value = body.get("for")
    if value is None:
        return None
    try:
        return duration_of(value)
    except ValueError:
        raise UnreadablePayload('for: expected seconds or a text like "30m", from 0.1s to 365d') from None


def time(body: Mapping[str, Any], key: str) -> float | None:
    """Return an instant in UTC seconds."""
    value = body.get(key)
    if value is None:
        return None
    found = _moment(value) if type(value) is str else json_payload.timestamp(value)
    if found is None:
        raise UnreadablePayload(f'{key}: expected seconds since 1970, or a time like "2026-11-21T18:00:00+01:00"')
    return found / 1e9


def _moment(text: str) -> int | None:
    """Return UTC nanoseconds. Not of a local time: taken for UTC, a command would be good for hours too long."""
    try:
        known = datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return None
    return json_payload.timestamp(text) if known else None
