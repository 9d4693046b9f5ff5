"""Makes the topics and the subscription that are lacking."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from google.api_core.exceptions import AlreadyExists, GoogleAPICallError
from google.pubsub_v1.types import ExpirationPolicy, Subscription, Topic

from edge_energy.pubsub.client import LEASE, publisher, subscriber, subscription_path, topic_path
from edge_energy.pubsub.explain import explain, misled

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from google.pubsub_v1.services.subscriber import SubscriberAsyncClient

    from edge_energy.config import Pubsub

RETENTION = timedelta(minutes=10)
"""So long a command waits for us: the shortest that the service knows; older ones have expired anyway."""


async def create_topics(settings: Pubsub, *, commands: bool) -> list[tuple[str, str]]:
    """Make the topics of all kinds, and the topic and our subscription of commands if wanted.

    Returns what was "created" and what "exists", which is left alone. Raises `Unavailable`, also where our
    subscription is one to another topic.
    """
    async with await publisher(settings) as client:
        found = []
        for name in settings.topics(commands=commands):
            topic = Topic(name=topic_path(settings, name))
            call = client.create_topic(topic, retry=None, timeout=settings.timeout)
            found.append((name, await _made(call, settings)))
    if commands:
        async with await subscriber(settings) as client:
            call = client.create_subscription(_subscription(settings), retry=None, timeout=settings.timeout)
            found.append((settings.send_command_subscription, await _made(call, settings)))
            await _look(client, settings)
    return found


def _subscription(settings: Pubsub) -> Subscription:
    return Subscription(
        name=subscription_path(settings, settings.send_command_subscription),
        topic=topic_path(settings, settings.send_command_topic),
        ack_deadline_seconds=LEASE,
        message_retention_duration=RETENTION,
        expiration_policy=ExpirationPolicy(),  # without a time: never, however long the appliance is off
        enable_message_ordering=False,
    )


async def _look(client: SubscriberAsyncClient, settings: Pubsub) -> None:
    """Find out whether our subscription will hear commands."""
    name = subscription_path(settings, settings.send_command_subscription)
    try:
        found = await client.get_subscription(subscription=name, retry=None, timeout=settings.timeout)
    except GoogleAPICallError as error:
        raise explain(error, settings) from error
    if (problem := misled(found, settings)) is not None:
        raise problem


async def _made(call: Awaitable[Any], settings: Pubsub) -> str:
    try:
        await call
    except AlreadyExists:
        return "exists"
    except GoogleAPICallError as error:
        raise explain(error, settings) from error
    return "created"
