"""Each answer of Pub/Sub is told to whom it concerns, with the setting or the command that ends it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.api_core import exceptions

from edge_energy.config import Pubsub
from edge_energy.errors import Rejected, Unavailable
from edge_energy.messages import Messages
from edge_energy.pubsub.explain import LONGEST_RETRY, QUOTA_RETRY, explain
from edge_energy.sinks.pubsub import PubsubSink
from tests.servers.base import HOST, free_port
from tests.unit.pubsub.service import Service, because, retry_after
from tests.unit.samples import entry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

KEY = {
    "type": "service_account",
    "client_email": "edge@my-project-1.iam.gserviceaccount.com",
    "private_key": "secret",
}
Code = grpc.StatusCode


def settings(**more: Any) -> Pubsub:
    return Pubsub.model_validate({"project": "my-project-1", "timeout": "5s"} | more)


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    async with Service() as running:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", running.host)
        yield running


async def write(found: Pubsub) -> None:
    async with asyncio.timeout(10), PubsubSink(found, Messages("house-1", "j")) as sink:
        await sink.write([entry(1)])


@pytest.mark.parametrize(
    ("code", "details", "told"),
    [
        (
            Code.NOT_FOUND,
            [],
            "project 'my-project-1' has no topic 'shelly_data': "
            "create it with `edge-energy forward create-topics` or: "
            "gcloud pubsub topics create shelly_data --project my-project-1 (because)",
        ),
        (
            Code.PERMISSION_DENIED,
            [],
            "account edge@my-project-1.iam.gserviceaccount.com may not publish to topic 'shelly_data': "
            "gcloud pubsub topics add-iam-policy-binding shelly_data --project my-project-1 "
            "--member serviceAccount:edge@my-project-1.iam.gserviceaccount.com --role roles/pubsub.publisher",
        ),
        (
            Code.PERMISSION_DENIED,
            [because("SERVICE_DISABLED")],
            "gcloud services enable pubsub.googleapis.com --project my-project-1",
        ),
        (Code.UNAUTHENTICATED, [], "it refuses the credentials: correct [pubsub] credentials"),
        (Code.RESOURCE_EXHAUSTED, [], "a quota of project 'my-project-1' is used up"),
        (Code.UNIMPLEMENTED, [], "this is not Pub/Sub"),
        (Code.UNAVAILABLE, [], "cannot reach"),
        (Code.DEADLINE_EXCEEDED, [], "did not answer within 5 s"),
        (Code.INTERNAL, [], "answered INTERNAL: it cannot serve now (because)"),
        (Code.ABORTED, [], "answered ABORTED: it cannot serve now"),
        (Code.CANCELLED, [], "answered CANCELLED: it cannot serve now"),
        (Code.FAILED_PRECONDITION, [], "it cannot serve now"),
        (Code.UNKNOWN, [], "it cannot serve now"),
    ],
)
async def test_what_the_operator_can_do_is_named(service: Service, code: Any, details: list[Any], told: str) -> None:
    """Nothing is lost meanwhile, and no secret is told."""
    service.refuse(code, "because", *details)
    with pytest.raises(Unavailable) as caught:
        await write(settings(credentials=json.dumps(KEY)))
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_project_that_is_not_there_is_named(service: Service) -> None:
    """Topics cannot be made in it."""
    service.refuse(Code.NOT_FOUND, "Requested project not found or user does not have access to it (project=x)")
    with pytest.raises(Unavailable, match=r"correct \[pubsub\] project or credentials"):
        await write(settings())


async def test_what_it_does_not_take_is_rejected(service: Service) -> None:
    """Sending it again cannot help; but a hundred of them may be something else's fault."""
    service.refuse(Code.INVALID_ARGUMENT, "not so")
    with pytest.raises(Rejected, match="not so") as caught:
        await write(settings())
    assert not caught.value.certain


@pytest.mark.parametrize(
    ("code", "details", "wish"),
    [
        (Code.RESOURCE_EXHAUSTED, [], QUOTA_RETRY),
        (Code.RESOURCE_EXHAUSTED, [retry_after(7)], 7.0),
        (Code.RESOURCE_EXHAUSTED, [retry_after(10**6)], LONGEST_RETRY),
        (Code.UNAVAILABLE, [retry_after(3)], 3.0),
        (Code.UNAVAILABLE, [], None),
    ],
)
async def test_its_wish_to_be_left_alone_is_respected(
    service: Service, code: Any, details: list[Any], wish: float | None
) -> None:
    """Within reason; a quota is not asked for every second."""
    service.refuse(code, "later", *details)
    with pytest.raises(Unavailable) as caught:
        await write(settings())
    assert caught.value.retry_after == wish


async def test_a_port_where_nobody_listens_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, not after the timeout."""
    address = f"{HOST}:{free_port()}"
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", address)
    with pytest.raises(Unavailable, match=f"cannot reach {address}"):
        await write(settings(timeout="5m"))


def denied(**what: str) -> str:
    return str(explain(exceptions.PermissionDenied("because"), settings(), **what))


def test_each_permission_has_its_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where the key is one that Google's library finds; where none can be seen, an address is to be put in."""
    file = tmp_path / "key.json"
    file.write_text(json.dumps(KEY))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    member = f"--member serviceAccount:{KEY['client_email']}"
    topic = f"topics add-iam-policy-binding t-1 --project my-project-1 {member} --role roles/pubsub.publisher"
    subscription = (
        f"subscriptions add-iam-policy-binding s-1 --project my-project-1 {member} --role roles/pubsub.subscriber"
    )
    assert topic in denied(topic="t-1")
    assert subscription in denied(subscription="s-1")
    assert f"projects add-iam-policy-binding my-project-1 {member} --role roles/pubsub.editor" in denied()
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    assert "the account of these credentials may not publish" in denied(topic="t-1")
    assert "--member serviceAccount:ADDRESS" in denied(topic="t-1")


def test_a_missing_subscription_is_created_for_the_topic_of_commands() -> None:
    told = str(explain(exceptions.NotFound("gone"), settings(), subscription="s-1"))
    kept = "--ack-deadline 60 --message-retention-duration 10m --expiration-period never"
    assert f"gcloud pubsub subscriptions create s-1 --topic send_command {kept} --project my-project-1" in told
    assert "edge-energy forward create-topics" in told


def test_an_error_that_says_nothing_is_told_all_the_same() -> None:
    """Google's library has errors without text, code or details."""
    assert "GoogleAPICallError" in str(explain(exceptions.GoogleAPICallError(""), settings()))
