"""The connection reads what the broker sends, whole and in order, acknowledges it, and says why it ended."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from edge_energy.config import Mqtt
from edge_energy.errors import Unavailable
from edge_energy.sources.mqtt import connection as connection_module
from edge_energy.sources.mqtt.connection import Connection, Filter, ProtocolRefused, Will
from tests.conftest import skipped_if_missing
from tests.servers.certificates import make_certificates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge_energy.sources.mqtt.packets import Message

SOON = 5.0
V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
CONNACK = {V5: b"\x20\x03\x00\x00\x00", V311: b"\x20\x02\x00\x00"}
SESSION_PRESENT = b"\x20\x03\x01\x00\x00"


def publish(packet: int, payload: bytes, *, version: MQTTProtocolVersion = V5) -> bytes:
    """Return a PUBLISH at QoS 1 on the topic t."""
    body = b"\x00\x01t" + packet.to_bytes(2) + (b"\x00" if version == V5 else b"") + payload
    assert len(body) < 128
    return bytes([0x32, len(body)]) + body


def puback(packet: int) -> bytes:
    return b"\x40\x02" + packet.to_bytes(2)


# -- a connection --------------------------------------------------------------------------------------------


class Peer:
    """What a test plays the broker with."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def receive(self) -> tuple[int, bytes]:
        """Return first byte and body of the next packet of the client (of less than 16 KiB)."""
        first, length = await self.reader.readexactly(2)
        if length >= 0x80:
            length = (length & 0x7F) | (await self.reader.readexactly(1))[0] << 7
        return first, await self.reader.readexactly(length)

    async def expect(self, kind: int) -> bytes:
        """Return the body of the next packet of a kind, past others."""
        async with asyncio.timeout(SOON):
            while True:
                first, body = await self.receive()
                if first & 0xF0 == kind:
                    return body


class Client:
    """A connection, and what it was sent."""

    def __init__(self, port: int, version: MQTTProtocolVersion, **settings: Any) -> None:
        will = Will("edge-energy/house/status", b"online", b"offline")
        found = Mqtt.model_validate({"port": port, "client_id": "ours"} | settings)
        self.connection = Connection(found, version, will, self._message, self._burst)
        self.messages: list[Message] = []
        self.connected: list[bool] = []
        """Whether it was, at each message."""
        self.bursts: list[int] = []
        self.go_on = True
        self.came = asyncio.Event()

    def _message(self, message: Message) -> None:
        self.messages.append(message)
        self.connected.append(self.connection.connected)

    def _burst(self) -> bool:
        self.bursts.append(len(self.messages))
        self.came.set()
        return self.go_on

    async def wait(self, count: int) -> list[bytes]:
        """Return the payloads once there are so many."""
        async with asyncio.timeout(SOON):
            while len(self.messages) < count:
                self.came.clear()
                await self.came.wait()
        return [message.payload for message in self.messages]


@asynccontextmanager
async def broker(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, asyncio.Queue[Peer]]]:
    """Listen; give the port and those who connect."""
    peers: asyncio.Queue[Peer] = asyncio.Queue()
    writers: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        peers.put_nowait(Peer(reader, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], peers
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def connected(
    version: MQTTProtocolVersion = V5, context: ssl.SSLContext | None = None, **settings: Any
) -> AsyncIterator[tuple[Client, Peer]]:
    """Give a connected client, and the broker's side of it; it has said that it is online."""
    async with asyncio.timeout(SOON), broker(context) as (port, peers):
        client = Client(port, version, **settings)

        async def accept() -> Peer:
            peer = await peers.get()
            await peer.expect(0x10)
            peer.writer.write(CONNACK[version])
            return peer

        accepting = asyncio.create_task(accept())
        async with client.connection:
            peer = await accepting
            yield client, peer


@pytest.mark.parametrize("version", [V5, V311])
async def test_messages_arrive_and_are_acknowledged_in_order(version: MQTTProtocolVersion) -> None:
    """What arrives together is one burst; acknowledgements go out as they were asked for."""
    async with connected(version) as (client, peer):
        assert b"online" in await peer.expect(0x30)
        peer.writer.write(b"".join(publish(n, b"%d" % n, version=version) for n in (3, 1, 2)))
        assert await client.wait(3) == [b"3", b"1", b"2"]
        assert client.bursts[-1] == 3
        client.connection.acknowledge([message.packet for message in client.messages])
        assert [await peer.expect(0x40) for _ in range(3)] == [b"\x00\x03", b"\x00\x01", b"\x00\x02"]


async def test_a_message_between_the_broker_s_answers_is_not_lost_in_paho() -> None:
    """With two of our own messages unanswered, paho reads two packets at once: the second may be a reading."""
    async with connected() as (client, peer):
        online = await peer.expect(0x30)
        client.connection.publish("marker", b"m", qos=1)
        marker = await peer.expect(0x30)
        ids = [
            int.from_bytes(body[2 + len(topic) :][:2])
            for body, topic in ((online, b"edge-energy/house/status"), (marker, b"marker"))
        ]
        peer.writer.write(puback(ids[0]) + publish(9, b"a reading") + puback(ids[1]) + publish(10, b"another"))
        assert await client.wait(2) == [b"a reading", b"another"]


async def test_a_session_is_asked_for_that_keeps_messages() -> None:
    """MQTT 5: no clean start, an expiry, and our own Receive Maximum, all in CONNECT."""
    async with asyncio.timeout(SOON), broker() as (port, peers):
        client = Client(port, V5, session_expiry="1h", receive_maximum=300)

        async def accept() -> bytes:
            peer = await peers.get()
            body = await peer.expect(0x10)
            peer.writer.write(SESSION_PRESENT)
            return body

        accepting = asyncio.create_task(accept())
        async with client.connection as connection:
            body = await accepting
            assert connection.session_present
    assert body.startswith(b"\x00\x04MQTT\x05")
    assert not body[7] & 0x02, "clean start"
    assert b"\x11" + (3600).to_bytes(4) in body
    assert b"\x21" + (300).to_bytes(2) in body


@pytest.mark.parametrize(
    ("version", "connack", "error", "words"),
    [
        (V5, b"\x20\x03\x00\x84\x00", ProtocolRefused, "does not speak this version"),
        (V311, b"\x20\x02\x00\x01", Unavailable, "closed the connection: Protocol error"),
        (V5, b"\x20\x03\x00\x86\x00", Unavailable, r"correct \[\[mqtt\]\] username and password"),
        (V311, b"\x20\x02\x00\x05", Unavailable, r"correct \[\[mqtt\]\] username and password"),
        (V5, b"\x20\x03\x00\x88\x00", Unavailable, "refused the connection"),
        (V5, b"", ProtocolRefused, "closed the connection"),
        (V311, b"", Unavailable, "closed the connection"),
    ],
)
async def test_a_refusal_says_what_to_do(
    version: MQTTProtocolVersion, connack: bytes, error: type[Unavailable], words: str
) -> None:
    """Another version is tried where it was the version; else the operator reads what to correct."""
    async with asyncio.timeout(SOON), broker() as (port, peers):

        async def refuse() -> None:
            peer = await peers.get()
            await peer.expect(0x10)
            peer.writer.write(connack)
            peer.writer.close()

        refusing = asyncio.create_task(refuse())
        with pytest.raises(error, match=words) as caught:
            async with Client(port, version).connection:
                pass
        assert type(caught.value) is error
        await refusing


async def test_a_broker_that_says_nothing_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is accepted and never answered is given up."""
    monkeypatch.setattr(connection_module, "CONNECT_TIMEOUT", 0.1)
    async with asyncio.timeout(SOON), broker() as (port, _):
        with pytest.raises(Unavailable, match="says nothing"):
            async with Client(port, V311).connection:
                pass


async def test_nobody_there_is_unavailable() -> None:
    """Where no broker listens, the address is named."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Unavailable, match=f"cannot connect to 127.0.0.1:{port}"):
        async with Client(port, V5).connection:
            pass


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"", "closed the connection|lost the connection"),
        (b"\xe0\x01\x8e", "another client connected .* as 'ours'.*give each its own"),
        (b"\xe0\x01\x8b", "closed the connection"),
        (b"\x30\xff\xff\xff\xff\xff", "lost the connection"),
        (b"\x36\x06\x00\x01t\x00\x01\x00", "lost the connection"),
    ],
)
async def test_the_end_of_a_connection_has_a_reason(sent: bytes, words: str) -> None:
    """A broker that leaves, throws us out or speaks nonsense ends `lost`, with what the operator should know."""
    async with connected() as (client, peer):
        peer.writer.write(sent)
        peer.writer.close()
        with pytest.raises(Unavailable, match=words):
            await client.connection.lost


async def test_a_subscription_returns_what_was_granted() -> None:
    """Retained messages come at the first subscription only, except where asked for; refusals are codes."""
    async with connected() as (client, peer):
        subscribing = asyncio.create_task(
            client.connection.subscribe([Filter("a/+", 1), Filter("b", 0, retained=True), Filter("c", flagged=True)])
        )
        body = await peer.expect(0x80)
        assert body.endswith(b"\x00\x03a/+\x11\x00\x01b\x00\x00\x01c\x19")
        peer.writer.write(b"\x90\x06" + body[:2] + b"\x00\x01\x87\x01")
        assert await subscribing == [1, 0x87, 1]


async def test_it_is_connected_from_the_broker_s_consent_to_the_end() -> None:
    """What comes together with the consent can be answered already."""
    async with asyncio.timeout(SOON), broker() as (port, peers):
        client = Client(port, V5)
        connection = client.connection
        assert not connection.connected

        async def accept() -> Peer:
            peer = await peers.get()
            await peer.expect(0x10)
            peer.writer.write(CONNACK[V5] + publish(1, b""))
            return peer

        accepting = asyncio.create_task(accept())
        async with connection:
            peer = await accepting
            await client.wait(1)
            assert connection.connected
            peer.writer.close()
            with pytest.raises(Unavailable):
                await connection.lost
            assert not connection.connected
    assert client.connected == [True]


async def test_a_connection_that_is_lost_answers_nobody() -> None:
    """Whoever waits for the answer to a subscription is told."""
    async with connected() as (client, peer):
        subscribing = asyncio.create_task(client.connection.subscribe([Filter("a")]))
        await peer.expect(0x80)
        peer.writer.close()
        with pytest.raises(Unavailable):
            await subscribing


async def test_leaving_says_offline_before_goodbye() -> None:
    """Others see at once that the appliance is not listening; after a DISCONNECT no will would say so."""
    async with connected() as (client, peer):
        assert b"online" in await peer.expect(0x30)
        await client.connection.__aexit__()
        assert b"offline" in await peer.expect(0x30)
        await peer.expect(0xE0)


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[ssl.SSLContext, dict[str, Any]]:
    """Give a broker's TLS context, and the settings of who trusts it."""
    with skipped_if_missing():
        made = make_certificates(tmp_path / "certificates")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.server, made.server_key)
    return context, {"tls": True, "ca_file": str(made.ca)}


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_pause_holds_the_broker_back_and_loses_nothing(
    certificates: tuple[ssl.SSLContext, dict[str, Any]], *, encrypted: bool
) -> None:
    """While too much waits for the disk nothing is read; afterwards all of it, also what TLS had taken already."""
    context, settings = certificates if encrypted else (None, {})
    count = 5_000
    async with connected(context=context, **settings) as (client, peer):
        client.go_on = False
        peer.writer.write(b"".join(publish(n % 65_535 + 1, b"x" * 100) for n in range(count)))
        await client.wait(1)
        paused_at = len(client.messages)
        assert paused_at < count
        assert client.connection.paused
        client.connection.publish("ping", b"", qos=0)
        await peer.expect(0x30)
        assert len(client.messages) == paused_at
        client.go_on = True
        client.connection.resume()
        assert len(await client.wait(count)) == count
        assert not client.connection.paused
