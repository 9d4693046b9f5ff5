"""Commands from a Pub/Sub subscription.

Each appliance has a subscription of its own, so all of them hear everything. Pulled by one request at a time that
waits at the service: a stream, as Google's high-level client keeps one, costs threads and their memory.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from google.api_core import exceptions

from edge_energy.cloud.letter import Letter
from edge_energy.errors import Unavailable
from edge_energy.pubsub.client import LEASE, subscriber, subscription_path
from edge_energy.pubsub.explain import explain, misled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
    from google.pubsub_v1.types import PullResponse, ReceivedMessage

    from edge_energy.config import Pubsub

AT_ONCE = 16
FIRST = 2.0
"""Seconds within which the service says that we may not pull."""
PATIENCE = 60.0
"""Seconds that a request waits for messages at the service."""
GIVING_BACK = 1.0
"""Seconds that this may take when we stop."""
_LONGEST_ID = 64 - len("pubsub:")


class PubsubCommands:
    """See `CommandSource`."""

    name = "pubsub"

    def __init__(self, settings: Pubsub) -> None:
        self._settings = settings
        self._subscription = subscription_path(settings, settings.send_command_subscription)
        self._client: SubscriberAsyncClient
        self._waiting: deque[Letter] = deque()
        self._held: set[str] = set()
        """What to acknowledge the letters by that are ours for a while."""
        self._ours_for = 0
        """Seconds of that while, by the subscription, as far as we may know."""

    async def __aenter__(self) -> Self:
        self._client = await subscriber(self._settings)
        self._waiting.clear()
        self._held.clear()
        try:
            await self._look()
            await self._pull(FIRST)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give back what is not acknowledged, if that is possible soon: else it comes when its lease ends."""
        with suppress(Unavailable):
            if self._held:
                await self._lease(list(self._held), 0, GIVING_BACK)
        await self._close()

    async def receive(self) -> Letter:
        """See `CommandSource`."""
        while not self._waiting:
            await self._pull(PATIENCE)
            if not self._waiting:  # nobody has sent anything, or nobody hears us
                await self._look()
        return self._waiting.popleft()

    async def acknowledge(self, letters: Sequence[Letter]) -> None:
        """See `CommandSource`."""
        receipts = [letter.receipt for letter in letters]
        await self._ask(
            self._client.acknowledge(
                subscription=self._subscription, ack_ids=receipts, retry=None, timeout=self._settings.timeout
            )
        )
        self._held.difference_update(receipts)

    async def _look(self) -> None:
        """Find out whether the service answers, and would have something for us.

        A request for messages may be silent for as long as it likes.
        """
        asking = self._client.get_subscription(
            subscription=self._subscription, retry=None, timeout=self._settings.timeout
        )
        try:
            found = await asking
        except exceptions.PermissionDenied:  # an answer: nobody has to be allowed more than to pull
            return
        except exceptions.GoogleAPICallError as error:
            raise self._away(error) from error
        if (problem := misled(found, self._settings)) is not None:
            raise problem
        self._ours_for = found.ack_deadline_seconds

    async def _pull(self, timeout: float) -> None:
        """Take messages, if any come, and have them to ourselves for a while."""
        try:
            answer: PullResponse = await self._client.pull(
                subscription=self._subscription, max_messages=AT_ONCE, retry=None, timeout=timeout
            )
        except exceptions.DeadlineExceeded:
            return
        except exceptions.GoogleAPICallError as error:
            raise self._away(error) from error
        if receipts := [message.ack_id for message in answer.received_messages]:
            self._waiting.extend(map(_letter, answer.received_messages))
            self._held.update(receipts)
            if self._ours_for < LEASE:
                await self._lease(receipts, LEASE, self._settings.timeout)

    async def _lease(self, receipts: list[str], seconds: int, timeout: float) -> None:
        await self._ask(
            self._client.modify_ack_deadline(
                subscription=self._subscription,
                ack_ids=receipts,
                ack_deadline_seconds=seconds,
                retry=None,
                timeout=timeout,
            )
        )

    async def _ask(self, asking: Awaitable[None]) -> None:
        try:
            await asking
        except exceptions.GoogleAPICallError as error:
            raise self._away(error) from error

    def _away(self, error: exceptions.GoogleAPICallError) -> Unavailable:
        return explain(error, self._settings, subscription=self._settings.send_command_subscription)

    async def _close(self) -> None:
        await self._client.transport.close()


def _letter(received: ReceivedMessage) -> Letter:
    message = received.message
    published = message.publish_time.timestamp() if message.publish_time else None
    return Letter(message.data, f"pubsub:{message.message_id[:_LONGEST_ID]}", published, received.ack_id)
