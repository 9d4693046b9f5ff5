"""Commands for devices that are somewhere else, to Pub/Sub's topic `send_command`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
from google.api_core.exceptions import Cancelled, ClientError, GoogleAPICallError
from google.pubsub_v1.types import PubsubMessage

from edge_energy.errors import Unavailable
from edge_energy.pubsub.client import publisher, topic_path
from edge_energy.pubsub.explain import explain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.pubsub_v1.services.publisher import PublisherAsyncClient

    from edge_energy.config import Pubsub

_REFUSED = "not published"
_UNKNOWN = "nobody knows whether it was published: send it again with this command_id"
_ATTRIBUTES = {"content-type": "application/json"}


class Outgoing:
    """Publishes; connects when there is something, and again after `close`."""

    def __init__(self, settings: Pubsub) -> None:
        self._settings = settings
        self._client: PublisherAsyncClient | None = None
        self._connecting = asyncio.Lock()

    async def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.transport.close()

    async def publish(self, body: Mapping[str, Any]) -> str:
        """Publish a command as `cloud.command` reads it; return the message's id.

        Raises `Unavailable`, which says whether it was published, if anybody knows.
        """
        settings = self._settings
        client = await self._connected()
        message = PubsubMessage(data=orjson.dumps(body), attributes=_ATTRIBUTES)
        topic = topic_path(settings, settings.send_command_topic)
        try:
            # Not tried again: whoever asked does, who else would be told that it was not accepted, and see it happen.
            answer = await client.publish(topic=topic, messages=[message], retry=None, timeout=settings.timeout)
        except GoogleAPICallError as error:
            refused = isinstance(error, ClientError) and not isinstance(error, Cancelled)
            found = explain(error, settings, topic=settings.send_command_topic)
            raise Unavailable(f"{_REFUSED if refused else _UNKNOWN}: {found}", found.retry_after) from error
        return str(answer.message_ids[0])

    async def _connected(self) -> PublisherAsyncClient:
        """Return the client: made only now, as what credentials there are may be found on the network."""
        async with self._connecting:
            if self._client is None:
                try:
                    self._client = await publisher(self._settings)
                except Unavailable as error:
                    raise Unavailable(f"{_REFUSED}: {error}", error.retry_after) from error
            return self._client
