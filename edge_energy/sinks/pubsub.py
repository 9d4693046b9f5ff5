"""The Google Pub/Sub sink."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

from google.api_core.exceptions import GoogleAPICallError, InvalidArgument
from google.pubsub_v1.types import PublishRequest, PubsubMessage

from edge_energy.errors import Rejected, Unavailable
from edge_energy.pubsub.body import with_more
from edge_energy.pubsub.client import publisher, topic_path
from edge_energy.pubsub.explain import explain
from edge_energy.together import together

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from google.pubsub_v1.services.publisher import PublisherAsyncClient

    from edge_energy.config import Pubsub
    from edge_energy.interfaces import Entry
    from edge_energy.messages import Messages

MOST_MESSAGES = 1_000
MOST_BYTES = 9_500_000
LONGEST_KEY = 1_024
"""The service's limits for a request, and for an ordering key in bytes. 10 MB are the most."""
AT_WORK = 8
"""Requests under way at a time: there is one for each device, and the way to the service is long."""
_FRAME = 5  # bytes around a message in its request


class Request(NamedTuple):
    """Messages of one device for one topic that go together, and the positions of their entries."""

    topic: str
    positions: list[int]
    messages: list[Any]


class PubsubSink:
    """Publishes entries, those of a device in their order; the same entry published twice has the same `ce_id`.

    All messages of a request must have one ordering key, which is the device; so a batch becomes requests by device.
    """

    name = "pubsub"

    def __init__(self, settings: Pubsub, messages: Messages) -> None:
        self.batch_size = settings.batch_size
        self.batch_age = settings.batch_age
        self._settings = settings
        self._messages = messages
        self._client: PublisherAsyncClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._disconnect()

    async def _disconnect(self) -> None:
        if self._client is not None:
            await self._client.transport.close()
            self._client = None

    async def write(self, entries: Sequence[Entry]) -> None:
        """Publish a batch; returns when Pub/Sub has given an id to every message."""
        waiting = iter(self._by_device(entries))
        accepted: set[int] = set()
        refused: list[Rejected] = []
        if self._client is None:
            self._client = await publisher(self._settings)

        async def publish(client: PublisherAsyncClient) -> None:
            for device in waiting:
                try:
                    for request in requests(*device):
                        await self._publish(client, request)
                        accepted.update(request.positions)
                except Rejected as error:  # what is behind it keeps its place
                    refused.append(error)

        try:
            await together(*(publish(self._client) for _ in range(AT_WORK)))
        except Unavailable:
            await self._disconnect()  # else gRPC fails for seconds more, without looking, when the outage is over
            raise
        if refused:
            raise Rejected(str(refused[0]), certain=refused[0].certain, accepted=accepted)

    def _by_device(self, entries: Iterable[Entry]) -> Iterable[Request]:
        """Return the messages of a batch by topic and device; what an entry without values says is nothing."""
        found: dict[tuple[str, str], Request] = {}
        kind = PubsubMessage.pb()
        for entry in entries:
            if not entry.body:
                continue
            message = self._messages.message(with_more(entry))
            topic = self._settings.topic(entry.kind)
            device = found.get((topic, message.key))
            if device is None:
                device = found[topic, message.key] = Request(topic, [], [])
            device.positions.append(entry.position)
            device.messages.append(kind(data=message.body, attributes=message.attributes, ordering_key=message.key))
        return found.values()

    async def _publish(self, client: PublisherAsyncClient, request: Request) -> None:
        topic = topic_path(self._settings, request.topic)
        wanted = PublishRequest.pb()(topic=topic, messages=request.messages)
        try:
            await client.publish(PublishRequest.wrap(wanted), retry=None, timeout=self._settings.timeout)
        except InvalidArgument as error:
            raise Rejected(str(error.message)) from error
        except GoogleAPICallError as error:
            raise explain(error, self._settings, topic=request.topic) from error


def requests(topic: str, positions: list[int], messages: list[Any]) -> Iterator[Request]:
    """Yield messages in as many requests as the service's limits ask for.

    Raises `Rejected` at the first that no request can carry, once all before it was taken.
    """
    begin, size = 0, 0
    for number, message in enumerate(messages):
        needs = message.ByteSize() + _FRAME
        problem = _problem(message, needs)
        if number > begin and (problem or number - begin >= MOST_MESSAGES or size + needs > MOST_BYTES):
            yield Request(topic, positions[begin:number], messages[begin:number])
            begin, size = number, 0
        if problem:
            raise Rejected(problem, certain=True)
        size += needs
    if messages:
        yield Request(topic, positions[begin:], messages[begin:])


def _problem(message: Any, size: int) -> str:
    if size > MOST_BYTES:
        return f"a message of {size} bytes; Pub/Sub takes 10 MB"
    if len(message.ordering_key.encode()) > LONGEST_KEY:
        return f"a device name of more than {LONGEST_KEY} bytes; Pub/Sub takes no longer ordering key"
    return ""
