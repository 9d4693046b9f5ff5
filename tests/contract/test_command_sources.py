"""What `cloud.letter.CommandSource` promises, held by every source against its real broker."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import orjson
import pytest

from edge_energy.cloud import pubsub
from edge_energy.cloud.kafka import KafkaCommands
from edge_energy.cloud.pubsub import PubsubCommands
from edge_energy.config import Kafka as KafkaSettings
from edge_energy.config import Pubsub as PubsubSettings
from edge_energy.errors import Unavailable
from edge_energy.relays.command import ID
from tests.servers import kcat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edge_energy.cloud.letter import CommandSource, Letter
    from tests.servers.kafka import Kafka
    from tests.servers.process import Server
    from tests.servers.pubsub import Pubsub

SOON = 20.0
QUIET = 2.0  # seconds in which what should not come does not


class FarSide(Protocol):
    """One kind of broker, as the suite needs it."""

    permanent: bool
    """Whether it still has its topics after a kill."""

    @property
    def server(self) -> Server:
        """The broker."""
        ...

    def source(self, **settings: Any) -> CommandSource:
        """Return a source; two of them are the same appliance."""
        ...

    def publish(self, payload: bytes) -> None:
        """Publish a command."""
        ...


class KafkaFarSide:
    """A topic with three partitions."""

    permanent = True

    def __init__(self, server: Kafka) -> None:
        self.server = server
        server.fresh_topics(partitions=3)

    def source(self, **settings: Any) -> CommandSource:
        """See `FarSide`."""
        topics = self.server.topics
        group = f"group-of-{topics['send_command_topic']}"
        known = {"brokers": self.server.brokers, "timeout": SOON, "group": group, **topics}
        return KafkaCommands(KafkaSettings(**known | settings), f"edge-energy-{topics['send_command_topic']}")

    def publish(self, payload: bytes) -> None:
        """See `FarSide`."""
        kcat.write(self.server, self.server.topics["send_command_topic"], payload)


class PubsubFarSide:
    """A subscription whose messages come again after ten seconds."""

    permanent = False

    def __init__(self, server: Pubsub) -> None:
        self.server = server
        server.create_subscription("send_command-house-1", "send_command", ordered=False)

    def source(self, **settings: Any) -> CommandSource:
        """See `FarSide`."""
        known = {"project": self.server.project, "send_command_subscription": "send_command-house-1", "timeout": SOON}
        return PubsubCommands(PubsubSettings(**known | settings))

    def publish(self, payload: bytes) -> None:
        """See `FarSide`."""
        self.server.publish("send_command", payload)


@pytest.fixture(params=["kafka", "pubsub"])
def far(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FarSide:
    monkeypatch.setattr(pubsub, "GIVING_BACK", 10.0)  # what is not given back comes too late for these tests
    server = request.getfixturevalue(request.param)
    return KafkaFarSide(server) if request.param == "kafka" else PubsubFarSide(server)


async def received(source: CommandSource, count: int = 1) -> list[Letter]:
    """Wait for so many letters."""
    async with asyncio.timeout(SOON):
        return [await source.receive() for _ in range(count)]


async def silent(source: CommandSource) -> bool:
    """Tell whether nothing comes."""
    try:
        async with asyncio.timeout(QUIET):
            await source.receive()
    except TimeoutError:
        return True
    return False


@asynccontextmanager
async def opened(far: FarSide, **settings: Any) -> AsyncIterator[CommandSource]:
    """Open a source within its time."""
    async with asyncio.timeout(60), far.source(**settings) as source:
        yield source


def publish(far: FarSide, count: int) -> set[bytes]:
    """Publish so many different commands."""
    payloads = {orjson.dumps({"device_id": "shelly-1", "switch": True, "n": number}) for number in range(count)}
    for payload in payloads:
        far.publish(payload)
    return payloads


async def test_what_is_published_comes_once_with_its_time(far: FarSide) -> None:
    """From the first connect on; acknowledged, it never comes again."""
    began = time.time()
    async with opened(far) as source:
        sent = await asyncio.to_thread(publish, far, 5)
        letters = await received(source, 5)
        assert {letter.payload for letter in letters} == sent
        assert len({letter.id for letter in letters}) == 5
        for letter in letters:
            assert ID.fullmatch(letter.id)
            assert letter.published_at is not None
            assert began - 1 < letter.published_at < time.time() + 1
        await source.acknowledge(letters)
        assert await silent(source)
    async with opened(far) as source:
        assert await silent(source)


async def test_only_what_is_acknowledged_does_not_come_again(far: FarSide) -> None:
    """Many at once, as they came, by one request."""
    async with opened(far) as source:
        await asyncio.to_thread(publish, far, 6)
        letters = await received(source, 6)
        await source.acknowledge(letters[:4])
    async with opened(far) as source:
        assert {letter.id for letter in await received(source, 2)} == {letter.id for letter in letters[4:]}
        await source.acknowledge(letters[4:])


async def test_a_letter_comes_soon(far: FarSide) -> None:
    """Though nothing is asked twice a second. The first may wait for what Kafka was asked before it came."""
    async with opened(far) as source:
        for allowed in (6.0, 2.0, 2.0):
            await asyncio.to_thread(publish, far, 1)
            before = time.monotonic()  # kcat starts and ends before
            (letter,) = await received(source)
            assert time.monotonic() - before < allowed
            await source.acknowledge([letter])


async def test_what_is_not_acknowledged_comes_again_under_its_id(far: FarSide) -> None:
    """From the very first letter on: a crash may come before anything was ever acknowledged."""
    async with opened(far) as source:
        await asyncio.to_thread(publish, far, 1)
        (letter,) = await received(source)
    async with opened(far) as source:
        (again,) = await received(source)
        assert (again.id, again.payload, again.published_at) == (letter.id, letter.payload, letter.published_at)
        await source.acknowledge([again])


async def test_what_was_sent_while_nobody_listened_comes_later(far: FarSide) -> None:
    async with opened(far):
        pass
    sent = await asyncio.to_thread(publish, far, 3)
    async with opened(far) as source:
        assert {letter.payload for letter in await received(source, 3)} == sent


async def test_waiting_can_be_cancelled_soon(far: FarSide) -> None:
    """A stop of the daemon waits for nothing; and what was on its way comes again."""
    async with opened(far) as source:
        receiving = asyncio.create_task(source.receive())
        await asyncio.sleep(0.5)
        began = time.monotonic()
        receiving.cancel()
        await asyncio.wait([receiving])
    assert time.monotonic() - began < 2.0
    sent = await asyncio.to_thread(publish, far, 3)
    async with opened(far) as source:
        assert {letter.payload for letter in await received(source, 3)} == sent


async def test_a_broker_that_is_away_is_unavailable(far: FarSide) -> None:
    """At the start, and while one waits; with words that say where."""
    async with opened(far, timeout=10) as source:
        receiving = asyncio.create_task(source.receive())
        await asyncio.sleep(0.2)
        far.server.kill()
        async with asyncio.timeout(SOON):
            with pytest.raises(Unavailable, match=r"cannot reach 127\.0\.0\.1"):
                await receiving
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        async with opened(far, timeout=3):
            ...
    far.server.start()
    if far.permanent:
        async with opened(far) as source:
            await asyncio.to_thread(publish, far, 1)
            await received(source)


async def test_a_topic_that_is_missing_is_told_with_what_makes_it(far: FarSide) -> None:
    wrong = {"send_command_topic": "nobody-made-this", "send_command_subscription": "nobody-made-this"}
    key = "send_command_topic" if isinstance(far, KafkaFarSide) else "send_command_subscription"
    with pytest.raises(Unavailable, match=r"nobody-made-this.*edge-energy forward create-topics"):
        async with opened(far, **{key: wrong[key]}) as source:
            await received(source)
