"""One MQTT connection: paho's client on the asyncio loop, nothing of what messages mean."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_energy.errors import Unavailable
from edge_energy.sources.mqtt import packets
from edge_energy.sources.mqtt.client import BufferedSocket, Client
from edge_energy.together import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from paho.mqtt.reasoncodes import ReasonCode

    from edge_energy.config import Mqtt

log = structlog.get_logger()

CONNECT_TIMEOUT = 10.0
MAXIMUM_PACKET = 8 * 2**20  # bytes; a broker drops what is larger instead of filling our memory
SESSION_TAKEN_OVER = 0x8E
PROTOCOL_REFUSALS = (0x01, 0x84)  # 3.1.1's and 5's "unsupported protocol version"


class Filter(NamedTuple):
    """One subscription. `retained` asks for retained messages at every connect, not only at the first.

    `flagged` asks that what others publish to be retained can be told from what they do not (MQTT 5 only).
    """

    topic: str
    qos: int = 1
    retained: bool = False
    flagged: bool = False


class Will(NamedTuple):
    """What the broker says of us while we are connected, and once we are not."""

    topic: str
    online: bytes
    offline: bytes


class ProtocolRefused(Unavailable):
    """The broker does not speak this version of MQTT."""


class Connection:
    """A connected client. `async with` connects and disconnects; `lost` ends, with `Unavailable`, when it breaks.

    `on_message` is called for each message, `on_burst` after each group of messages that arrived together, both
    synchronously, from the loop. While `on_burst` returns False nothing more is read, so that the broker feels it,
    until `resume`: brokers do not hold to our Receive Maximum strictly enough to bound our memory.
    """

    def __init__(
        self,
        settings: Mqtt,
        protocol: MQTTProtocolVersion,
        will: Will,
        on_message: Callable[[packets.Message], None],
        on_burst: Callable[[], bool],
    ) -> None:
        self.session_present = False
        self._settings = settings
        self._protocol = protocol
        self._will = will
        self._on_message = on_message
        self._on_burst = on_burst
        self._loop = asyncio.get_running_loop()
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._answers: dict[int, asyncio.Future[list[int]]] = {}
        self._write_due = False
        self._fd = -1
        self._paused = False
        self._client = self._make_client()

    @property
    def version5(self) -> bool:
        """Whether this is MQTT 5."""
        return self._protocol == MQTTProtocolVersion.MQTTv5

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us, and the connection is not lost."""
        accepted = self._connected
        return accepted.done() and not accepted.cancelled() and not accepted.exception() and not self.lost.done()

    @property
    def paused(self) -> bool:
        """Whether nothing is read now."""
        return self._paused

    def _make_client(self) -> Client:
        settings = self._settings
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            clean_session=None if self.version5 else False,
            protocol=self._protocol,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT
        if settings.username is not None:
            password = settings.password
            client.username_pw_set(settings.username, password.get_secret_value() if password else None)
        if settings.tls:
            client.tls_set_context(self._make_tls())
        client.will_set(self._will.topic, self._will.offline, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_answer
        client.on_unsubscribe = self._on_answer
        client.on_socket_register_write = lambda *_: self._schedule_write()
        client.on_socket_unregister_write = lambda *_: None
        return client

    def _make_tls(self) -> ssl.SSLContext:
        settings = self._settings
        try:
            context = ssl.create_default_context(cafile=settings.ca_file)
            if settings.cert_file is not None:
                context.load_cert_chain(settings.cert_file, settings.key_file)
        except OSError as error:
            why = f"correct [[mqtt]] ca_file, cert_file and key_file for {self._address}: {error}"
            raise Unavailable(why) from error
        return context

    # -- connecting -------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await in_thread(self._connect)
        except ssl.SSLCertVerificationError as error:
            why = f"{self._address} has a certificate that is not trusted: {error.verify_message}"
            raise Unavailable(f"{why} (correct [[mqtt]] ca_file or host)") from error
        except (OSError, ValueError, paho.WebsocketConnectionError) as error:
            raise Unavailable(f"cannot connect to {self._address}: {error}") from error
        client = self._client
        if client.buffered is None:
            raise Unavailable(f"cannot connect to {self._address}")
        self._fd = client.buffered.fileno()
        self._loop.add_reader(self._fd, self._readable)
        self._keepalive = self._loop.create_task(self._keep_alive())
        self._writable()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._connected
        except TimeoutError:
            await self._close()
            raise self._not_connected(f"{self._address} accepted the connection and says nothing") from None
        except BaseException:
            await self._close()
            raise
        self.publish(self._will.topic, self._will.online, qos=1, retain=True)
        return self

    def _connect(self) -> None:
        settings = self._settings
        keepalive = max(5, int(settings.keepalive))
        if not self.version5:
            self._client.connect(settings.host, settings.port, keepalive)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        # Without an expiry the broker forgets the session; without our own maximum it sends 20 messages at a time.
        properties.SessionExpiryInterval = int(settings.session_expiry)
        properties.ReceiveMaximum = settings.receive_maximum
        properties.MaximumPacketSize = MAXIMUM_PACKET
        self._client.connect(settings.host, settings.port, keepalive, clean_start=False, properties=properties)

    async def __aexit__(self, *exc: object) -> None:
        if not self.lost.done():
            self.publish(self._will.topic, self._will.offline, qos=1, retain=True)
            self._client.disconnect()
            self._writable()
        await self._close()

    async def _close(self) -> None:
        self._keepalive.cancel()
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        buffered = self._client.buffered
        if buffered is not None:
            buffered.close()
        self.lost.cancel()
        self._connected.cancel()

    @property
    def _address(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"

    def _on_connect(
        self, _client: paho.Client, _data: object, flags: Any, code: ReasonCode, _properties: object
    ) -> None:
        if self._connected.done():
            return
        if not code.is_failure:
            self.session_present = flags.session_present
            self._connected.set_result(None)
        elif code.value in PROTOCOL_REFUSALS:
            self._connected.set_exception(ProtocolRefused(f"{self._address} does not speak this version of MQTT"))
        else:
            why = f"{self._address} refused the connection: {code}"
            if code.value in (0x86, 0x87, 0x04, 0x05):
                why += " (correct [[mqtt]] username and password)"
            self._connected.set_exception(Unavailable(why))

    def _on_disconnect(
        self, _client: paho.Client, _data: object, _flags: object, code: ReasonCode, _properties: object
    ) -> None:
        if code.value == SESSION_TAKEN_OVER:
            why = (
                f"another client connected to {self._address} as {self._settings.client_id!r}: "
                "another daemon uses this client id; give each its own [appliance] id or [[mqtt]] client_id"
            )
        else:
            why = f"{self._address} closed the connection: {code}"
        self._fail(Unavailable(why))

    def _fail(self, error: BaseException) -> None:
        if not self._connected.done():
            self._connected.set_exception(self._not_connected(str(error)) if self.version5 else error)
            self._connected.exception()
        if not self.lost.done():
            self.lost.set_exception(error)
            self.lost.exception()  # it is also raised by whoever waits; nobody waiting is no carelessness
        for future in self._answers.values():
            if not future.done():
                future.set_exception(error)
                future.exception()

    def _not_connected(self, why: str) -> Unavailable:
        """Return what it means that there is no CONNACK: some 3.1.1 brokers close or say nothing to MQTT 5."""
        return ProtocolRefused(why) if self.version5 else Unavailable(why)

    # -- the loop's side --------------------------------------------------------------------------------------

    def _readable(self) -> None:
        buffered = self._client.buffered
        if buffered is None or self.lost.done() or self._paused:
            return
        try:
            buffered.fill()
            self._read_packets(buffered)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except (OSError, packets.Malformed) as error:
            self._fail(Unavailable(f"lost the connection to {self._address}: {error}"))
        except Exception as error:  # noqa: BLE001 - not swallowed: it ends `run()`, where the supervisor sees it
            self._fail(error)
        go_on = self._on_burst()
        if self.lost.done():
            self._loop.remove_reader(self._fd)
        elif not go_on:
            self._paused = True
            self._loop.remove_reader(self._fd)
        elif buffered.waiting:
            self._loop.call_soon(self._readable)

    def _read_packets(self, buffered: BufferedSocket) -> None:
        """Handle every packet that has arrived whole: messages ourselves, the others by paho."""
        version5 = self.version5
        while (found := buffered.packet()) is not None and not self.lost.done():
            first, begin, end = found
            if first & 0xF0 == packets.PUBLISH:
                self._on_message(packets.publish(first, buffered.take(begin, end), version5=version5))
            else:
                self._client.loop_read()

    def resume(self) -> None:
        """Go on reading after `on_burst` asked for a pause."""
        if self._paused and not self.lost.done():
            self._paused = False
            self._loop.add_reader(self._fd, self._readable)

    def _schedule_write(self) -> None:
        if not self._write_due:
            self._write_due = True
            self._loop.call_soon_threadsafe(self._writable)

    def _writable(self) -> None:
        self._write_due = False
        buffered = self._client.buffered
        if buffered is None or self._fd < 0 or self.lost.done():
            return
        self._client.loop_write()
        try:
            if buffered.flush():
                self._loop.remove_writer(self._fd)
            else:
                self._loop.add_writer(self._fd, self._writable)
        except OSError as error:
            self._fail(Unavailable(f"lost the connection to {self._address}: {error}"))

    async def _keep_alive(self) -> None:
        while not self.lost.done():
            await asyncio.sleep(1)
            self._client.loop_misc()

    # -- packets ----------------------------------------------------------------------------------------------

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Queue a message; QoS 1 is repeated by paho on this connection only."""
        self._client.publish(topic, payload, qos=qos, retain=retain)

    def acknowledge(self, packet_ids: Iterable[int]) -> None:
        """Acknowledge messages of this connection, in order of receipt."""
        buffered = self._client.buffered
        if buffered is not None:
            buffered.send(packets.pubacks(packet_ids))
            self._schedule_write()

    async def subscribe(self, filters: list[Filter]) -> list[int]:
        """Subscribe; return for each filter the granted QoS, or the reason code (128 and above) of a refusal.

        Retained messages come at the first subscription only (Retain Handling 1), except where asked for; a
        3.1.1 broker sends them each time.
        """
        if not self.version5:
            return await self._answered(self._client.subscribe([(topic, qos) for topic, qos, *_ in filters]))
        options = [
            (topic, SubscribeOptions(qos, retainAsPublished=flagged, retainHandling=0 if retained else 1))
            for topic, qos, retained, flagged in filters
        ]
        return await self._answered(self._client.subscribe(options))

    async def unsubscribe(self, topics: list[str]) -> None:
        """Unsubscribe filters that live in the session."""
        await self._answered(self._client.unsubscribe(topics))

    async def _answered(self, sent: tuple[Any, int | None]) -> list[int]:
        packet = sent[1]
        if packet is None:
            raise Unavailable(f"lost the connection to {self._address}")
        future = self._answers[packet] = self._loop.create_future()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                answer: list[int] = await future
                return answer
        except TimeoutError:
            raise Unavailable(f"{self._address} does not answer a subscription") from None
        finally:
            del self._answers[packet]

    def _on_answer(
        self, _client: paho.Client, _data: object, packet: int, codes: list[ReasonCode], _properties: object
    ) -> None:
        future = self._answers.get(packet)
        if future is not None and not future.done():
            future.set_result([code.value for code in codes])
