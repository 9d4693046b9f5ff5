"""What is Pub/Sub's alone of commands from the cloud: subscriptions that hear nothing, and how often it is asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from google.pubsub_v1.services.subscriber import SubscriberAsyncClient

from edge_energy.cloud import pubsub as module
from edge_energy.cloud.pubsub import PubsubCommands
from edge_energy.config import Pubsub as Settings
from edge_energy.errors import Unavailable
from edge_energy.pubsub.client import LEASE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.pubsub import Pubsub

OURS = "send_command-house-1"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST", 0.1)
    monkeypatch.setattr(module, "PATIENCE", 0.5)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[dict[str, Any]]]:
    """Return a function that returns what the service is asked by a method from now on."""

    def listen(name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        method = getattr(SubscriberAsyncClient, name)

        async def ask(self: SubscriberAsyncClient, **more: Any) -> Any:
            found.append(more)
            return await method(self, **more)

        monkeypatch.setattr(SubscriberAsyncClient, name, ask)
        return found

    return listen


def source(pubsub: Pubsub) -> PubsubCommands:
    return PubsubCommands(Settings(project=pubsub.project, send_command_subscription=OURS, timeout=5.0))


async def test_a_subscription_to_another_topic_is_told_with_what_mends_it(pubsub: Pubsub) -> None:
    """It would take what is somebody else's, and hear no command."""
    pubsub.create_subscription(OURS, "commands")
    with pytest.raises(Unavailable, match=rf"one to projects/{pubsub.project}/topics/commands.*delete {OURS}"):
        async with source(pubsub):
            ...
    assert OURS in pubsub.subscriptions()


async def test_a_topic_that_is_made_anew_is_not_taken_for_the_same(pubsub: Pubsub) -> None:
    """The subscription stays with the one that was deleted, and is silent; also where that happens while we wait."""
    pubsub.create_subscription(OURS, "send_command")
    async with source(pubsub) as commands:
        await asyncio.to_thread(pubsub.delete_topic, "send_command")
        await asyncio.to_thread(pubsub.create_topic, "send_command")
        with pytest.raises(Unavailable, match=rf"deleted.*subscriptions delete {OURS}.*create-topics"):
            async with asyncio.timeout(10):
                await commands.receive()


@pytest.mark.parametrize("seconds", [LEASE - 1, LEASE, LEASE + 1])
async def test_letters_are_ours_for_long_enough(
    pubsub: Pubsub, asked: Callable[[str], list[dict[str, Any]]], seconds: int
) -> None:
    """Nothing is asked for where the subscription gives that by itself."""
    pubsub.create_subscription(OURS, "send_command", ordered=False, ack_deadline=seconds)
    leases = asked("modify_ack_deadline")
    async with source(pubsub) as commands:
        await asyncio.to_thread(pubsub.publish, "send_command", b"{}")
        async with asyncio.timeout(10):
            letter = await commands.receive()
        assert [lease["ack_deadline_seconds"] for lease in leases] == [LEASE] * (seconds < LEASE)
        await commands.acknowledge([letter])


async def test_many_letters_are_acknowledged_by_one_request(
    pubsub: Pubsub, asked: Callable[[str], list[dict[str, Any]]]
) -> None:
    pubsub.create_subscription(OURS, "send_command", ordered=False)
    for number in range(5):
        pubsub.publish("send_command", b"%d" % number)
    acknowledgements = asked("acknowledge")
    async with source(pubsub) as commands:
        async with asyncio.timeout(10):
            letters = [await commands.receive() for _ in range(5)]
        await commands.acknowledge(letters)
    assert [len(each["ack_ids"]) for each in acknowledgements] == [5]
    assert pubsub.pull(OURS) == []
