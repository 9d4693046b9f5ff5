"""Commands to Pub/Sub: accepted is what it has, and whatever else happens says what to do."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from edge_energy.cloud import outgoing as module
from edge_energy.cloud.command import Wanted, parse
from edge_energy.cloud.outgoing import Outgoing
from edge_energy.config import Pubsub as Settings
from edge_energy.errors import Unavailable
from edge_energy.pubsub.client import publisher
from tests.unit.pubsub.service import Service

if TYPE_CHECKING:
    from google.pubsub_v1.services.publisher import PublisherAsyncClient

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


async def test_those_who_come_first_share_one_connection(pubsub: Pubsub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finding credentials may take its time."""
    made: list[PublisherAsyncClient] = []

    async def slowly(settings: Settings) -> PublisherAsyncClient:
        await asyncio.sleep(0)
        made.append(await publisher(settings))
        return made[-1]

    monkeypatch.setattr(module, "publisher", slowly)
    outgoing = Outgoing(Settings(project=pubsub.project))
    await asyncio.gather(*(outgoing.publish(BODY) for _ in range(5)))
    assert len(made) == 1
    await outgoing.close()


KNOWN = {
    "not published": ("NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT"),
    "nobody knows whether": ("DEADLINE_EXCEEDED", "UNAVAILABLE", "INTERNAL", "UNKNOWN", "CANCELLED"),
}


@pytest.mark.parametrize(("words", "code"), [(words, code) for words, codes in KNOWN.items() for code in codes])
async def test_whether_it_was_published_is_told_as_far_as_anybody_knows(
    monkeypatch: pytest.MonkeyPatch, words: str, code: str
) -> None:
    """Whoever takes "not published" for true sends another one, and both are carried out."""
    async with Service() as service:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", service.host)
        service.refuse(grpc.StatusCode[code])
        outgoing = Outgoing(Settings(project="my-project-1", timeout=5.0))
        with pytest.raises(Unavailable, match=f"^{words}"):
            await outgoing.publish(BODY)
        await outgoing.close()


async def test_without_credentials_nothing_was_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    with pytest.raises(Unavailable, match=r"^not published: .*/nowhere/key\.json"):
        await Outgoing(Settings(project="my-project-1")).publish(BODY)
