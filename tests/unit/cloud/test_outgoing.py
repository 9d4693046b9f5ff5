"""Commands to Pub/Sub: accepted is what it has, and whatever else happens says what to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_energy.cloud.command import Wanted, parse
from edge_energy.cloud.outgoing import Outgoing
from edge_energy.config import Pubsub as Settings
from edge_energy.errors import Unavailable

if TYPE_CHECKING:
    from tests.servers.pubsub import Pubsub

BODY: dict[str, Any] = {"device_id": "shelly-1", "switch": True, "command_id": "app:1", "for": 1800.0}


async def test_what_is_published_is_there_as_the_inbox_reads_it(pubsub: Pubsub) -> None:
    """Also after its connection was closed: it makes another one."""
    outgoing = Outgoing(Settings(project=pubsub.project))
    for _ in range(2):
        number = await outgoing.publish(BODY)
        (message,) = pubsub.pull("send_command")
        assert (message.id, json.loads(message.data)) == (number, BODY)
        assert parse(message.data) == Wanted("shelly-1", True, "app:1", 1800.0)
        await outgoing.close()
    await outgoing.close()


async def test_what_is_not_accepted_says_why(pubsub: Pubsub) -> None:
    """A topic that is missing is made by a command; a service that is away is said to be."""
    outgoing = Outgoing(Settings(project=pubsub.project, timeout=3.0))
    pubsub.delete_topic("send_command")
    with pytest.raises(Unavailable, match=r"no topic 'send_command'.*create-topics"):
        await outgoing.publish(BODY)
    pubsub.kill()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        await outgoing.publish(BODY)
    await outgoing.close()
