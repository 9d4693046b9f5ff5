"""PUBLISH and PUBACK are on the wire what paho makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_energy.sources.mqtt.packets import PUBLISH, Malformed, Message, frame, pubacks, publish

if TYPE_CHECKING:
    from collections.abc import Iterator


class Wire(paho.Client):
    """paho, which writes its packets down instead of sending them."""

    def __init__(self, *, version5: bool) -> None:
        protocol = MQTTProtocolVersion.MQTTv5 if version5 else MQTTProtocolVersion.MQTTv311
        super().__init__(CallbackAPIVersion.VERSION2, protocol=protocol)
        self.bytes = b""

    def _packet_queue(self, _command: int, packet: bytes | bytearray, *_: Any) -> MQTTErrorCode:
        self.bytes += packet
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def encode(self, message: Message, properties: Properties | None) -> None:
        """Write a PUBLISH."""
        topic, payload, qos, packet, dup, retain = message
        self._sock: Any = self  # paho sends nothing without a socket
        self._send_publish(packet, topic.encode(), payload, qos, retain, dup, properties=properties)
        self._sock = None

    def puback(self, packet: int) -> None:
        """Write a PUBACK."""
        self._send_puback(packet)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    qos = draw(st.integers(0, 2))
    return Message(
        draw(st.text(min_size=1, max_size=40)),
        draw(st.binary(max_size=300) | st.sampled_from([126, 16_400, 2_097_200]).map(bytes)),
        qos,
        draw(st.integers(1, 65_535)) if qos else 0,
        draw(st.booleans()) and qos > 0,
        draw(st.booleans()),
    )


@st.composite
def properties(draw: st.DrawFn) -> Properties | None:
    if draw(st.booleans()):
        return None
    found: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if draw(st.booleans()):
        found.MessageExpiryInterval = draw(st.integers(1, 2**32 - 1))
    if draw(st.booleans()):
        found.ContentType = "application/json" * draw(st.integers(1, 2_000))  # up to three bytes of length
    found.UserProperty = draw(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=3)) or ("a", "b")
    found.CorrelationData = draw(st.binary(max_size=200))
    return found  # type: ignore[no-any-return]


def received(pieces: Iterator[bytes], *, version5: bool) -> list[Message]:
    """Decode a stream that comes in pieces, as a connection does."""
    buffer, found = bytearray(), []
    for piece in pieces:
        buffer += piece
        while buffer and (body := frame(buffer, 0)) is not None:
            begin, end = body
            assert buffer[0] & 0xF0 == PUBLISH
            found.append(publish(buffer[0], bytes(buffer[begin:end]), version5=version5))
            del buffer[:end]
    assert not buffer
    return found


def cut(stream: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Cut a stream into pieces of these sizes, the rest in one."""
    for size in sizes:
        yield stream[:size]
        stream = stream[size:]
    yield stream


@settings(deadline=None)
@given(
    st.lists(st.tuples(messages(), properties()), max_size=4), st.booleans(), st.lists(st.integers(0, 9), max_size=60)
)
def test_what_paho_encodes_is_decoded(sent: list[Any], version5: bool, sizes: list[int]) -> None:  # noqa: FBT001
    """Every PUBLISH of 3.1.1 and 5, however the network cuts the stream, is the message that was sent."""
    wire = Wire(version5=version5)
    for message, more in sent:
        wire.encode(message, more if version5 else None)
    assert received(cut(wire.bytes, sizes), version5=version5) == [message for message, _ in sent]


@given(messages().filter(lambda message: len(message.payload) < 400), properties(), st.booleans(), st.data())
def test_a_cut_message_is_malformed(
    message: Message,
    more: Properties | None,
    version5: bool,  # noqa: FBT001
    data: st.DataObject,
) -> None:
    """A body that ends before its payload begins is refused; of properties, none at all may be missing."""
    wire = Wire(version5=version5)
    wire.encode(message, more if version5 else None)
    begin, end = frame(bytearray(wire.bytes), 0) or (0, 0)
    assert end == len(wire.bytes)
    kept = data.draw(st.integers(begin, end - len(message.payload) - 1))
    assume(kept != begin + 2 + len(message.topic.encode()) + (2 if message.qos else 0))
    with pytest.raises(Malformed):
        publish(wire.bytes[0], wire.bytes[begin:kept], version5=version5)


@given(st.integers(PUBLISH, PUBLISH | 0xF), st.binary(max_size=40), st.booleans())
def test_garbage_is_malformed_or_a_message(flags: int, body: bytes, version5: bool) -> None:  # noqa: FBT001
    """Whatever bytes a peer sends: Malformed, or a message whose fields are in their ranges; nothing else."""
    try:
        message = publish(flags, body, version5=version5)
    except Malformed:
        return
    assert message.qos in (0, 1, 2)
    assert (message.packet > 0) == (message.qos > 0)
    assert body.endswith(message.payload)


@pytest.mark.parametrize(
    ("flags", "body"),
    [
        (0x30, b""),
        (0x30, b"\0"),
        (0x30, b"\0\5top"),
        (0x32, b"\0\1t"),
        (0x32, b"\0\1t\0"),
        (0x32, b"\0\1t\0\0payload"),
        (0x36, b"\0\1t\0\1\0payload"),
        (0x30, b"\0\1t\5"),
        (0x30, b"\0\1t\x80"),
        (0x30, b"\0\1t\x80\x80\x80\x80\0"),
    ],
)
def test_malformed(flags: int, body: bytes) -> None:
    """A PUBLISH without its topic, its packet id or its properties, and QoS 3, end the connection."""
    with pytest.raises(Malformed):
        publish(flags, body, version5=True)


def test_a_topic_that_is_not_utf8_costs_the_connection_nothing() -> None:
    """One broken publisher must not stop the others' messages: the topic gets replacement characters."""
    assert publish(0x30, b"\0\2a\xffpayload", version5=False) == Message("a\ufffd", b"payload", 0, 0, False, False)


@given(st.integers(0, 268_435_455), st.integers(0, 3))
def test_frame_reads_any_length(length: int, start: int) -> None:
    """Lengths of one to four bytes are read as paho writes them, wherever the packet begins."""
    header = bytearray(start + 1)
    Wire(version5=False)._pack_remaining_length(header, length)
    assert frame(header, start) == ((len(header), len(header)) if length == 0 else None)
    if 0 < length < 100_000:
        assert frame(header + bytes(length), start) == (len(header), len(header) + length)
        assert frame(header + bytes(length - 1), start) is None


def test_frame_refuses_an_endless_length() -> None:
    """A length of more than four bytes is no MQTT."""
    assert frame(bytearray(b"\x30\xff\xff\xff"), 0) is None
    with pytest.raises(Malformed):
        frame(bytearray(b"\x30\xff\xff\xff\xff"), 0)


@given(st.lists(st.integers(1, 65_535), max_size=20), st.booleans())
def test_pubacks_are_pahos(packets: list[int], version5: bool) -> None:  # noqa: FBT001
    """Acknowledgements are byte for byte those that paho would send, in the same order."""
    wire = Wire(version5=version5)
    for packet in packets:
        wire.puback(packet)
    assert pubacks(packets) == wire.bytes
