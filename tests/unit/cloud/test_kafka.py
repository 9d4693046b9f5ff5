"""What is Kafka's alone of commands from the cloud: who may listen, partitions, ids."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from edge_energy.cloud import kafka as module
from edge_energy.cloud.kafka import KafkaCommands
from edge_energy.config import Kafka as Settings
from edge_energy.errors import Unavailable
from edge_energy.kafka.client import silence
from edge_energy.relays.command import ID
from tests.servers import kcat
from tests.servers.base import wait_until

if TYPE_CHECKING:
    from tests.servers.kafka import Kafka


def source(kafka: Kafka, **more: Any) -> KafkaCommands:
    """Return the source of an appliance that nobody has been."""
    topics = kafka.topics
    known = {"brokers": kafka.brokers, "group": f"group-{topics['send_command_topic']}", "timeout": 10.0, **topics}
    return KafkaCommands(Settings(**known | more), "edge-energy-house-1")


def login(kafka: Kafka, **more: Any) -> dict[str, Any]:
    """Return what a cluster with passwords wants."""
    return {"brokers": kafka.sasl_brokers, "tls": True, "ca_file": str(kafka.certificates.ca), **more}


async def test_it_logs_in(kafka: Kafka) -> None:
    async with source(kafka, **login(kafka, username=kafka.user, password=kafka.password)) as commands:
        await asyncio.to_thread(kcat.write, kafka, kafka.topics["send_command_topic"], b"{}")
        async with asyncio.timeout(10):
            assert (await commands.receive()).payload == b"{}"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"username": "edge", "password": "wrong"}, r"correct \[kafka\] username or password"),
        ({"username": "reader", "password": "password-of-reader"}, r"may not read as group.*correct \[kafka\] group"),
    ],
)
async def test_who_may_not_listen_is_told_what_to_correct(kafka: Kafka, more: dict[str, str], words: str) -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable, match=words):
        async with source(kafka, **login(kafka, **more)):
            ...
    assert time.monotonic() - began < 8


async def test_a_partition_that_is_added_is_heard(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a new beginning, and from its first letter on: it may have come before we knew of the partition."""
    topic = kafka.topics["send_command_topic"]
    monkeypatch.setattr(module, "EVERY", 0.5)
    async with source(kafka) as commands:
        admin = AdminClient({"bootstrap.servers": kafka.brokers, "log_level": 0})
        await asyncio.to_thread(admin.create_partitions([NewPartitions(topic, 2)])[topic].result)
        # The controller has it; the broker hears of it.
        known = partial(admin.list_topics, topic, timeout=10)
        await asyncio.to_thread(wait_until, lambda: len(known().topics[topic].partitions) == 2)
        await asyncio.to_thread(kcat.write, kafka, topic, b"{}", options=["-p", "1"])
        async with asyncio.timeout(20):
            with pytest.raises(Unavailable, match="2 partitions"):
                await commands.receive()
    async with source(kafka) as commands, asyncio.timeout(10):
        assert (await commands.receive()).payload == b"{}"


def put(kafka: Kafka, partition: int, payload: bytes, *, age: float = 0.0) -> None:
    """Publish a letter that is so many seconds old."""
    producer = Producer({"bootstrap.servers": kafka.brokers})
    at = round((time.time() - age) * 1000)
    producer.produce(kafka.topics["send_command_topic"], payload, partition=partition, timestamp=at)
    assert producer.flush(10) == 0
    producer.close()


class Group:
    """What the broker keeps of an appliance that nobody has been."""

    def __init__(self, kafka: Kafka) -> None:
        self._topic = kafka.topics["send_command_topic"]
        self._name = f"group-{self._topic}"
        self._client: dict[str, Any] = {"bootstrap.servers": kafka.brokers, "group.id": self._name, "log_level": 0}

    def keep(self, partition: int, offset: int) -> None:
        """Have a place in one partition."""
        consumer = Consumer(self._client)
        consumer.commit(offsets=[TopicPartition(self._topic, partition, offset)], asynchronous=False)
        consumer.close()

    def forget(self) -> None:
        """Lose all places, as a broker does a week after each was kept."""
        admin = AdminClient({"bootstrap.servers": self._client["bootstrap.servers"], "log_level": 0})
        admin.delete_consumer_groups([self._name])[self._name].result()

    def places(self, partitions: int) -> list[int]:
        """Return the place in each partition; less than 0 is none."""
        consumer = Consumer(self._client)
        asked = [TopicPartition(self._topic, number) for number in range(partitions)]
        found = [place.offset for place in consumer.committed(asked, timeout=10)]
        consumer.close()
        return found


@pytest.mark.parametrize("elsewhere", [True, False], ids=["one place left", "no place left"])
async def test_where_a_place_was_forgotten_nothing_old_comes_again(kafka: Kafka, *, elsewhere: bool) -> None:
    """The broker forgets by partition; what has not expired comes, also what was acknowledged or never heard."""
    kafka.fresh_topics(partitions=3)
    group = Group(kafka)
    for age, payload in ((86_400.0, b"old"), (module.RECENT + 60, b"older"), (module.RECENT - 60, b"young")):
        await asyncio.to_thread(put, kafka, 1, payload, age=age)
    await asyncio.to_thread(put, kafka, 2, b"old", age=86_400.0)
    if elsewhere:
        await asyncio.to_thread(group.keep, 0, 0)
    async with source(kafka) as commands:
        assert await asyncio.to_thread(group.places, 3) == [0, 2, 1]
        async with asyncio.timeout(10):
            assert (await commands.receive()).payload == b"young"
            await asyncio.to_thread(put, kafka, 2, b"new")
            assert (await commands.receive()).payload == b"new"


async def test_places_are_kept_again_and_again(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of partitions in which nothing happens, too: else they are forgotten while we listen.

    Also where the timeout is short: what is asked for that waits behind the request for letters.
    """
    monkeypatch.setattr(module, "EVERY", 0.2)
    kafka.fresh_topics(partitions=2)
    group = Group(kafka)
    async with source(kafka, timeout=4.0) as commands:
        await asyncio.to_thread(put, kafka, 1, b"{}")
        async with asyncio.timeout(10):
            await commands.acknowledge([await commands.receive()])
        receiving = asyncio.create_task(commands.receive())
        await asyncio.to_thread(wait_until, lambda: group.places(2) == [0, 1])
        await asyncio.to_thread(group.forget)
        await asyncio.to_thread(wait_until, lambda: group.places(2) == [0, 1])
        assert not receiving.done()
        receiving.cancel()
        await asyncio.wait([receiving])


def test_an_acknowledgement_that_gets_lost_ends_nothing() -> None:
    """The next one says as much; only what will not pass by itself ends the connection."""
    commands = KafkaCommands(Settings(brokers="127.0.0.1:1"), "test")
    for passing in (KafkaError._TIMED_OUT, KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS):
        commands._committed(KafkaError(passing), [])
        assert commands._error is None
    commands._committed(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED), [])
    assert commands._error is not None


@pytest.mark.parametrize("timeout", [1.0, 2.0, 10.0, 30.0, 300.0])
def test_the_broker_lets_nobody_wait_for_longer_than_an_answer_may_take(timeout: float) -> None:
    """What is asked meanwhile waits behind a request for letters, and is given up after a silence."""
    settings = Settings(brokers="127.0.0.1:1", timeout=timeout)
    wait = module.wait(settings) * 1000
    assert 100 <= wait <= max(100, silence(settings) - 1000)
    assert wait <= 5000


async def test_the_id_of_a_letter_is_its_place_and_its_time(kafka: Kafka) -> None:
    """So that it is another one in a topic that was made anew; cut where the topic has a long name."""
    topic = "x" * 200
    kafka.create_topic(topic)
    async with source(kafka, send_command_topic=topic) as commands:
        for _ in range(2):
            await asyncio.to_thread(kcat.write, kafka, topic, b"{}")
        async with asyncio.timeout(10):
            letters = [await commands.receive() for _ in range(2)]
    for number, letter in enumerate(letters):
        assert ID.fullmatch(letter.id)
        assert letter.id.endswith(f":0:{number}:{round((letter.published_at or 0) * 1000)}")
    assert letters[0].id != letters[1].id


async def test_waiting_costs_next_to_nothing(kafka: Kafka) -> None:
    """A Pi has one core for everything; and who pays for each byte asks rarely."""
    async with source(kafka) as commands:
        receiving = asyncio.create_task(commands.receive())
        await asyncio.sleep(1)
        before = time.process_time()
        await asyncio.sleep(3)
        assert time.process_time() - before < 0.15
        receiving.cancel()
        await asyncio.wait([receiving])


async def test_what_is_wrong_is_told_once_and_not_on_stderr(kafka: Kafka, capfd: pytest.CaptureFixture[str]) -> None:
    """The library would write there by itself."""
    with pytest.raises(Unavailable):
        async with source(kafka, brokers="127.0.0.1:1", timeout=1.0):
            ...
    assert capfd.readouterr().err == ""
