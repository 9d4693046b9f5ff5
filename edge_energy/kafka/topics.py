"""Makes the topics that are missing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from edge_energy.kafka.client import Trouble, configuration, explain, explained, known_topics

if TYPE_CHECKING:
    from concurrent.futures import Future

    from edge_energy.config import Kafka


async def create_topics(
    settings: Kafka, *, partitions: int, replication: int, commands: bool
) -> list[tuple[str, str]]:
    """Make what does not exist yet: readings with so many partitions, everything else with one.

    Returns each topic with "created" or "exists"; those that exist stay as they are. `commands` adds the topic
    from which commands are taken. Raises `Unavailable`.
    """
    wanted = dict.fromkeys(settings.topics(commands=commands), 1) | {settings.readings_topic: partitions}
    trouble = Trouble()
    with explained(settings):
        admin = AdminClient(configuration(settings, "edge-energy-create-topics") | {"error_cb": trouble})
    known = await known_topics(admin, settings, trouble)
    missing = [NewTopic(name, count, replication) for name, count in wanted.items() if name not in known]
    made = admin.create_topics(missing, request_timeout=settings.timeout) if missing else {}
    return [(name, await _outcome(made[name], settings, name) if name in made else "exists") for name in wanted]


async def _outcome(made: Future[None], settings: Kafka, name: str) -> str:
    try:
        await asyncio.wrap_future(made)
    except KafkaException as error:
        reason: KafkaError = error.args[0]
        if reason.name() == "TOPIC_ALREADY_EXISTS":  # somebody else was quicker
            return "exists"
        raise explain(reason, settings, name) from None
    return "created"
