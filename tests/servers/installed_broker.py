"""The broker that install.sh has set up in a container, and clients that are told what they may not do."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal, Self

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from .base import HOST, wait_until
from .inward import Inward
from .steps import take_steps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from paho.mqtt.client import MQTTMessage

    from .container import Container

PORT, TLS_PORT, WEBSOCKET_PORT = 1883, 8883, 9001


class InstalledBroker:
    """The container's broker, whose ports have others on this machine while in its context."""

    def __init__(self, container: Container) -> None:
        self.container = container
        take_steps(container, "make_users", "setup_mosquitto", MODE="simulation")
        self._doors = [Inward(container, port) for port in (PORT, TLS_PORT, WEBSOCKET_PORT)]
        self.port, self.tls_port, self.websocket_port = (door.port for door in self._doors)
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for door in self._doors:
            self._open.enter_context(door)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def listens(self, port: int) -> bool:
        """Whether somebody listens on a port there."""
        return bool(self.container.run("ss", "-Hltn", f"sport = :{port}").stdout)

    def password(self, user: str) -> str:
        """Return what install.sh has made."""
        return self.container.path(f"/etc/edge-energy/secrets/mqtt-{user}.password").read_text().strip()

    def ca(self, directory: Path) -> Path:
        """Return the certificate of the appliance's authority."""
        file = directory / "ca.pem"
        file.write_bytes(self.container.path("/etc/edge-energy/tls/ca.pem").read_bytes())
        return file

    def log(self) -> list[str]:
        """Return what mosquitto has logged."""
        return self.container.path("/var/log/mosquitto/mosquitto.log").read_text().splitlines()

    def restart(self) -> None:
        """Stop it in good order, and start it."""
        self.container.run("systemctl", "restart", "mosquitto")

    @contextlib.contextmanager
    def client(self, user: str, password: str | None = None) -> Iterator[Talker]:
        """Connect as a user, with its password unless another one is given."""
        with Talker(self.port, user, password or self.password(user)) as talker:
            yield talker


class Talker:
    """A client of MQTT 5, which is told what it may not do."""

    def __init__(
        self, port: int, user: str | None, password: str | None, transport: Literal["tcp", "websockets"] = "tcp"
    ) -> None:
        self.heard: list[str] = []
        self.refused: int | None = None
        """The reason why it was not let in."""
        self._port = port
        self._codes: dict[int, int] = {}
        self._connected: list[int] = []
        self._subscribed: list[int] = []
        client = self.client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5, transport=transport)
        if user is not None:
            client.username_pw_set(user, password)
        client.max_inflight_messages_set(1000)
        client.on_connect = lambda _c, _d, _f, reason, _p: self._connected.append(reason.value)
        client.on_subscribe = lambda _c, _d, mid, _r, _p: self._subscribed.append(mid)
        client.on_publish = lambda _c, _d, mid, reason, _p: self._codes.update({mid: reason.value})
        client.on_message = self._take
        client.reconnect_delay_set(1, 1)

    def __enter__(self) -> Self:
        self.client.connect(HOST, self._port)
        self.client.loop_start()
        wait_until(lambda: self._connected, what="an answer of the broker")
        if self._connected[0]:
            self.refused = self._connected[0]
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def subscribe(self, topic: str) -> None:
        """Subscribe, and return when the broker has said so: it has sent all that came before, too."""
        _, mid = self.client.subscribe(topic, qos=1)
        wait_until(lambda: mid in self._subscribed, what=f"subscription of {topic}")

    def publish(self, *topics: str, payload: str = "{}", retain: bool = False) -> dict[str, int]:
        """Publish at QoS 1; return the broker's reason for each topic."""
        sent = {topic: self.client.publish(topic, payload, qos=1, retain=retain).mid for topic in topics}
        wait_until(lambda: self._codes.keys() >= set(sent.values()), what="acknowledgements")
        return {topic: self._codes[mid] for topic, mid in sent.items()}

    def _take(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.heard.append(message.topic)
