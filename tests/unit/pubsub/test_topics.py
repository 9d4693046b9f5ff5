"""What is lacking is made, what is there is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edge_energy.config import Pubsub as Settings
from edge_energy.errors import Unavailable
from edge_energy.pubsub.client import subscriber, subscription_path
from edge_energy.pubsub.topics import create_topics
from tests.servers.base import HOST, free_port

if TYPE_CHECKING:
    from tests.servers.pubsub import Pubsub


def settings(project: str, **more: Any) -> Settings:
    return Settings.model_validate({"project": project, "timeout": "5s"} | more)


async def test_topics_of_all_kinds_are_made_once(pubsub: Pubsub) -> None:
    project = pubsub.fresh_project(topics=False)
    names = ["shelly_data", "commands", "incidents", "appliance"]
    assert await create_topics(settings(project), commands=False) == [(name, "created") for name in names]
    assert await create_topics(settings(project), commands=False) == [(name, "exists") for name in names]
    pubsub.publish("shelly_data", b"{}")


async def test_commands_have_a_topic_and_a_subscription_of_this_appliance(pubsub: Pubsub) -> None:
    """A command is kept as long as it can be carried out, the subscription for ever."""
    found = settings(pubsub.fresh_project(topics=False), send_command_subscription="send_command-house-1")
    made = await create_topics(found, commands=True)
    assert made[-2:] == [("send_command", "created"), ("send_command-house-1", "created")]
    assert (await create_topics(found, commands=True))[-1] == ("send_command-house-1", "exists")
    name = subscription_path(found, "send_command-house-1")
    async with await subscriber(found) as client:
        kept = await client.get_subscription(subscription=name, retry=None, timeout=5)
    assert kept.topic == f"projects/{found.project}/topics/send_command"
    assert (kept.message_retention_duration.total_seconds(), kept.ack_deadline_seconds) == (600, 60)
    assert (bool(kept.expiration_policy.ttl), kept.enable_message_ordering) == (False, False)


async def test_kinds_may_share_a_topic(pubsub: Pubsub) -> None:
    """It is made once."""
    found = settings(pubsub.fresh_project(topics=False), incidents_topic="all", appliance_topic="all")
    assert [name for name, _ in await create_topics(found, commands=False)] == ["shelly_data", "commands", "all"]


async def test_a_far_side_that_is_away_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"{HOST}:{free_port()}")
    with pytest.raises(Unavailable, match="cannot reach"):
        await create_topics(settings("my-project-1"), commands=True)


async def test_a_subscription_that_hears_nothing_is_told_with_what_mends_it(pubsub: Pubsub) -> None:
    """That of a topic that was deleted: a new topic of this name is another one."""
    found = settings(pubsub.fresh_project(topics=False), send_command_subscription="send_command-house-1")
    await create_topics(found, commands=True)
    pubsub.delete_topic("send_command")
    with pytest.raises(Unavailable, match=r"deleted.*subscriptions delete send_command-house-1"):
        await create_topics(found, commands=True)
    pubsub.publish("send_command", b"{}")  # the topic was made all the same
