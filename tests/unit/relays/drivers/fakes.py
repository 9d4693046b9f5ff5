"""Devices in memory, by every way that drivers use."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from edge_energy.errors import Unavailable, UnreadablePayload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_energy.relays.drivers.shelly_gen1 import Pages
    from edge_energy.relays.drivers.shelly_gen2 import Calls
    from edge_energy.relays.drivers.way import Broker

T = TypeVar("T")
DEVICE = "shelly-ec62608ab9a4"
OWN_ID = "shellypro1pm-ec62608ab9a4"
PLUG = "zigbee-0x00158d0001020304"
Message = tuple[str, bytes]


class FakeCalls:
    """A connection; `answers` has results, or what is raised, by method."""

    def __init__(self, peer: str = "192.168.1.5", **answers: Any) -> None:
        self.peer = peer
        self.answers: dict[str, Any] = {"Set": {"was_on": False}, "GetStatus": {"id": 0, "output": True}} | answers
        self.asked: list[tuple[str, dict[str, Any] | None]] = []

    async def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Answer."""
        self.asked.append((method, params))
        answer = self.answers[method.removeprefix("Switch.")]
        if isinstance(answer, BaseException):
            raise answer
        return answer


class FakePages:
    """A device of the first generation."""

    def __init__(self, **page: Any) -> None:
        self.peer = "192.168.1.6"
        self.page: dict[str, Any] = {"ison": False, "has_timer": False, "overpower": False} | page
        self.asked: list[tuple[str, Mapping[str, str] | None]] = []

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Answer."""
        self.asked.append((path, query))
        return self.page


class FakeBroker:
    """A broker at whose other end the test is: `react` returns the messages that something published brings about."""

    rpc_source = "edge-energy/house-1/edge-energy-house-1"
    zigbee_base = "zigbee2mqtt"

    def __init__(self, react: Callable[[str, Any], list[Message]] = lambda _topic, _payload: []) -> None:
        self.react = react
        self.connected = True
        self.zigbee_online: bool | None = True
        self.names = {PLUG: "boiler"}
        self.prefixes = {DEVICE: OWN_ID}
        self.published: list[tuple[str, Any]] = []
        self.waiting: list[tuple[str, Callable[[bytes], Any], asyncio.Future[Any]]] = []

    def zigbee_name(self, device: str) -> str | None:
        """Return a name."""
        return self.names.get(device)

    def shelly_prefix(self, device: str) -> str | None:
        """Return a prefix."""
        return self.prefixes.get(device)

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Let the other end react."""
        assert qos == 0, "a device that is away must not find a command when it is back"
        assert not retain, "and never again"
        if not self.connected:
            raise Unavailable("not connected to mqtt 127.0.0.1:1883")
        text: Any = payload.decode()
        text = orjson.loads(payload) if text.startswith("{") else text
        self.published.append((topic, text))
        for message in self.react(topic, text):
            self.say(*message)

    def say(self, topic: str, payload: bytes) -> None:
        """Publish as somebody else."""
        for answers, accept, future in self.waiting:
            if answers == topic and not future.done():
                try:
                    found = accept(payload)
                except UnreadablePayload:
                    continue
                if found is not None:
                    future.set_result(found)

    async def request(
        self, topic: str, payload: bytes, answers: str, accept: Callable[[bytes], T | None], timeout: float
    ) -> T:
        """Publish, and wait."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        waiter = (answers, accept, future)
        self.waiting.append(waiter)
        try:
            self.publish(topic, payload, qos=0)
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise Unavailable(f"no answer on {answers} within {timeout:g} s") from None
        finally:
            self.waiting.remove(waiter)


def _conform(calls: FakeCalls, pages: FakePages, broker: FakeBroker) -> tuple[Calls, Pages, Broker]:
    return calls, pages, broker  # checked by mypy
