"""Commands for devices that are somewhere else, to Pub/Sub's topic `send_command`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from google.api_core.exceptions import GoogleAPICallError
from google.pubsub_v1.types import PubsubMessage

from edge_energy.errors import Rejected, Unavailable
from edge_energy.pubsub.client import publisher, topic_path
from edge_energy.pubsub.explain import explain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.pubsub_v1.services.publisher import PublisherAsyncClient

    from edge_energy.config import Pubsub

_ATTRIBUTES = {"content-type": "application/json"}


class Outgoing:
    """Publishes; connects when there is something, and again after `close`."""

    def __init__(self, settings: Pubsub) -> None:
        self._settings = settings
        self._client: PublisherAsyncClient | None = None

    async def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.transport.close()

    async def publish(self, body: Mapping[str, Any]) -> str:
        """Publish a command as `cloud.command` reads it; return the message's id. Raises `Unavailable`."""
        settings = self._settings
        if self._client is None:  # only now: what credentials there are may be found on the network
            client = await publisher(settings)
            self._client = self._client or client  # somebody else may have been quicker
        message = PubsubMessage(data=orjson.dumps(body), attributes=_ATTRIBUTES)
        topic = topic_path(settings, settings.send_command_topic)
        try:
            # Not tried again: whoever asked does, who else would be told that it was not accepted, and see it happen.
            answer = await self._client.publish(topic=topic, messages=[message], retry=None, timeout=settings.timeout)
        except GoogleAPICallError as error:
            found = explain(error, settings, topic=settings.send_command_topic)
            raise Unavailable(str(found)) if isinstance(found, Rejected) else found from error
        return str(answer.message_ids[0])
