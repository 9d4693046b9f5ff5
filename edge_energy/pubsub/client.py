"""Clients of Pub/Sub: the service with its credentials, or the emulator of PUBSUB_EMULATOR_HOST."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import google.auth
import grpc.aio
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, MalformedError
from google.oauth2.service_account import Credentials
from google.pubsub_v1.services.publisher import PublisherAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

from edge_energy.errors import Unavailable
from edge_energy.together import in_thread

if TYPE_CHECKING:
    from edge_energy.config import Pubsub

HOST = "pubsub.googleapis.com"
EMULATOR = "PUBSUB_EMULATOR_HOST"
LEASE = 60
"""Seconds until a command that is not acknowledged is delivered again; one ends within some twenty."""
# gRPC's own would let an outage last for up to two minutes longer; the pauses between attempts are Delivery's.
_OPTIONS = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 2000)]


async def publisher(settings: Pubsub) -> PublisherAsyncClient:
    """Return a client that publishes and keeps topics; whoever has it closes its `transport`.

    Nothing is connected yet. Raises `Unavailable` where there are no credentials that could be tried.
    """
    return PublisherAsyncClient(transport=await _transport(PublisherGrpcAsyncIOTransport, settings))


async def subscriber(settings: Pubsub) -> SubscriberAsyncClient:
    """Return a client that pulls and keeps subscriptions; else as `publisher`."""
    return SubscriberAsyncClient(transport=await _transport(SubscriberGrpcAsyncIOTransport, settings))


def address() -> str:
    """Return where Pub/Sub is."""
    return os.environ.get(EMULATOR) or HOST


def topic_path(settings: Pubsub, topic: str) -> str:
    """Return the whole name of a topic."""
    return f"projects/{settings.project}/topics/{topic}"


def subscription_path(settings: Pubsub, subscription: str) -> str:
    """Return the whole name of a subscription."""
    return f"projects/{settings.project}/subscriptions/{subscription}"


async def _transport(kind: Any, settings: Pubsub) -> Any:
    emulator = os.environ.get(EMULATOR)
    if emulator:
        return kind(channel=grpc.aio.insecure_channel(emulator, _OPTIONS))
    # What is found by Google's libraries may be found on the network: the metadata server of a virtual machine.
    credentials: list[Any] = []
    try:
        async with asyncio.timeout(settings.timeout):
            await in_thread(lambda: credentials.append(_credentials(settings)))
    except TimeoutError:
        raise Unavailable(
            f"no Google credentials within {settings.timeout:g} s: set [pubsub] credentials, or look at the network"
        ) from None

    def channel(host: str, **parameters: Any) -> grpc.aio.Channel:
        return kind.create_channel(host, **parameters | {"options": [*parameters["options"], *_OPTIONS]})

    # A service account signs for itself what it shows, so no token endpoint has to be reached first.
    return kind(host=HOST, credentials=credentials[0], channel=channel, always_use_jwt_access=True)


def _credentials(settings: Pubsub) -> Any:
    try:
        if (key := settings.service_account()) is not None:
            return Credentials.from_service_account_info(key)
    except OSError as error:  # it was there at the start
        raise Unavailable(f"{settings.credentials_file} cannot be read: {error.strerror}") from error
    except MalformedError as error:  # names fields, never what is in them
        raise Unavailable(f"no usable key of a service account: correct [pubsub] credentials ({error})") from error
    except ValueError:  # might show some of the key
        raise Unavailable("its private key cannot be read: correct [pubsub] credentials") from None
    try:
        return google.auth.default()[0]
    except DefaultCredentialsError as error:
        raise Unavailable(
            "no Google credentials: set [pubsub] credentials to a service account's JSON key, or "
            f"GOOGLE_APPLICATION_CREDENTIALS to its file ({_first_line(error)})"
        ) from error
    except (GoogleAuthError, OSError) as error:
        raise Unavailable(
            f"cannot get Google credentials: set [pubsub] credentials ({_first_line(error)})"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
