"""A journal row and its checksum. No I/O."""

from __future__ import annotations

import struct
from typing import NamedTuple
from zlib import crc32

from edge_energy.interfaces import APPLIANCE, COMMAND, INCIDENT, READING

KINDS = (READING, COMMAND, INCIDENT, APPLIANCE)
KIND_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}

_FIXED = struct.Struct("<qBqqqqqq")
_NULL = -(2**63)  # no time, span or origin is ever this


class Row(NamedTuple):
    """A row of `entries`, as stored."""

    position: int
    kind: int
    device: int
    time: int | None
    span: int | None
    boot: int
    uptime: int
    origin: int | None
    crc: int
    body: str

    def intact(self) -> bool:
        """Tell whether the row is what was written."""
        try:
            return self.crc == checksum(*self[:8], self.body.encode())
        except (struct.error, AttributeError, TypeError):
            return False


def checksum(  # noqa: PLR0913 - a row has that many columns
    position: int,
    kind: int,
    device: int,
    time: int | None,
    span: int | None,
    boot: int,
    uptime: int,
    origin: int | None,
    body: bytes,
) -> int:
    """Return the CRC-32 of a row: one digit changed on disk must not become a measurement.

    Signed, because SQLite stores that in a byte less.
    """
    fixed = _FIXED.pack(
        position,
        kind,
        device,
        _NULL if time is None else time,
        _NULL if span is None else span,
        boot,
        uptime,
        _NULL if origin is None else origin,
    )
    unsigned = crc32(body, crc32(fixed))
    return unsigned - 2**32 if unsigned >= 2**31 else unsigned
