"""What an error of Pub/Sub means, for whom, and which setting or command ends it.

Source: google.rpc.Code. What is refused for good is INVALID_ARGUMENT alone, and only a publisher knows of what.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from google.api_core import exceptions
from google.rpc.error_details_pb2 import RetryInfo

from edge_energy.errors import Unavailable
from edge_energy.pubsub.client import LEASE, address, topic_path

if TYPE_CHECKING:
    from google.pubsub_v1.types import Subscription

    from edge_energy.config import Pubsub

QUOTA_RETRY = 30.0
LONGEST_RETRY = 300.0
"""Seconds until the next attempt when a quota is used up: where the service names no time, and at most."""
_CREATE = "create it with `edge-energy forward create-topics` or: gcloud pubsub"
_KEPT = f"--ack-deadline {LEASE} --message-retention-duration 10m --expiration-period never"
_DELETED = "_deleted-topic_"  # what the service calls the topic of a subscription whose own is gone
_OF_CREDENTIALS = "Getting metadata from plugin failed"  # what gRPC says when Google's library gets no token


def explain(
    error: exceptions.GoogleAPICallError,
    settings: Pubsub,
    *,
    topic: str | None = None,
    subscription: str | None = None,
) -> Unavailable:
    """Return what an error means that publishing to a topic, a subscription, or creating either (none given) met."""
    message = str(error.message or type(error).__name__)
    if isinstance(error, exceptions.DeadlineExceeded):
        return Unavailable(f"{address()} did not answer within {settings.timeout:g} s")
    if isinstance(error, exceptions.ServiceUnavailable):
        if _OF_CREDENTIALS in message:
            reason = message.partition("error: ")[2] or message
            return Unavailable(f"cannot get a token for Pub/Sub: look at [pubsub] credentials ({reason})")
        return Unavailable(f"cannot reach {address()}: {message}", _wish(error))
    if isinstance(error, exceptions.ResourceExhausted):
        wish = _wish(error) or QUOTA_RETRY
        return Unavailable(
            f"a quota of project {settings.project!r} is used up: ask for a higher one ({message})", wish
        )
    return Unavailable(
        f"{address()} answered {_code(error)}: {_advice(error, settings, topic, subscription)} ({message})"
    )


def misled(found: Subscription, settings: Pubsub) -> Unavailable | None:
    """Return why a subscription does not hear commands: it stays with its topic, also when that is made anew."""
    topic, name = settings.send_command_topic, settings.send_command_subscription
    if found.topic == topic_path(settings, topic):
        return None
    to = "a topic that was deleted" if found.topic == _DELETED else found.topic
    return Unavailable(
        f"subscription {name!r} is one to {to}, so no command arrives from topic {topic!r}: gcloud pubsub "
        f"subscriptions delete {name} --project {settings.project}, then {_create_subscription(settings, name)}"
    )


def _advice(
    error: exceptions.GoogleAPICallError, settings: Pubsub, topic: str | None, subscription: str | None
) -> str:
    if isinstance(error, exceptions.Unauthenticated):
        return (
            "it refuses the credentials: correct [pubsub] credentials; a key is also refused while the clock is wrong"
        )
    if isinstance(error, exceptions.PermissionDenied):
        return _permission(error, settings, topic, subscription)
    if isinstance(error, exceptions.NotFound):
        return _missing(error, settings, topic, subscription)
    if isinstance(error, exceptions.InvalidArgument):
        return "it does not understand what it was asked"
    if isinstance(error, exceptions.MethodNotImplemented):
        return f"this is not Pub/Sub: something between here and there answers for {address()}"
    return "it cannot serve now"


def _missing(
    error: exceptions.GoogleAPICallError, settings: Pubsub, topic: str | None, subscription: str | None
) -> str:
    project = settings.project
    if "project not found" in str(error.message):
        return f"there is no project {project!r}, or not for this account: correct [pubsub] project or credentials"
    if subscription is not None:
        create = _create_subscription(settings, subscription)
        return f"project {project!r} has no subscription {subscription!r}: {create}"
    if topic is not None:
        return f"project {project!r} has no topic {topic!r}: {_CREATE} topics create {topic} --project {project}"
    return "something that it needs is not there"


def _create_subscription(settings: Pubsub, name: str) -> str:
    return (
        f"{_CREATE} subscriptions create {name} --topic {settings.send_command_topic} {_KEPT} "
        f"--project {settings.project}"
    )


def _permission(
    error: exceptions.GoogleAPICallError, settings: Pubsub, topic: str | None, subscription: str | None
) -> str:
    project = settings.project
    if error.reason == "SERVICE_DISABLED":
        return f"Pub/Sub is off in this project: gcloud services enable pubsub.googleapis.com --project {project}"
    account = _account(settings)
    member = f"--member serviceAccount:{account or 'ADDRESS'}"
    if topic is not None:
        what, where, role = (
            f"publish to topic {topic!r}",
            f"pubsub topics add-iam-policy-binding {topic}",
            "publisher",
        )
    elif subscription is not None:
        what = f"pull from subscription {subscription!r}"
        where, role = f"pubsub subscriptions add-iam-policy-binding {subscription}", "subscriber"
    else:
        what, where, role = "create topics and subscriptions", f"projects add-iam-policy-binding {project}", "editor"
    in_project = "" if where.startswith("projects") else f" --project {project}"
    who = f"account {account}" if account else "the account of these credentials"
    return f"{who} may not {what}: gcloud {where}{in_project} {member} --role roles/pubsub.{role}"


def _account(settings: Pubsub) -> str:
    """Return the address of the service account whose key is used, where that can be seen."""
    try:
        key = settings.service_account() or json.loads(
            Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"]).read_text("utf-8")
        )
        return str(key["client_email"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _wish(error: exceptions.GoogleAPICallError) -> float | None:
    """Return how many seconds the service wants to be left alone, within reason."""
    for detail in error.details or ():
        if isinstance(detail, RetryInfo):
            seconds = float(detail.retry_delay.seconds + detail.retry_delay.nanos / 1e9)
            return min(LONGEST_RETRY, max(0.0, seconds))
    return None


def _code(error: exceptions.GoogleAPICallError) -> str:
    return error.grpc_status_code.name if error.grpc_status_code else type(error).__name__
