"""What brokers say rarely, and what becomes of a session then."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from edge_energy.config import Kafka as Settings
from edge_energy.errors import Rejected, TooLarge, Unavailable
from edge_energy.kafka.session import Session, TopicError
from edge_energy.messages import Messages
from tests.servers.base import wait_until
from tests.unit.kafka.mock_cluster import INIT_PRODUCER_ID, METADATA, PRODUCE, MockCluster
from tests.unit.samples import entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TOPIC = "shelly_data"
GOES_BY = [
    (PRODUCE, KafkaError.NOT_LEADER_FOR_PARTITION),
    (PRODUCE, KafkaError.LEADER_NOT_AVAILABLE),
    (PRODUCE, KafkaError.REQUEST_TIMED_OUT),
    (PRODUCE, KafkaError.NOT_ENOUGH_REPLICAS),
    (PRODUCE, KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND),
    (PRODUCE, KafkaError.KAFKA_STORAGE_ERROR),
    (INIT_PRODUCER_ID, KafkaError.COORDINATOR_LOAD_IN_PROGRESS),
    (INIT_PRODUCER_ID, KafkaError.NOT_COORDINATOR),
    (METADATA, KafkaError.LEADER_NOT_AVAILABLE),
]


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster(TOPIC, brokers=2) as cluster:
        yield cluster


def session(cluster: MockCluster, **settings: Any) -> Session:
    return Session(Settings.model_validate({"brokers": cluster.brokers, "timeout": "10s"} | settings), "test")


def send(session: Session, *numbers: int, stop: threading.Event | None = None) -> None:
    messages = Messages("house-1", "journal")
    batch = [(number, TOPIC, messages.message(entry(number))) for number in numbers]
    session.send(batch, stop or threading.Event())


def stored(cluster: MockCluster, count: int) -> list[int]:
    """Return the positions of the first messages of the partition, and of any more that are there."""
    settings = {"bootstrap.servers": cluster.brokers, "group.id": "look", "fetch.wait.max.ms": 10, "log_level": 0}
    consumer = Consumer(settings)
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    found = consumer.consume(count, 10)
    found += consumer.consume(count + 1, 0.2)
    consumer.close()
    headers = [cast("list[tuple[str, bytes]]", message.headers()) for message in found]
    return [int(dict(each)["ce_id"].rpartition(b"/")[2]) for each in headers]


def on_clusters(check: Callable[..., None], cases: Sequence[tuple[Any, ...]]) -> None:
    """Check each case on a cluster of its own, all at once: each session begins with half a second of waiting."""

    def run(case: tuple[Any, ...]) -> None:
        try:
            with MockCluster(TOPIC, brokers=2) as cluster:
                check(cluster, *case)
        except BaseException as error:
            error.add_note(f"in the case {case}")
            raise

    with ThreadPoolExecutor(len(cases)) as threads:
        for _ in threads.map(run, cases):
            pass


def test_what_goes_by_is_waited_for() -> None:
    """By librdkafka, which asks again; every message is there once, in order."""

    def check(cluster: MockCluster, request: int, error: int) -> None:
        cluster.answer(request, error, error)
        sending = session(cluster)
        send(sending, *range(20))
        send(sending, *range(20, 40))
        assert sending.usable
        sending.close()
        assert stored(cluster, 40) == list(range(40))

    on_clusters(check, GOES_BY)


def test_another_leader_is_followed(cluster: MockCluster) -> None:
    """As when a broker is taken out of service."""
    sending = session(cluster)
    for number, leader in enumerate((1, 2, 1)):
        cluster.lead(leader)
        send(sending, number)
    sending.close()
    assert stored(cluster, 3) == [0, 1, 2]


ANSWERS = [
    (KafkaError.INVALID_RECORD, Rejected, "'shelly_data' does not take it"),
    (KafkaError.POLICY_VIOLATION, Rejected, "'shelly_data' does not take it"),
    (KafkaError.INVALID_TIMESTAMP, Rejected, "'shelly_data' does not take it"),
    (KafkaError.MSG_SIZE_TOO_LARGE, TooLarge, r"max\.message\.bytes"),
    (KafkaError.RECORD_LIST_TOO_LARGE, TooLarge, r"max\.message\.bytes"),
    (KafkaError.TOPIC_AUTHORIZATION_FAILED, Unavailable, r"we may not use topic 'shelly_data'"),
    (KafkaError.CLUSTER_AUTHORIZATION_FAILED, Unavailable, r"we may not do that"),
    (KafkaError.UNSUPPORTED_COMPRESSION_TYPE, Unavailable, "cannot serve now .*ompression"),
    (KafkaError.INVALID_REQUIRED_ACKS, Unavailable, "cannot serve now"),
]


@pytest.mark.parametrize("order", ["live_first", "strict"])
def test_each_answer_means_what_it_must(order: str) -> None:
    """Who must act is decided by it; only a time that is not taken is certain to be the data's."""

    def check(cluster: MockCluster, answer: int, error: type[Unavailable | Rejected | TooLarge], says: str) -> None:
        cluster.answer(PRODUCE, answer)
        sending, again = session(cluster, order=order), session(cluster)
        with pytest.raises(error, match=says) as caught:
            send(sending, 1)
        assert getattr(caught.value, "certain", False) == (answer == KafkaError.INVALID_TIMESTAMP)
        assert not getattr(caught.value, "accepted", ())
        sending.close()
        send(again, 1)
        again.close()
        assert stored(cluster, 1) == [1]

    on_clusters(check, ANSWERS)


def test_a_topic_that_says_nothing_is_told_apart(cluster: MockCluster) -> None:
    """Nobody leads its partition: what was sent to another is there, and need not be sent again and again."""
    cluster.lead(-1)
    sending = session(cluster, timeout="3s")
    message = Messages("house-1", "journal").message(entry(1))
    with pytest.raises(TopicError, match="confirmed nothing for 3 s") as caught:
        sending.send([(1, "another", message), (2, TOPIC, message)], threading.Event())
    assert caught.value.topics == {TOPIC}
    sending.close()


def test_a_producer_that_may_not_be_one_is_lost(cluster: MockCluster) -> None:
    """Fatal, says librdkafka: no message ever leaves this session."""
    cluster.answer(INIT_PRODUCER_ID, *[KafkaError.CLUSTER_AUTHORIZATION_FAILED] * 3)
    sending = session(cluster, timeout="60s")
    with pytest.raises(Unavailable, match=r"may not do that.*correct \[kafka\] username"):
        send(sending, 1)
    assert not sending.usable
    sending.close()


def test_strict_order_loses_the_session_rather_than_the_order(cluster: MockCluster) -> None:
    """Nothing that comes after what was refused is sent before it was decided about."""
    sending = session(cluster, order="strict", compression="none")
    send(sending, 0)
    cluster.answer(PRODUCE, KafkaError.MSG_SIZE_TOO_LARGE)
    with pytest.raises(TooLarge) as caught:
        send(sending, *range(1, 2_000))
    assert not caught.value.accepted
    assert not sending.usable
    sending.close()
    assert stored(cluster, 1) == [0]


def test_a_session_that_is_stopped_says_nothing_and_is_over(cluster: MockCluster) -> None:
    """Nobody listens any more; what is under way is in an unknown state."""
    stop = threading.Event()
    stop.set()
    sending = session(cluster)
    send(sending, 1, 2, stop=stop)
    assert not sending.usable
    sending.close()


@pytest.mark.parametrize("order", ["live_first", "strict"])
def test_what_is_under_way_is_given_up_without_a_word(cluster: MockCluster, order: str) -> None:
    """Librdkafka calls that a fatal error where order is strict: to us it is the end of one session."""
    stop = threading.Event()
    sending = session(cluster, order=order)
    send(sending, 1)
    cluster.delay(60)
    with ThreadPoolExecutor(1) as thread:
        sent = thread.submit(send, sending, 2, 3, stop=stop)
        wait_until(lambda: cluster.asked(PRODUCE) == 2, 10, "the request is under way")
        stop.set()
        sent.result(10)
    assert not sending.usable
    sending.listen()
    assert not sending.usable
    sending.close()


def test_an_empty_batch_is_confirmed(cluster: MockCluster) -> None:
    """By nobody."""
    sending = session(cluster)
    send(sending)
    assert sending.usable
    sending.close()
