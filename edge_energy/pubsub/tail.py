"""Shows what arrives in the topics, by subscriptions of its own that are gone afterwards."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from google.api_core.exceptions import DeadlineExceeded, GoogleAPICallError, MethodNotImplemented, NotFound
from google.pubsub_v1.types import ExpirationPolicy, SeekRequest, Subscription

from edge_energy.errors import Unavailable
from edge_energy.pubsub.client import publisher, subscriber, subscription_path, topic_path
from edge_energy.pubsub.explain import explain

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
    from google.pubsub_v1.types import PubsubMessage

    from edge_energy.config import Pubsub

log = structlog.get_logger()

MOST = 100
PATIENCE = 30.0
"""Seconds that a request waits for messages at the service."""
LONGEST_KEPT = timedelta(days=31)


async def tail(settings: Pubsub, *, from_beginning: bool) -> AsyncGenerator[dict[str, Any], None]:
    """Yield what is published to the topics of all kinds, without taking it from anybody.

    Of each message `topic`, `offset` (Pub/Sub's id), `key`, `time` (when it was published), `attributes` and `body`.
    `from_beginning` begins with all that the topics keep, which is nothing unless they were told to. Raises
    `Unavailable`. To be closed with `contextlib.aclosing`, which removes the subscriptions; what is left of them in
    spite of that goes after a day.
    """
    topics = settings.topics()
    since = await _kept(settings, topics) if from_beginning else {}
    async with await subscriber(settings) as client, _subscribed(client, settings, topics, since) as subscriptions:
        pulls = {asyncio.create_task(_pull(client, settings, name)): name for name in subscriptions}
        try:
            while True:
                done, _ = await asyncio.wait(pulls, return_when=asyncio.FIRST_COMPLETED)
                for pull in done:
                    name = pulls.pop(pull)
                    for message in pull.result():
                        yield _told(subscriptions[name], message)
                    pulls[asyncio.create_task(_pull(client, settings, name))] = name
        finally:
            for pull in pulls:
                pull.cancel()


async def _kept(settings: Pubsub, topics: list[str]) -> dict[str, datetime]:
    """Return since when the topics keep messages. Raises `Unavailable` where none keeps any."""
    since = {}
    async with await publisher(settings) as client:
        for topic in topics:
            name = topic_path(settings, topic)
            try:
                kept = await client.get_topic(topic=name, retry=None, timeout=settings.timeout)
            except GoogleAPICallError as error:
                raise explain(error, settings, topic=topic) from error
            if retention := kept.message_retention_duration:
                since[topic] = datetime.now(UTC) - min(retention, LONGEST_KEPT)
            else:
                log.warning("this topic keeps nothing, only what is new is shown", topic=topic)
    if not since:
        raise Unavailable(
            f"no topic of project {settings.project!r} keeps what was published, so only what is new can be shown; "
            f"to keep it from now on: gcloud pubsub topics update {topics[0]} --message-retention-duration=7d "
            f"--project {settings.project}"
        )
    return since


@asynccontextmanager
async def _subscribed(
    client: SubscriberAsyncClient, settings: Pubsub, topics: list[str], since: dict[str, datetime]
) -> AsyncIterator[dict[str, str]]:
    """Subscribe to topics, each from its instant or from now on; gives the subscriptions and their topics."""
    tag = secrets.token_hex(4)
    subscriptions: dict[str, str] = {}
    try:
        for topic in topics:
            name = subscription_path(settings, f"edge-energy-tail-{tag}-{len(subscriptions)}")
            subscriptions[name] = topic  # first: there may be one also where no answer says so
            await _subscribe(client, settings, name, topic)
            if topic in since:
                await _seek(client, settings, name, since[topic])
        yield subscriptions
    finally:
        for name in subscriptions:
            with suppress(GoogleAPICallError):
                await client.delete_subscription(subscription=name, retry=None, timeout=settings.timeout)


async def _subscribe(client: SubscriberAsyncClient, settings: Pubsub, name: str, topic: str) -> None:
    wanted = Subscription(
        name=name,
        topic=topic_path(settings, topic),
        enable_message_ordering=True,
        message_retention_duration=timedelta(minutes=10),
        expiration_policy=ExpirationPolicy(ttl=timedelta(days=1)),
    )
    try:
        await client.create_subscription(wanted, retry=None, timeout=settings.timeout)
    except NotFound as error:
        raise explain(error, settings, topic=topic) from error
    except GoogleAPICallError as error:
        raise explain(error, settings) from error


async def _seek(client: SubscriberAsyncClient, settings: Pubsub, name: str, time: datetime) -> None:
    try:
        await client.seek(SeekRequest(subscription=name, time=time), retry=None, timeout=settings.timeout)
    except MethodNotImplemented:
        pass  # the emulator: its subscriptions begin with what the topic keeps
    except GoogleAPICallError as error:
        raise explain(error, settings) from error


async def _pull(client: SubscriberAsyncClient, settings: Pubsub, name: str) -> list[PubsubMessage]:
    """Take the next messages of a subscription, none where none came for a while."""
    request = {"subscription": name, "max_messages": MOST}
    try:
        found = (await client.pull(request, retry=None, timeout=PATIENCE)).received_messages
        if found:
            receipts = {"subscription": name, "ack_ids": [each.ack_id for each in found]}
            await client.acknowledge(receipts, retry=None, timeout=settings.timeout)
    except DeadlineExceeded:
        return []
    except GoogleAPICallError as error:
        raise explain(error, settings) from error
    return [each.message for each in found]


def _told(topic: str, message: PubsubMessage) -> dict[str, Any]:
    try:
        body = orjson.loads(message.data)
    except orjson.JSONDecodeError:
        body = message.data.decode(errors="replace")
    return {
        "topic": topic,
        "offset": message.message_id,
        "key": message.ordering_key,
        "time": message.publish_time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "attributes": dict(message.attributes),
        "body": body,
    }
