"""One idempotent producer, from its first connection to its first failure. Blocking: for a thread of its own."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, Producer

from edge_energy.errors import Rejected, Unavailable
from edge_energy.kafka.client import Trouble, close, configuration, explain, explained, silence

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable

    from confluent_kafka import KafkaError

    from edge_energy.config import Kafka
    from edge_energy.errors import TooLarge
    from edge_energy.messages import Message

    Failed = dict[int, tuple[str, KafkaError, bool]]
    """By position: the topic, why it does not have the message, and whether it was refused before it was sent."""
    Report = Callable[[KafkaError | None, object], None]

STEP = 0.1
"""Seconds after which a waiting thread looks whether it is to stop."""
_LARGEST_MESSAGE = 1_000_000  # bytes before compression; brokers take a little more, unless they are told to
_LARGEST_SET = 65536  # bytes of records that travel together; what a broker says of a set concerns few of them then
_LARGEST_QUEUE = 32768  # KiB of messages that wait in librdkafka; a larger batch goes piece by piece
_MOST_MESSAGES = 100_000  # as above
_LINGER = 20  # ms that a record waits for others to travel with, while the rest of the batch is still being made
_LONGEST_PURGE = 0.5  # seconds
_PROPAGATION = 2000  # ms for which a topic that was just created may be unknown to a broker
_PURGED = {"_PURGE_QUEUE", "_PURGE_INFLIGHT", "_FATAL"}  # the reason is another message's, or the connection's


class TopicError(Unavailable):
    """Some `topics` do not take what is sent to them, or nobody knows: after an outage these are all of a batch."""

    def __init__(self, reason: str, topics: set[str]) -> None:
        super().__init__(reason)
        self.topics = topics


class Session:
    """Sends batches while `usable`, each message once however often an answer is lost, those of one key in order."""

    def __init__(self, settings: Kafka, client_id: str) -> None:
        """Begin, without waiting for the cluster. Raises `Unavailable` where the settings cannot be used."""
        self.usable = True
        self._settings = settings
        self._trouble = Trouble()
        with explained(settings):
            self._producer = Producer(_configuration(settings, client_id, self._trouble))

    def send(self, batch: Iterable[tuple[int, str, Message]], stop: threading.Event) -> None:
        """Return when each message of (position, topic, message) is confirmed; soon after `stop`, and nobody knows.

        Raises as `Sink.write` does: `accepted` are the positions of those that were confirmed all the same, and
        what is `Unavailable` is a `TopicError`.
        """
        sent: list[int] = []
        failed: Failed = {}

        def report(position: int, topic: str, error: KafkaError | None, message: object) -> None:
            if error is not None:
                failed[position] = (topic, error, message is None)

        self._trouble.forget()
        complete = False
        for position, topic, message in batch:
            if not self._produce(topic, message, partial(report, position, topic), stop):
                break
            sent.append(position)
        else:
            complete = self._wait(0, stop)
        if not complete and not self._purge():
            sent.clear()  # some of them may have been confirmed, and nobody can say which
        if failed or not complete:
            self.usable = False
            if not stop.is_set():
                raise self._explain(sent, failed)

    def listen(self) -> None:
        """Hear what librdkafka has to say between two batches: it keeps that in memory until somebody does."""
        while self._poll(0):
            pass
        self.usable = self.usable and not self._trouble.hopeless()

    def close(self) -> None:
        """Forget what is not confirmed, and end; does not wait."""
        self._purge()
        close(self._producer)

    def _produce(self, topic: str, message: Message, failed: Report, stop: threading.Event) -> bool:
        """Hand a message over to librdkafka, which reports only failures; False where it takes no more of them."""
        while not stop.is_set():
            try:
                self._producer.produce(
                    topic,
                    message.body,
                    message.key,
                    headers=message.attributes,  # type: ignore[arg-type]  # it only reads them
                    timestamp=message.time // 1_000_000,
                    on_delivery=failed,
                )
            except BufferError:
                if not self._wait(len(self._producer) // 2, stop):
                    return False
            except KafkaException as error:  # librdkafka did not take it, so this is all that it says of it
                failed(error.args[0], None)
                return True
            else:
                return True
        return False

    def _wait(self, most: int, stop: threading.Event) -> bool:
        """Wait until at most so many messages are unconfirmed; False where that does not help, or is not wanted.

        What ends it is silence: while something is confirmed every now and then, a slow line may take its time.
        """
        fewest, deadline = len(self._producer), time.monotonic() + self._settings.timeout
        while (left := self._flush()) > most:
            if left < fewest:
                fewest, deadline = left, time.monotonic() + self._settings.timeout
                self._trouble.forget()
            if stop.is_set() or self._trouble.hopeless() or time.monotonic() > deadline:
                return False
        return True

    def _flush(self) -> int:
        """Let librdkafka work and report for a moment; return how much is left."""
        try:
            return self._producer.flush(STEP)
        except KafkaException as error:  # a fatal one
            self._trouble(error.args[0])
            return len(self._producer)

    def _purge(self) -> bool:
        """Let all that is not confirmed fail, though it may yet arrive; tell whether each has been heard of."""
        self._producer.purge(blocking=False)  # it would wait for a name that is being looked up
        deadline = time.monotonic() + _LONGEST_PURGE
        while len(self._producer) and time.monotonic() < deadline:
            self._poll(STEP / 10)
        return not len(self._producer)

    def _poll(self, seconds: float) -> int:
        """Let librdkafka report, waiting so long for something; return how much that was."""
        try:
            return self._producer.poll(seconds)
        except KafkaException as error:  # a fatal one; where order is strict, giving up what is under way is that
            self._trouble(error.args[0])
            return 0

    def _explain(self, sent: list[int], failed: Failed) -> TopicError | Rejected | TooLarge:
        """Return the reason that says most: what is wrong with the data, with a topic, with the connection."""
        reasons = {
            (topic, error.name(), unsent): self._reason(topic, error, unsent=unsent)
            for topic, error, unsent in failed.values()
            if error.name() not in _PURGED
        }
        for reason in reasons.values():
            if not isinstance(reason, Unavailable):
                reason.accepted = {*sent} - failed.keys()
                return reason
        if reasons:
            return TopicError(str(next(iter(reasons.values()))), {topic for topic, *_ in reasons})
        return TopicError(self._silence(), {topic for topic, *_ in failed.values()})

    def _silence(self) -> str:
        """Return why nothing was heard of messages."""
        if self._trouble.last is not None:
            return str(explain(self._trouble.last, self._settings))
        return f"{self._settings.brokers} confirmed nothing for {self._settings.timeout:g} s"

    def _reason(self, topic: str, error: KafkaError, *, unsent: bool) -> Unavailable | Rejected | TooLarge:
        if unsent and error.name() == "MSG_SIZE_TOO_LARGE":
            return Rejected(f"a message of more than {_LARGEST_MESSAGE} bytes is not for Kafka", certain=True)
        return explain(error, self._settings, topic)


def _configuration(settings: Kafka, client_id: str, trouble: Trouble) -> dict[str, Any]:
    found = configuration(settings, client_id) | {
        "error_cb": trouble,
        "enable.idempotence": True,  # and with it acks=all
        "compression.type": settings.compression,
        "partitioner": "murmur2_random",  # as Java's: who writes beside us finds the same partition for a device
        "delivery.report.only.error": True,
        "message.timeout.ms": 0,  # a batch is given up as a whole, or what was late would follow what came after it
        "request.timeout.ms": silence(settings),
        "linger.ms": _LINGER,
        "message.max.bytes": _LARGEST_MESSAGE,
        "batch.size": _LARGEST_SET,
        "queue.buffering.max.kbytes": _LARGEST_QUEUE,
        "queue.buffering.max.messages": _MOST_MESSAGES,
        "topic.metadata.propagation.max.ms": _PROPAGATION,
    }
    if settings.order == "strict":  # what comes after a record that is refused must not arrive before its neighbours
        found["enable.gapless.guarantee"] = True
    return found
