"""The MQTT connection of one device."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from simulator.mqtt import Broker, Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from simulator.message import Message
    from simulator.shelly.topics import Topics

PORT = 1883
PAUSE = 5.0


class MqttLink:
    """Connects while the network is there; what is published without a connection is lost."""

    def __init__(self, connected: Callable[[bool], Any]) -> None:
        self._tell_connected = connected
        self._connection: Connection | None = None

    def publish(self, messages: Iterable[Message]) -> None:
        """Publish, if connected."""
        if self._connection and self._connection.connected:
            for message in messages:
                self._connection.publish(message)

    async def run(self, broker: Broker, topics: Topics) -> None:
        """Stay connected; ends by being cancelled, and then without a goodbye, so that the last will is published."""
        while True:
            connection = self._connection = Connection(broker, topics.last_will, topics.filters)
            watch = asyncio.create_task(self._watch(connection))
            try:
                await connection.open()
                while True:
                    topic, payload = await connection.receive()
                    self.publish(topics.hello() if topic is None else topics.receive(topic, payload))
            except (click.ClickException, ValueError) as refusal:  # ValueError: a server or prefix that cannot be
                click.echo(str(refusal), err=True)
            finally:
                watch.cancel()
                self._tell_connected(False)
                self._connection = None
                await connection.abort()
            await asyncio.sleep(PAUSE)

    async def _watch(self, connection: Connection) -> None:
        while True:
            self._tell_connected(connection.connected)
            await asyncio.sleep(0.1)


def broker(server: str, username: str | None, password: str | None) -> Broker:
    """Read the server of a configuration: host:port."""
    host, _, port = server.partition(":")
    return Broker(host, int(port) if port.isdigit() else PORT, username, password)
