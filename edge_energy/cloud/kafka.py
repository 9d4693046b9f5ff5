"""Commands from a Kafka topic.

Each appliance has a group of its own, so all of them hear everything. The group only keeps how far we are: nobody
shares the partitions, so nobody has to join and be missed, and after a crash we go on at once. The consumer lives in
one thread that looks for letters as long as somebody waits for one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import structlog
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, KafkaException, TopicPartition

from edge_energy.cloud.letter import Letter
from edge_energy.errors import Unavailable
from edge_energy.kafka.client import Trouble, configuration, explain, silence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from confluent_kafka import Message

    from edge_energy.config import Kafka

log = structlog.get_logger()

LOOK = 0.25
"""Seconds for which the thread waits for a letter; a stop waits so long for the thread."""
LONGEST_WAIT = 5.0
"""Seconds that the broker lets us wait for letters; all else that we ask it waits behind that."""
ASKING = 2.0
"""Seconds for which the thread waits for the cluster at first, again and again."""
EVERY = 300.0
"""Seconds between two looks at the topic's partitions; we keep our places again then, or they are forgotten."""
RECENT = 600.0
"""Seconds: what is older when we have no place has expired anyway, unless it says when it does."""
CLOSING = 1.0
"""Seconds that saying goodbye may take."""
_LONGEST_ID = 64
# After these we keep our places the next time; KafkaError.retriable() says of none that it passes.
_PASSING = {
    "_TIMED_OUT",
    "_TRANSPORT",
    "_WAIT_COORD",
    "REQUEST_TIMED_OUT",
    "NOT_COORDINATOR",
    "COORDINATOR_NOT_AVAILABLE",
    "COORDINATOR_LOAD_IN_PROGRESS",
}
_CONFIGURATION = {
    "enable.auto.commit": False,
    "auto.offset.reset": "latest",  # where we were is no more: what was there has expired
    "fetch.message.max.bytes": 65_536,
    "queued.min.messages": 64,
    "queued.max.messages.kbytes": 1_024,
}


class KafkaCommands:
    """See `CommandSource`."""

    name = "kafka"

    def __init__(self, settings: Kafka, client_id: str) -> None:
        self._settings = settings
        self._trouble = Trouble()
        self._wait = wait(settings)
        self._configuration = {
            **configuration(settings, client_id),
            **_CONFIGURATION,
            "fetch.wait.max.ms": round(self._wait * 1000),
            "group.id": settings.group,
            "error_cb": self._happened,
            "on_commit": self._committed,
        }
        self._consumer: Consumer
        self._thread: ThreadPoolExecutor
        self._arrived: deque[Letter] = deque()
        self._places: dict[int, TopicPartition] = {}
        """By partition: what is acknowledged."""
        self._due = 0.0
        # What follows is of the thread.
        self._last: KafkaError | None = None
        """Why we have not begun yet."""
        self._error: KafkaError | None = None
        """Why the broker cannot serve us."""
        self._doubtful = False
        """Whether all connections are lost; they may be back already."""

    async def __aenter__(self) -> Self:
        self._last, self._error, self._doubtful = None, None, False
        self._arrived.clear()
        self._places.clear()
        self._trouble.forget()
        try:
            self._consumer = await asyncio.to_thread(Consumer, self._configuration)
        except KafkaException as error:  # a file that is no certificate
            raise self._away(error.args[0]) from error
        self._thread = ThreadPoolExecutor(1, "kafka-commands")
        try:
            async with asyncio.timeout(self._settings.timeout):
                while not self._places:
                    await self._in_thread(self._begin)
        except TimeoutError:
            await self._close()
            reason = self._trouble.last or self._last
            silent = f"{self._settings.brokers} did not answer within {self._settings.timeout:g} s"
            raise (Unavailable(silent) if reason is None else self._away(reason)) from None
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def receive(self) -> Letter:
        """See `CommandSource`."""
        while not self._arrived:
            if self._doubtful or time.monotonic() > self._due:
                await self._in_thread(self._ask)
                self._keep(self._places.values())
            await self._in_thread(self._look)
        return self._arrived.popleft()

    async def acknowledge(self, letters: Sequence[Letter]) -> None:
        """See `CommandSource`; the broker's answer is looked at by whoever waits for the next letter."""
        places = {letter.receipt.partition: letter.receipt for letter in letters}
        self._places |= places
        self._keep(places.values())

    def _keep(self, places: Iterable[TopicPartition]) -> None:
        """Have the broker keep places. In the loop alone, so that an older one never overtakes a newer one."""
        try:
            self._consumer.commit(offsets=list(places), asynchronous=True)
        except KafkaException as error:
            raise self._away(error.args[0]) from error

    # -- in the thread ----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Begin where we left off, if the cluster answers."""
        try:
            places = self._find_places(self._numbers(ASKING))
            self._consumer.assign(places)
        except KafkaException as error:
            self._not_yet(error.args[0])
        else:
            self._places, self._due = {place.partition: place for place in places}, time.monotonic() + EVERY
            self._trouble.forget()

    def _not_yet(self, error: KafkaError) -> None:
        """Raise where waiting does not help; a cluster that has just begun says this and that."""
        said = self._consumer.poll(0)  # some reasons come this way
        found = said.error() if said is not None else None
        if self._trouble.hopeless():
            found = found or self._trouble.last
        if found is None and error.name().endswith("AUTHORIZATION_FAILED"):
            found = error
        if found is not None:
            raise self._away(found)
        self._last = error

    def _numbers(self, timeout: float) -> list[int]:
        """Return the topic's partitions."""
        topic = self._settings.send_command_topic
        found = self._consumer.list_topics(topic, timeout=timeout).topics[topic]
        if found.error is not None:
            raise self._away(found.error)
        return list(found.partitions)

    def _find_places(self, numbers: list[int]) -> list[TopicPartition]:
        """Return where to begin, and keep that: no crash loses the first letter.

        The broker forgets the place in each partition by itself, a week after it was kept; so having one elsewhere
        does not tell whether we never were in this partition.
        """
        topic = self._settings.send_command_topic
        found = self._consumer.committed([TopicPartition(topic, number) for number in numbers], timeout=ASKING)
        for place in found:
            if place.error is not None:
                raise KafkaException(place.error)
            if place.offset < 0:
                place.offset = self._recent(place)
        self._consumer.commit(offsets=found, asynchronous=False)
        return found

    def _recent(self, partition: TopicPartition) -> int:
        """Return where the letters begin that have not expired."""
        since = max(0, round((time.time() - RECENT) * 1000))
        _, end = self._consumer.get_watermark_offsets(partition, timeout=ASKING)
        asked = TopicPartition(partition.topic, partition.partition, since)
        (found,) = self._consumer.offsets_for_times([asked], timeout=ASKING)
        if found.error is not None:
            raise KafkaException(found.error)
        return found.offset if found.offset >= 0 else end  # none was so young when we asked for the end

    def _look(self) -> None:
        """Take a letter if one comes soon."""
        message = self._consumer.poll(LOOK)
        if message is not None:
            if (error := message.error()) is not None:
                raise self._away(error)
            self._arrived.append(_letter(message))
        if self._error is None and self._trouble.hopeless():
            self._error = self._trouble.last
        if self._error is not None:
            raise self._away(self._error)

    def _ask(self) -> None:
        """Find out whether a broker answers, and whether we listen to all there is."""
        self._doubtful, self._due = False, time.monotonic() + EVERY
        try:
            count = len(self._numbers(self._wait + ASKING))
        except KafkaException as error:
            raise self._away(self._trouble.last or error.args[0]) from error
        if count != len(self._places):
            raise Unavailable(f"topic {self._settings.send_command_topic!r} has {count} partitions now: begins anew")
        self._trouble.forget()

    def _happened(self, error: KafkaError) -> None:
        self._trouble(error)
        self._doubtful = self._doubtful or error.name() == "_ALL_BROKERS_DOWN"

    def _committed(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        for found in filter(None, (error, *(partition.error for partition in partitions))):
            if found.name() in _PASSING:
                log.debug("acknowledgement lost", source=self.name, reason=found.str())
            else:
                self._error = found

    # -------------------------------------------------------------------------------------------------------

    async def _in_thread(self, work: Callable[[], Any]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _close(self) -> None:
        """Say goodbye; a broker that does not answer is left alone with that."""
        closing = asyncio.wrap_future(self._thread.submit(self._consumer.close))
        self._thread.shutdown(wait=False)
        await asyncio.wait([closing], timeout=CLOSING)  # a timeout would cancel what waits behind a busy thread
        if closing.done():
            await closing

    def _away(self, error: KafkaError) -> Unavailable:
        found = explain(error, self._settings, self._settings.send_command_topic)
        return found if isinstance(found, Unavailable) else Unavailable(str(found))


def wait(settings: Kafka) -> float:
    """Return for how long (s) the broker may keep us waiting: an answer must not come too late for what is asked."""
    return max(0.1, min(LONGEST_WAIT, silence(settings) / 1000 - 1))


def _letter(message: Message) -> Letter:
    """Return what came. Its time is in its id because a topic that was deleted and made anew begins at 0 again."""
    topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
    kind, milliseconds = message.timestamp()
    published = None if kind == TIMESTAMP_NOT_AVAILABLE else milliseconds / 1000
    where = f":{partition}:{offset}:{max(milliseconds, 0)}"
    receipt = TopicPartition(topic, partition, offset + 1)
    return Letter(message.value() or b"", f"kafka:{topic}"[: _LONGEST_ID - len(where)] + where, published, receipt)
