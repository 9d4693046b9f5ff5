"""The connection to the broker: what arrives becomes an asyncio queue, what is published goes out at once."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from simulator.message import Message

CONNECT_TIMEOUT = 5.0
KEEPALIVE = 30
LONGEST_PAUSE = 10  # seconds between two attempts to connect
INFLIGHT = 1000
FLUSH_POLLS, FLUSH_POLL = 250, 0.02  # five seconds
NOT_ALLOWED = frozenset({0x86, 0x87})  # bad user name or password, not authorized


class Received(NamedTuple):
    """A message that arrived; `topic` is None when the connection was made or made again."""

    topic: str | None
    payload: bytes = b""


@dataclass(frozen=True)
class Broker:
    """Where the broker is and how it lets us in; a CA file turns TLS on."""

    host: str = "127.0.0.1"
    port: int = 1883
    username: str | None = None
    password: str | None = None
    ca_file: Path | None = None


class Connection:
    """One session with the broker; paho's thread keeps it alive and makes it again when it breaks.

    What is published while there is no connection is dropped and counted, as Zigbee2MQTT does; what was already
    sent with QoS 1 is repeated by paho until it is acknowledged.
    """

    def __init__(self, broker: Broker, last_will: Message, filters: Iterable[str]) -> None:
        self.published = 0
        self.dropped = 0
        self._broker = broker
        self._filters = [(topic, 1) for topic in filters]
        self._admitted = False
        self._in_trouble = False
        self._under_way: deque[MQTTMessageInfo] = deque()
        self._inbox: asyncio.Queue[Received | click.ClickException] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._client = self._make_client(broker)
        self._client.will_set(last_will.topic, last_will.payload, last_will.qos, last_will.retain)

    @property
    def backlog(self) -> int:
        """How many published messages the network (QoS 0) or the broker (QoS 1) has not taken yet."""
        self._forget_settled()
        return len(self._under_way)

    @property
    def connected(self) -> bool:
        """Whether messages go out at present."""
        return bool(self._client.is_connected())

    async def open(self) -> None:
        """Connect, however long the broker takes to appear."""
        pause = 1
        while True:
            try:
                await asyncio.to_thread(self._client.connect, self._broker.host, self._broker.port, KEEPALIVE)
            except OSError as error:
                self._trouble(f"no connection yet: {error}")
                pause = min(pause * 2, LONGEST_PAUSE)
                await asyncio.sleep(pause)
            else:
                self._client.loop_start()
                return

    async def receive(self) -> Received:
        """Wait for the next message, or for the news that we are connected; raise if we are not let in."""
        received = await self._inbox.get()
        if isinstance(received, click.ClickException):
            raise received
        return received

    def publish(self, message: Message) -> None:
        """Send one message."""
        if not self.connected:
            self.dropped += 1
            return
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain)
        if info.rc is MQTTErrorCode.MQTT_ERR_SUCCESS or message.qos > 0:
            self.published += 1
            self._under_way.append(info)
            self._forget_settled()
        else:
            self.dropped += 1

    async def close(self) -> None:
        """Wait a moment for the last acknowledgements, then end without the last will."""
        for _ in range(FLUSH_POLLS):
            if self.backlog == 0 or not self.connected:
                break
            await asyncio.sleep(FLUSH_POLL)
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    async def abort(self) -> None:
        """End as a device does that lost its network: no goodbye, so that the broker publishes the last will."""
        await asyncio.to_thread(self._client.loop_stop)
        if stream := self._client.socket():
            stream.close()

    def _forget_settled(self) -> None:
        while self._under_way and _settled(self._under_way[0]):
            self._under_way.popleft()

    def _make_client(self, broker: Broker) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"simulator-{secrets.token_hex(4)}",
            protocol=MQTTProtocolVersion.MQTTv311,
        )
        client.connect_timeout = CONNECT_TIMEOUT
        client.reconnect_delay_set(1, LONGEST_PAUSE)
        client.max_inflight_messages_set(INFLIGHT)
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password)
        if broker.ca_file is not None:
            client.tls_set(ca_certs=str(broker.ca_file))
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    # paho calls these in its own thread
    def _on_connect(self, client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            if reason.value in NOT_ALLOWED and not self._admitted:
                self._in_trouble = True  # and no news that the connection is lost
                self._post(click.ClickException(f"the broker refuses the connection: {reason}"))
            else:
                self._trouble(f"the broker refuses the connection: {reason}")  # it may be just starting
            return
        self._admitted, self._in_trouble = True, False
        click.echo(f"connected to {self._broker.host}:{self._broker.port}", err=True)
        if self._filters:
            client.subscribe(self._filters)
        self._post(Received(None))

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._trouble(f"connection lost: {reason}")

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._post(Received(message.topic, bytes(message.payload)))

    def _trouble(self, what: str) -> None:
        """Say it once, until there is a connection again."""
        if not self._in_trouble:
            click.echo(f"{self._broker.host}:{self._broker.port}: {what}; trying again", err=True)
        self._in_trouble = True

    def _post(self, received: Received | click.ClickException) -> None:
        self._loop.call_soon_threadsafe(self._inbox.put_nowait, received)


def _settled(info: MQTTMessageInfo) -> bool:
    try:
        return info.is_published()
    except RuntimeError:  # QoS 0, and the connection broke before it was sent
        return True
