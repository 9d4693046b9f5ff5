"""Requests find their answers, only fresh ones count, and nobody waits longer than he said."""

from __future__ import annotations

import asyncio

import pytest

from edge_energy.errors import Unavailable, UnreadablePayload
from edge_energy.sources.mqtt.exchange import STOOD_STILL, Exchange
from edge_energy.sources.mqtt.packets import Message
from tests.unit.sources.mqtt.recorder import turns

SOON = 5.0
ANSWERS = "edge-energy/house/client/rpc"


class Wire:
    """A connection that notes what is published."""

    def __init__(self) -> None:
        self.connected = True
        self.published: list[tuple[str, bytes, int, bool]] = []

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Note it."""
        self.published.append((topic, payload, qos, retain))


class Box:
    """A letterbox that keeps what it gets."""

    def __init__(self) -> None:
        self.filters = ["edge-energy/house/relay/+/set"]
        self.taken: list[tuple[str, bytes, bool]] = []

    def take(self, topic: str, payload: bytes, *, fresh: bool) -> None:
        """Keep it."""
        self.taken.append((topic, payload, fresh))


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
async def exchange(wire: Wire) -> Exchange:
    """Give an exchange with a connection whose backlog is over."""
    exchange = Exchange("mqtt broker:1883", "house", "client")
    exchange.attach(wire)
    exchange.subscribed()
    exchange.backlog_over = True
    exchange.listening(100.0)
    return exchange


def message(payload: bytes, topic: str = ANSWERS, *, dup: bool = False, retain: bool = False) -> Message:
    return Message(topic, payload, 1, 1, dup, retain)


def is_a(payload: bytes) -> str | None:
    if payload == b"garbage":
        raise UnreadablePayload("garbage")
    return "a" if payload == b"a" else None


def deliver(exchange: Exchange, received: Message) -> None:
    """Do as the source does for each message."""
    if received.topic in exchange.waiting:
        exchange.answered(received)


async def test_a_request_gets_the_first_answer_that_is_accepted(exchange: Exchange, wire: Wire) -> None:
    asking = asyncio.create_task(exchange.request("x/rpc", b"ask", ANSWERS, is_a, SOON))
    await turns()
    assert wire.published == [("x/rpc", b"ask", 0, False)]  # nobody is to be asked that when it is back
    for payload in (b"b", b"garbage", b"a", b"a"):
        deliver(exchange, message(payload))
    assert await asking == "a"
    assert not exchange.waiting


async def test_several_requests_wait_on_one_topic(exchange: Exchange) -> None:
    def ask(own: bytes) -> asyncio.Task[bytes]:
        accept = {own: own}.get
        return asyncio.create_task(exchange.request("x/rpc", b"", ANSWERS, accept, SOON))

    asked = [ask(own) for own in (b"1", b"2", b"3")]
    await turns()
    for payload in (b"3", b"1", b"2"):
        deliver(exchange, message(payload))
    assert await asyncio.gather(*asked) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("old", [message(b"a", dup=True), message(b"a", retain=True)])
async def test_old_messages_answer_nothing(exchange: Exchange, old: Message) -> None:
    """What was retained or is repeated was said before we asked."""
    asking = asyncio.create_task(exchange.request("x/rpc", b"", ANSWERS, is_a, SOON))
    await turns()
    deliver(exchange, old)
    await turns()
    assert not asking.done()
    deliver(exchange, message(b"a"))
    assert await asking == "a"


async def test_in_the_backlog_nothing_is_asked(exchange: Exchange, wire: Wire) -> None:
    exchange.backlog_over = False
    with pytest.raises(Unavailable, match="kept for us"):
        await exchange.request("x/rpc", b"", ANSWERS, is_a, SOON)
    assert not wire.published


async def test_no_answer_is_unavailable(exchange: Exchange) -> None:
    with pytest.raises(Unavailable, match=r"no answer on edge-energy/house/client/rpc within 0\.01 s"):
        await exchange.request("x/rpc", b"", ANSWERS, is_a, 0.01)
    assert not exchange.waiting


async def test_a_lost_connection_ends_the_waiting(exchange: Exchange) -> None:
    asking = asyncio.create_task(exchange.request("x/rpc", b"", ANSWERS, is_a, SOON))
    await turns()
    exchange.detach()
    with pytest.raises(Unavailable, match="lost the connection"):
        await asking
    with pytest.raises(Unavailable, match="not connected"):
        exchange.publish("x", b"")
    with pytest.raises(Unavailable, match="not connected"):
        await exchange.request("x/rpc", b"", ANSWERS, is_a, SOON)
    assert not exchange.waiting


async def test_who_gives_up_leaves_nothing_behind(exchange: Exchange) -> None:
    asking = asyncio.create_task(exchange.request("x/rpc", b"", ANSWERS, is_a, SOON))
    await turns()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not exchange.waiting


async def test_a_defect_in_reading_an_answer_is_its_reader_s(exchange: Exchange) -> None:
    """It must not end the connection, on which everything else arrives."""

    def defect(_: bytes) -> str | None:
        raise ZeroDivisionError

    asking = asyncio.create_task(exchange.request("x/rpc", b"", ANSWERS, defect, SOON))
    await turns()
    deliver(exchange, message(b"a"))
    with pytest.raises(ZeroDivisionError):
        await asking


async def test_a_lost_line_cannot_be_published_on(exchange: Exchange, wire: Wire) -> None:
    wire.connected = False
    with pytest.raises(Unavailable, match="not connected"):
        exchange.publish("x", b"")


async def test_each_connection_is_told_of(exchange: Exchange) -> None:
    assert await exchange.wait_connected(0) == 1
    waiting = asyncio.create_task(exchange.wait_connected(1))
    await turns()
    assert not waiting.done()
    exchange.detach()
    exchange.attach(Wire())
    await turns()
    assert not waiting.done()
    exchange.subscribed()
    assert await waiting == 2


async def test_what_comes_before_the_subscriptions_is_answered(exchange: Exchange) -> None:
    """The broker delivers what it kept as soon as it knows who we are; only requests have to wait."""
    exchange.detach()
    wire = Wire()
    exchange.attach(wire)
    exchange.publish("result", b"refused")
    assert wire.published == [("result", b"refused", 1, False)]
    with pytest.raises(Unavailable, match="not connected"):
        await exchange.request("x/rpc", b"", ANSWERS, is_a, SOON)


async def test_the_letterbox_gets_what_its_filters_catch(exchange: Exchange) -> None:
    assert exchange.topics() == [ANSWERS]
    assert exchange.take(message(b"", ANSWERS), 100.0)
    assert not exchange.take(message(b"ON", "edge-energy/house/relay/plug/set"), 100.0)
    box = exchange.letterbox = Box()
    assert exchange.topics() == [ANSWERS, *box.filters]
    assert exchange.take(message(b"ON", "edge-energy/house/relay/plug/set"), 100.0)
    assert not exchange.take(message(b"ON", "edge-energy/house/relay/plug/state"), 100.0)
    assert box.taken == [("edge-energy/house/relay/plug/set", b"ON", True)]


@pytest.mark.parametrize("how", ["dup", "retain", "backlog", "stall"])
async def test_what_is_not_fresh_is_said_to_be_so(exchange: Exchange, how: str) -> None:
    box = exchange.letterbox = Box()
    exchange.backlog_over = how != "backlog"
    now = 100.0 + (STOOD_STILL + 1 if how == "stall" else 0)
    letter = message(b"ON", "edge-energy/house/relay/plug/set", dup=how == "dup", retain=how == "retain")
    assert exchange.take(letter, now)
    assert box.taken == [("edge-energy/house/relay/plug/set", b"ON", False)]


def test_a_gap_in_listening_is_noticed() -> None:
    exchange = Exchange("broker", "house", "client")
    assert not exchange.listening(100.0)
    assert exchange.listening(100.0 + STOOD_STILL)
    assert not exchange.listening(101.0 + 2 * STOOD_STILL)
    assert exchange.listening(102.0 + 2 * STOOD_STILL)
