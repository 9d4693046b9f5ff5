"""The two MQTT packets that every reading costs: PUBLISH in, PUBACK out. No I/O.

paho-mqtt does everything else. It spends some 25 µs on a PUBLISH (property objects, a topic matcher, locks), a third
of what a reading costs altogether; what we need of one is these few fields.

Sources: MQTT 3.1.1, section 3.3; MQTT 5.0, sections 3.3 and 1.5.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

PUBLISH = 0x30
_PUBACK = b"\x40\x02"


class Message(NamedTuple):
    """A received message. `packet` is its packet id, 0 at QoS 0; a topic that is not UTF-8 has replacements."""

    topic: str
    payload: bytes
    qos: int
    packet: int
    dup: bool
    retain: bool


class Malformed(ValueError):  # noqa: N818
    """The peer does not speak MQTT."""


def frame(buffer: bytearray, start: int) -> tuple[int, int] | None:
    """Return begin and end of the body of the packet at `start`, or None where it has not all arrived."""
    length = shift = 0
    at = start + 1
    while True:
        if at >= len(buffer):
            return None
        byte = buffer[at]
        at += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 21:
            raise Malformed("a length of more than four bytes")
    end = at + length
    return (at, end) if end <= len(buffer) else None


def publish(flags: int, body: bytes, *, version5: bool) -> Message:
    """Decode a PUBLISH: its first byte, and what follows the length."""
    qos = flags >> 1 & 3
    at = 2 + (body[0] << 8 | body[1]) if len(body) >= 2 else len(body) + 1
    topic = body[2:at]
    packet = 0
    if qos:
        at += 2
        if at <= len(body):
            packet = body[at - 2] << 8 | body[at - 1]
    if version5 and at < len(body):
        size = body[at]
        at += 1
        if size >= 0x80:
            size, at = _long(size, body, at)
        at += size
    if at > len(body) or qos == 3 or (qos and not packet):
        raise Malformed("a PUBLISH that ends before it should")
    return Message(topic.decode(errors="replace"), body[at:], qos, packet, bool(flags & 8), bool(flags & 1))


def _long(size: int, body: bytes, at: int) -> tuple[int, int]:
    """Return the rest of a length of several bytes, and where it ends."""
    size &= 0x7F
    for shift in (7, 14, 21):
        if at >= len(body):
            break
        byte = body[at]
        at += 1
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            return size, at
    raise Malformed("properties of an endless length")


def pubacks(packets: Iterable[int]) -> bytes:
    """Return acknowledgements, one behind the other."""
    return b"".join([_PUBACK + packet.to_bytes(2) for packet in packets])
