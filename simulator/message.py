"""An MQTT message, and what a protocol module offers to whoever connects it. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


class Message(NamedTuple):
    """One message to publish."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


class Talker(Protocol):
    """A protocol spoken over MQTT: pure, it answers what to publish and never publishes itself."""

    filters: list[str]

    def hello(self) -> Iterable[Message]:
        """Say what is published on each connect."""

    def due(self) -> Iterable[Message]:
        """Say what the devices report after a time step of the house."""

    def receive(self, topic: str, payload: bytes) -> Iterable[Message]:
        """Act on a message that arrived, and say what is answered."""

    def goodbye(self) -> Iterable[Message]:
        """Say what is published before the end."""
