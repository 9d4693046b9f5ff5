"""`forward create-topics`: makes what is missing, and nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import AdminClient

from edge_energy.config import Kafka as Settings
from edge_energy.errors import Unavailable
from edge_energy.kafka.topics import create_topics
from tests.servers.base import free_port

if TYPE_CHECKING:
    from tests.servers.kafka import Kafka


def settings(kafka: Kafka, **more: Any) -> Settings:
    new = {name: f"{topic}-new" for name, topic in kafka.topics.items()}
    return Settings.model_validate({"brokers": kafka.brokers, "timeout": "20s"} | new | more)


def partitions(kafka: Kafka) -> dict[str, int]:
    admin = AdminClient({"bootstrap.servers": kafka.brokers, "log_level": 0})
    return {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=10).topics.items()}


async def test_topics_are_made_once(kafka: Kafka) -> None:
    """Readings with partitions, all others with one; a second time changes nothing, whatever it is told."""
    wanted = settings(kafka)
    made = await create_topics(wanted, partitions=3, replication=1, commands=False)
    assert made == [(topic, "created") for topic in wanted.topics()]
    again = await create_topics(wanted, partitions=7, replication=1, commands=True)
    assert again == [*((topic, "exists") for topic in wanted.topics()), (wanted.send_command_topic, "created")]
    found = partitions(kafka)
    assert {name: found[name] for name in wanted.topics(commands=True)} == {
        wanted.readings_topic: 3,
        wanted.commands_topic: 1,
        wanted.incidents_topic: 1,
        wanted.appliance_topic: 1,
        wanted.send_command_topic: 1,
    }


async def test_one_topic_for_everything_is_made_once(kafka: Kafka) -> None:
    """Two settings may name the same one; the partitions are those of the readings then."""
    name = kafka.topics["readings_topic"] + "-all"
    one = settings(
        kafka, **dict.fromkeys(("readings_topic", "commands_topic", "incidents_topic", "appliance_topic"), name)
    )
    assert await create_topics(one, partitions=2, replication=1, commands=False) == [(name, "created")]
    assert partitions(kafka)[name] == 2


async def test_what_the_cluster_refuses_is_told_with_its_words(kafka: Kafka) -> None:
    """One broker cannot keep three copies."""
    with pytest.raises(Unavailable, match=r"(?i)replication"):
        await create_topics(settings(kafka), partitions=1, replication=3, commands=False)


async def test_who_may_not_create_is_named(kafka: Kafka) -> None:
    """And existing topics are no reason to ask for more rights."""
    login = {"brokers": kafka.sasl_brokers, "tls": True, "ca_file": str(kafka.certificates.ca)}
    login |= {"username": kafka.reader, "password": kafka.reader_password}
    with pytest.raises(Unavailable, match=rf"user '{kafka.reader}' may not"):
        await create_topics(settings(kafka, **login), partitions=1, replication=1, commands=False)
    found = await create_topics(settings(kafka, **login, **kafka.topics), partitions=1, replication=1, commands=True)
    assert {outcome for _, outcome in found} == {"exists"}


async def test_a_wrong_password_is_named_soon(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by the sink; and a cluster that is away after the timeout."""
    monkeypatch.setattr("edge_energy.kafka.client.PATIENCE", 0.2)
    monkeypatch.setattr("edge_energy.kafka.client._LONGEST_QUESTION", 0.5)
    login = {"brokers": kafka.sasl_brokers, "tls": True, "ca_file": str(kafka.certificates.ca)}
    wrong = settings(kafka, **login, username=kafka.user, password="wrong")
    async with asyncio.timeout(10):
        with pytest.raises(Unavailable, match=r"correct \[kafka\] username or password"):
            await create_topics(wrong, partitions=1, replication=1, commands=False)
    away = settings(kafka, brokers=f"127.0.0.1:{free_port()}", timeout="1s")
    with pytest.raises(Unavailable, match=r"cannot reach 127\.0\.0\.1:\d+: .*refused"):
        await create_topics(away, partitions=1, replication=1, commands=False)
