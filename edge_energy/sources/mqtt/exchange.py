"""What we say to a broker of our own accord: messages, requests and their answers, and the topics that are ours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from edge_energy.config.values import overlapping
from edge_energy.errors import Unavailable, UnreadablePayload

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_energy.sources.mqtt.packets import Message

    class Line(Protocol):
        """The connection, as far as it concerns us."""

        @property
        def connected(self) -> bool:
            """Whether the broker has accepted us, and is still there."""

        def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
            """Queue a message."""


T = TypeVar("T")
STOOD_STILL = 5.0  # seconds for which we did not listen; what arrives after that may be as old


class Letterbox(Protocol):
    """Who takes what others send to our own topics. Nothing that arrives may raise there."""

    filters: list[str]

    def take(self, topic: str, payload: bytes, *, fresh: bool) -> None:
        """Take a message; one that is not fresh was retained, repeated or kept while nobody listened."""


class _Waiter(NamedTuple):
    accept: Callable[[bytes], Any]
    answer: asyncio.Future[Any]


class Exchange:
    """Lives across the connections to one broker."""

    def __init__(self, name: str, appliance: str, client_id: str) -> None:
        self.letterbox: Letterbox | None = None
        self.base = f"edge-energy/{appliance}/"
        """What the topics begin with on which others talk to us, and we to them."""
        self.rpc_source = f"{self.base}{client_id}"
        self.statuses = f"{self.rpc_source}/statuses"
        """Who asks Shelly devices for everything that they know; what they answer are readings."""
        self.backlog_over = False
        self.connections = 0
        self.waiting: dict[str, list[_Waiter]] = {}
        self._name = name
        self._line: Line | None = None
        self._subscribed = False
        self._connected = asyncio.Event()
        self._rpc_answers = f"{self.rpc_source}/rpc"
        self._listened = 0.0

    def topics(self) -> list[str]:
        """Return what is subscribed for us."""
        return [self._rpc_answers, *(self.letterbox.filters if self.letterbox else ())]

    # -- a connection -----------------------------------------------------------------------------------------

    def attach(self, line: Line) -> None:
        """Begin with a connection. What the broker kept comes together with its consent, and is to be answered."""
        self._line = line

    def subscribed(self) -> None:
        """Go on once the subscriptions are granted."""
        self._subscribed = True
        self.connections += 1
        self._connected.set()
        self._connected = asyncio.Event()

    def detach(self) -> None:
        """End with it: who waits for an answer learns that none will come."""
        self._line = None
        self._subscribed = self.backlog_over = False
        for waiter in [waiter for waiters in self.waiting.values() for waiter in waiters]:
            if not waiter.answer.done():
                waiter.answer.set_exception(Unavailable(f"lost the connection to {self._name}"))

    async def wait_connected(self, seen: int) -> int:
        """Wait for a connection, and for another one than that of this number; return its number."""
        while not self._subscribed or self.connections == seen:
            await self._connected.wait()
        return self.connections

    def listening(self, now: float) -> bool:
        """Note that we listen (now: uptime in seconds); tell whether there was no gap since the last time."""
        still, self._listened = now - self._listened > STOOD_STILL, now
        return not still

    # -- to the broker ----------------------------------------------------------------------------------------

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Queue a message; raises `Unavailable` without a connection."""
        if self._line is None or not self._line.connected:
            raise Unavailable(f"not connected to {self._name}")
        self._line.publish(topic, payload, qos=qos, retain=retain)

    async def request(
        self, topic: str, payload: bytes, answers: str, accept: Callable[[bytes], T | None], timeout: float
    ) -> T:
        """Publish, and return what `accept` makes of the first fresh message on `answers` that is not None.

        At QoS 0, for a device that is away must not find what was asked of it hours ago when it is back. `answers`
        must be subscribed anyway; the message takes its usual way as well. `accept` may raise `UnreadablePayload`.
        Raises `Unavailable` without a connection, in the backlog, and when nothing comes within `timeout` seconds.
        """
        if not self._subscribed:
            raise Unavailable(f"not connected to {self._name}")
        if not self.backlog_over:
            raise Unavailable(f"{self._name} still delivers what it kept for us")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(accept, future)
        self.waiting.setdefault(answers, []).append(waiter)
        try:
            self.publish(topic, payload, qos=0)
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise Unavailable(f"no answer on {answers} within {timeout:g} s") from None
        finally:
            self.waiting[answers].remove(waiter)
            if not self.waiting[answers]:
                del self.waiting[answers]
            if future.done() and not future.cancelled():
                future.exception()  # of a caller that was cancelled meanwhile

    # -- from the broker --------------------------------------------------------------------------------------

    def answered(self, message: Message) -> None:
        """Give a message to those who wait for one on its topic."""
        if not self._fresh(message):
            return
        for accept, answer in self.waiting[message.topic]:
            if answer.done():
                continue
            try:
                found = accept(message.payload)
            except UnreadablePayload:
                continue
            except Exception as error:  # noqa: BLE001 - handed to whoever waits
                answer.set_exception(error)
                continue
            if found is not None:
                answer.set_result(found)

    def take(self, message: Message, now: float) -> bool:
        """Take a message on a topic of ours; tell whether that is all there is to do with it."""
        topic = message.topic
        if topic == self._rpc_answers:
            return True
        if self.letterbox is None or not any(overlapping(pattern, topic) for pattern in self.letterbox.filters):
            return False
        fresh = self._fresh(message) and now - self._listened <= STOOD_STILL
        self.letterbox.take(topic, message.payload, fresh=fresh)
        return True

    def _fresh(self, message: Message) -> bool:
        return self.backlog_over and not message.retain and not message.dup
