"""Checks of Kafka and Pub/Sub: reached with the daemon's login, and with the topics that are needed."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from edge_energy.doctor.case import UNKNOWN
from edge_energy.doctor.finding import Check, Finding, failure, not_permitted, ok
from edge_energy.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_energy.config import Kafka, Pubsub
    from edge_energy.doctor.case import Case

PATIENCE = 8.0
"""Seconds for an answer: shorter than the daemon's own, which waits until an outage has passed."""
_MARGIN = 4.0
_CREATE = "edge-energy forward create-topics"


def checks(case: Case) -> Iterator[Check]:
    """Yield what concerns the far sides that are configured."""
    if case.settings is None:
        return
    commands = case.settings.cloud.allow_commands or case.settings.cloud.publish_commands
    if (kafka := case.settings.kafka) is not None:
        look = partial(kafka_topics, case, _hurried(kafka), commands=commands)
        yield Check("Kafka", look, PATIENCE + _MARGIN)
    if (pubsub := case.settings.pubsub) is not None:
        look = partial(pubsub_topics, case, pubsub, commands=commands)
        yield Check("Pub/Sub", look, PATIENCE + _MARGIN)


def _hurried(settings: Kafka) -> Kafka:
    return settings.model_copy(update={"timeout": min(settings.timeout, PATIENCE)})


def kafka_topics(case: Case, settings: Kafka, *, commands: bool) -> Finding:
    """Ask the cluster which topics it has."""
    if not case.secrets and settings.password is not None and settings.password.get_secret_value() == UNKNOWN:
        return not_permitted("the password may not be read")
    try:
        known = asyncio.run(_known_topics(settings))
    except Unavailable as error:
        return failure("cannot be used", str(error), "correct [kafka], then sudo systemctl restart edge-energy")
    return _topics([topic for topic in settings.topics(commands=commands) if topic not in known], settings.brokers)


def _topics(lacking: list[str], place: str) -> Finding:
    if lacking:
        return failure(f"{place} answers", f"it has no topic {', '.join(lacking)}", _CREATE)
    return ok(f"{place} answers, and has all topics")


async def _known_topics(settings: Kafka) -> dict[str, list[int]]:
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - of an extra

    from edge_energy.kafka.client import Trouble, configuration, explained, known_topics  # noqa: PLC0415

    trouble = Trouble()
    with explained(settings):
        admin = AdminClient(configuration(settings, "edge-energy-doctor") | {"error_cb": trouble})
    return await known_topics(admin, settings, trouble)


def pubsub_topics(case: Case, settings: Pubsub, *, commands: bool) -> Finding:
    """Ask the service for each topic."""
    if not case.secrets and settings.credentials is None and settings.credentials_file is None:
        return not_permitted("the credentials may not be read")
    from edge_energy.pubsub.client import address  # noqa: PLC0415 - of an extra

    try:
        lacking = asyncio.run(_lacking(settings, settings.topics(commands=commands)))
    except Unavailable as error:
        return failure("cannot be used", str(error), "correct [pubsub], then sudo systemctl restart edge-energy")
    if lacking is None:
        return ok(f"{address()} answers and knows us; looking at topics is not among our rights, and need not be")
    return _topics(lacking, address())


async def _lacking(settings: Pubsub, topics: list[str]) -> list[str] | None:
    """Return the topics that do not exist; None where we may not know. Raises `Unavailable`."""
    from google.api_core.exceptions import GoogleAPICallError, NotFound, PermissionDenied  # noqa: PLC0415

    from edge_energy.pubsub.client import publisher, topic_path  # noqa: PLC0415
    from edge_energy.pubsub.explain import explain  # noqa: PLC0415

    found = []
    async with await publisher(settings.model_copy(update={"timeout": PATIENCE})) as client:
        for topic in topics:
            try:
                await client.get_topic(topic=topic_path(settings, topic), retry=None, timeout=PATIENCE)
            except NotFound:
                found.append(topic)
            except GoogleAPICallError as error:
                # A publisher need not have the right to look; a service that is switched off is another matter.
                if isinstance(error, PermissionDenied) and error.reason != "SERVICE_DISABLED":
                    return None
                raise explain(error, settings, topic=topic) from error
    return found
