"""A short visit to a broker, beside the daemon: with its login, never with its client id, leaving nothing behind.

paho is driven by the calling thread, which waits: a visit is a few packets.
"""

from __future__ import annotations

import secrets
import ssl
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_energy.errors import EdgeEnergyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paho.mqtt.reasoncodes import ReasonCode

    from edge_energy.config import Mqtt

PATIENCE = 3.0
"""Seconds that each step may take."""
V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
_LOGIN = ("Bad user name or password", "Not authorized")
_VERSION = "Unsupported protocol version"
_LONGEST = 8 << 20  # bytes of a packet


class Refused(EdgeEnergyError):  # noqa: N818 - a state of the world
    """The broker does not let us in, or closes the connection; `answered` tells whether it said why."""

    def __init__(self, why: str, *, answered: bool) -> None:
        super().__init__(why)
        self.answered = answered

    @property
    def login(self) -> bool:
        """Whether it is user or password that it does not like."""
        return any(words in str(self) for words in _LOGIN)


class Visit:
    """A connected client. `send` and `until` are all that moves it."""

    def __init__(self, client: paho.Client) -> None:
        self.session_present = False
        self.messages: list[paho.MQTTMessage] = []
        self.granted: dict[int, list[ReasonCode]] = {}
        self.published: dict[int, ReasonCode] = {}
        self.client = client
        self._answer: ReasonCode | None = None
        self._closed: ReasonCode | None = None
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = lambda _client, _data, message: self.messages.append(message)
        client.on_subscribe = lambda _client, _data, packet, codes, _properties: self.granted.update({packet: codes})
        client.on_publish = lambda _client, _data, packet, code, _properties: self.published.update({packet: code})

    def _on_connect(self, _client: object, _data: object, flags: Any, code: ReasonCode, _properties: object) -> None:
        self._answer, self.session_present = code, flags.session_present

    def _on_disconnect(
        self, _client: object, _data: object, _f: object, code: ReasonCode, _properties: object
    ) -> None:
        self._closed = code

    def connected(self) -> bool:
        """Tell whether the broker has let us in. Raises `Refused`."""
        if self._answer is not None and self._answer.is_failure:
            raise Refused(str(self._answer), answered=True)
        return self._answer is not None

    def until(self, condition: Callable[[], bool], seconds: float | None = None) -> bool:
        """Send and receive until it is true; False where it takes longer. Raises `Refused` if we are thrown out."""
        deadline = time.monotonic() + (PATIENCE if seconds is None else seconds)
        while not condition():
            if time.monotonic() > deadline:
                return False
            if self.client.loop(0.05) != MQTTErrorCode.MQTT_ERR_SUCCESS and not condition():
                raise Refused(f"the broker closed the connection: {self._closed}", answered=False)
        return True

    def subscribe(self, *topics: str) -> list[ReasonCode]:
        """Subscribe at QoS 1 and return what was granted. Raises `TimeoutError` and `Refused`."""
        packet = self.client.subscribe([(topic, 1) for topic in topics])[1] or 0
        if not self.until(lambda: packet in self.granted):
            raise TimeoutError("the broker does not answer a subscription")
        return self.granted[packet]

    def publish(self, topic: str, payload: bytes) -> int:
        """Send a message at QoS 1; return the number of its packet, which `published` has once it is confirmed."""
        return self.client.publish(topic, payload, qos=1).mid


@contextmanager
def visit(broker: Mqtt, *, login: bool = True, client_id: str = "", clean: bool = True) -> Iterator[Visit]:
    """Connect, with or without the daemon's login; not `clean` asks the broker to keep a session for a minute.

    Raises `Refused`, or `OSError` where it cannot be reached (`ssl.SSLError`) or is silent (`TimeoutError`).
    """
    versions = {"5": [V5], "3.1.1": [V311]}.get(broker.protocol, [V5, V311])
    name = client_id or f"edge-energy-doctor-{secrets.token_hex(4)}"
    for version in versions:
        found = Visit(_client(broker, version, name, login=login, clean=clean))
        try:
            _connect(found, broker, version, clean=clean)
        except (Refused, TimeoutError) as error:
            # Brokers of 3.1.1 name the version, close the connection, or say nothing at all.
            explained = isinstance(error, Refused) and error.answered and _VERSION not in str(error)
            if version is versions[-1] or explained:
                raise
        else:
            break
    try:
        yield found
    finally:
        found.client.disconnect()
        found.client.loop(0.05)


def _client(broker: Mqtt, version: MQTTProtocolVersion, name: str, *, login: bool, clean: bool) -> paho.Client:
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=name,
        clean_session=None if version is V5 else clean,
        protocol=version,
        reconnect_on_failure=False,
    )
    client.connect_timeout = PATIENCE
    if login and broker.username is not None:
        client.username_pw_set(broker.username, broker.password.get_secret_value() if broker.password else None)
    if broker.tls:
        context = ssl.create_default_context(cafile=broker.ca_file)
        if login and broker.cert_file is not None:
            context.load_cert_chain(broker.cert_file, broker.key_file)
        client.tls_set_context(context)
    return client


def _connect(found: Visit, broker: Mqtt, version: MQTTProtocolVersion, *, clean: bool) -> None:
    properties = None
    if version is V5:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0 if clean else 60
        properties.MaximumPacketSize = _LONGEST
    clean_start = clean if version is V5 else paho.MQTT_CLEAN_START_FIRST_ONLY
    found.client.connect(broker.host, broker.port, 30, clean_start=clean_start, properties=properties)
    if not found.until(found.connected):
        raise TimeoutError("it accepted the connection and says nothing")
