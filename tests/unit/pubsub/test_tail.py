"""What has arrived is shown as it is, taken from nobody, and nothing is left behind."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core.exceptions import DeadlineExceeded
from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
from google.pubsub_v1.types import Topic

from edge_energy.config import Pubsub as Settings
from edge_energy.errors import Unavailable
from edge_energy.interfaces import COMMAND
from edge_energy.messages import Messages
from edge_energy.pubsub.client import publisher, topic_path
from edge_energy.pubsub.tail import tail
from edge_energy.sinks.pubsub import PubsubSink
from tests.servers.base import HOST, free_port, wait_until
from tests.unit.samples import entry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edge_energy.interfaces import Entry
    from tests.servers.pubsub import Pubsub


def settings(project: str) -> Settings:
    return Settings.model_validate({"project": project, "timeout": "5s"})


async def write(found: Settings, *entries: Entry) -> None:
    async with PubsubSink(found, Messages("house-1", "j")) as sink:
        await sink.write(entries)


async def take(messages: AsyncIterator[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(10):
        return [await anext(messages) for _ in range(count)]


async def subscribed(pubsub: Pubsub, count: int) -> list[str]:
    """Return the subscriptions once there are so many."""
    await asyncio.to_thread(wait_until, lambda: len(pubsub.subscriptions()) == count)
    return pubsub.subscriptions()


async def test_what_arrives_is_shown(pubsub: Pubsub) -> None:
    """With its envelope, whatever it is; everybody else gets it too."""
    found, before = settings(pubsub.project), pubsub.subscriptions()
    async with aclosing(tail(found, from_beginning=False)) as messages:
        first = asyncio.ensure_future(take(messages, 1))
        await subscribed(pubsub, len(before) + 4)
        await write(found, entry(1))
        (message,) = await first
        pubsub.publish("commands", b"\xffno json")
        (foreign,) = await take(messages, 1)
    assert (message["topic"], message["key"], message["attributes"]["ce_id"]) == ("shelly_data", "plug", "j/1")
    assert (message["body"]["power"], message["time"][-1]) == (1.0, "Z")
    assert (foreign["topic"], foreign["body"]) == ("commands", "\N{REPLACEMENT CHARACTER}no json")
    assert len(pubsub.pull("shelly_data")) == 1
    assert await subscribed(pubsub, len(before)) == before


async def test_a_tail_that_is_cancelled_leaves_nothing_behind(pubsub: Pubsub) -> None:
    before = pubsub.subscriptions()
    reading = asyncio.create_task(take(tail(settings(pubsub.project), from_beginning=False), 1))
    await subscribed(pubsub, len(before) + 4)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert pubsub.subscriptions() == before


async def test_a_subscription_whose_making_nobody_confirmed_is_not_left_behind(
    pubsub: Pubsub, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = SubscriberAsyncClient.create_subscription

    async def lose_the_answer(*asked: Any, **more: Any) -> None:
        await create(*asked, **more)
        raise DeadlineExceeded("too late")

    monkeypatch.setattr(SubscriberAsyncClient, "create_subscription", lose_the_answer)
    before = pubsub.subscriptions()
    with pytest.raises(Unavailable, match="did not answer"):
        await take(tail(settings(pubsub.project), from_beginning=False), 1)
    assert pubsub.subscriptions() == before


async def test_from_the_beginning_shows_what_a_topic_keeps(pubsub: Pubsub) -> None:
    """In the order of each device; a topic that keeps nothing does not keep the others from being shown."""
    found = settings(pubsub.fresh_project(topics=False))
    for topic in ("commands", "incidents", "appliance"):
        pubsub.create_topic(topic)
    async with await publisher(found) as client:
        kept = Topic(name=topic_path(found, "shelly_data"), message_retention_duration=timedelta(days=1))
        await client.create_topic(kept, retry=None, timeout=5)
    await write(found, *(entry(n) for n in range(1, 151)), entry(200, kind=COMMAND, body={"event": "intent"}))
    async with aclosing(tail(found, from_beginning=True)) as messages:
        shown = await take(messages, 150)
    assert [message["body"]["power"] for message in shown] == [float(n) for n in range(1, 151)]


async def test_where_nothing_is_kept_that_is_said(pubsub: Pubsub) -> None:
    """With what would change it."""
    messages = tail(settings(pubsub.project), from_beginning=True)
    with pytest.raises(Unavailable, match="gcloud pubsub topics update shelly_data --message-retention-duration=7d"):
        await take(messages, 1)


async def test_a_topic_that_is_lacking_is_named(pubsub: Pubsub) -> None:
    pubsub.delete_topic("incidents")
    for from_beginning in (False, True):
        with pytest.raises(Unavailable, match="gcloud pubsub topics create incidents"):
            await take(tail(settings(pubsub.project), from_beginning=from_beginning), 1)


async def test_a_far_side_that_is_away_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"{HOST}:{free_port()}")
    with pytest.raises(Unavailable, match="cannot reach"):
        await take(tail(settings("my-project-1"), from_beginning=False), 1)
