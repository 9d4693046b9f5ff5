"""Between paho and the network nothing is lost, cut or reordered, and no packet of ours disappears in paho."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_energy.sources.mqtt.client import BufferedSocket, Client

if TYPE_CHECKING:
    from collections.abc import Iterator

PUBLISH = b"\x32\x0b\x00\x01t\x00\x01\x00first"
PUBACK = b"\x40\x02\x00\x07"


def test_paho_still_makes_its_socket_where_ours_is_put_in() -> None:
    """A release of paho that connects in another way would silently bypass the buffer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        client.connect("127.0.0.1", server.getsockname()[1])
        assert isinstance(client.buffered, BufferedSocket)
        assert id(client.socket()) == id(client.buffered)
        client.loop_write()
        client.buffered.flush()
        accepted, _ = server.accept()
        with accepted:
            assert accepted.recv(100).startswith(b"\x10"), "CONNECT went through it"
        client.buffered.close()


@pytest.fixture
def pair() -> Iterator[tuple[BufferedSocket, socket.socket]]:
    """Give a buffered socket that does not block, and its other end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield BufferedSocket(ours), theirs


def test_what_comes_in_pieces_is_seen_when_it_is_whole(pair: tuple[BufferedSocket, socket.socket]) -> None:
    """However the network cuts them, packets come out one by one, complete and in order."""
    buffered, theirs = pair
    stream = PUBLISH + PUBACK + PUBLISH + b"\xd0\x00"
    seen = []
    for byte in stream:
        theirs.send(bytes([byte]))
        buffered.fill()
        while (found := buffered.packet()) is not None:
            first, begin, end = found
            seen.append((first, buffered.take(begin, end)))
    assert [(first, len(body)) for first, body in seen] == [(0x32, 11), (0x40, 2), (0x32, 11), (0xD0, 0)]
    assert buffered.pending() == 0


def test_paho_reads_the_packet_that_was_looked_at_and_no_more(pair: tuple[BufferedSocket, socket.socket]) -> None:
    """What comes behind it, ours to decode, must not disappear in paho."""
    buffered, theirs = pair
    theirs.send(PUBACK + PUBLISH)
    buffered.fill()
    assert buffered.packet() == (0x40, 2, 4)
    assert buffered.recv(1) + buffered.recv(1) + buffered.recv(100) == PUBACK
    with pytest.raises(BlockingIOError):
        buffered.recv(1)
    found = buffered.packet()
    assert found is not None
    assert buffered.take(*found[1:]) == PUBLISH[2:]


def test_nothing_to_read_and_the_end_are_told_apart(pair: tuple[BufferedSocket, socket.socket]) -> None:
    """A quiet broker is not a broker that left."""
    buffered, theirs = pair
    with pytest.raises(BlockingIOError):
        buffered.fill()
    with pytest.raises(BlockingIOError):
        buffered.recv(1)
    theirs.close()
    with pytest.raises(ConnectionResetError):
        buffered.fill()


def test_what_the_network_does_not_take_waits(pair: tuple[BufferedSocket, socket.socket]) -> None:
    """Acknowledgements are never dropped or cut: the rest goes when there is room, in order."""
    buffered, theirs = pair
    data = b"".join(number.to_bytes(4) for number in range(2**18))
    assert buffered.send(data) == len(data)
    assert buffered.flush() is False
    received = bytearray()
    while len(received) < len(data):
        received += theirs.recv(65536)
        buffered.flush()
    assert received == data
    assert buffered.flush() is True


def test_closing_sends_what_is_buffered(pair: tuple[BufferedSocket, socket.socket]) -> None:
    """The farewell arrives although paho closes right behind it."""
    buffered, theirs = pair
    buffered.send(b"\xe0\x00")
    buffered.close()
    assert theirs.recv(10) == b"\xe0\x00"
    assert theirs.recv(10) == b""
