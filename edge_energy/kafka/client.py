"""How librdkafka is told about the cluster, and what it tells us: settings in, reasons out.

Sources: librdkafka's CONFIGURATION.md; the error codes of the Kafka protocol. librdkafka's own begin with `_`.
"""

from __future__ import annotations

import asyncio
import math
import re
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from confluent_kafka import KafkaException

from edge_energy.errors import Rejected, TooLarge, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

    from confluent_kafka import Consumer, KafkaError, Producer

    from edge_energy.config import Kafka

log = structlog.get_logger()

LONGEST_SILENCE = 10.0
"""Seconds after which a connection that answers nothing is given up, and what was asked is asked again."""
PATIENCE = 2.0
"""Seconds for which a wrong setting is believed to be one broker's view, or to pass."""

_LONGEST_QUESTION = 2.0  # seconds; a thread that asks cannot be cancelled

_TOO_LARGE = {"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"}
# What a broker says of the data itself; of a whole set of records it may say it for one of them.
_REFUSED = {"INVALID_TIMESTAMP", "INVALID_RECORD", "_INVALID_DIFFERENT_RECORD", "POLICY_VIOLATION"}
_MISSING = {"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "TOPIC_EXCEPTION"}
_SILENT = {"_TIMED_OUT", "_MSG_TIMED_OUT", "_TIMED_OUT_QUEUE", "REQUEST_TIMED_OUT"}
_PASSWORD = {"_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED"}
_CERTIFICATES = re.compile(r"\bssl\.(ca|certificate|key)\.location\b|\bSSL alert\b")
_CONNECTION = {"_TRANSPORT", "_RESOLVE", "_ALL_BROKERS_DOWN"}

# What only a developer wants to read in librdkafka's texts.
_DETAIL = re.compile(
    r"/(?:bootstrap|[0-9]+)(?=: )|\b(?:sasl_)?(?:ssl|plaintext)://| \(after [0-9]+ms in state [^)]*\)"
)


def configuration(settings: Kafka, client_id: str) -> dict[str, Any]:
    """Return what producers, consumers and admin clients have in common. The password is in it."""
    return {
        "bootstrap.servers": settings.brokers,
        "client.id": client_id,
        **_security(settings),
        "socket.keepalive.enable": True,
        "socket.nagle.disable": True,
        "socket.timeout.ms": silence(settings),
        "socket.connection.setup.timeout.ms": silence(settings),
        "reconnect.backoff.ms": 250,
        "reconnect.backoff.max.ms": 1000,  # so soon the end of an outage is noticed
        "enable.metrics.push": False,
        "log.connection.close": False,
        "logger": _Log(),
    }


def silence(settings: Kafka) -> int:
    """Return the milliseconds after which a request that is not answered is made again; a second is the least.

    A third of the timeout: two answers in a row may get lost.
    """
    return max(1000, int(min(settings.timeout / 3, LONGEST_SILENCE) * 1000))


def _security(settings: Kafka) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if settings.username is not None and settings.password is not None:
        found["sasl.mechanism"] = settings.mechanism
        found["sasl.username"] = settings.username
        found["sasl.password"] = settings.password.get_secret_value()
    found["security.protocol"] = ("sasl_" if found else "") + ("ssl" if settings.tls else "plaintext")
    if settings.tls:
        found["ssl.endpoint.identification.algorithm"] = "https"  # the certificate must be of that host
        files = {"ca": settings.ca_file, "certificate": settings.cert_file, "key": settings.key_file}
        found |= {f"ssl.{name}.location": str(file) for name, file in files.items() if file is not None}
    return found


class _Log:
    """Takes what librdkafka would write to stderr: what matters of it reaches us as errors, too."""

    def log(self, _level: int, pattern: str, *words: object) -> None:
        """Do what a `logging.Logger` does."""
        log.debug("librdkafka", said=pattern % words)


class Trouble:
    """What librdkafka reports beside the calls, to `error_cb`: why it cannot connect, or must not go on."""

    def __init__(self) -> None:
        self.last: KafkaError | None = None
        """The reason that says most, since `forget`."""
        self._hopeless_from = math.inf

    def __call__(self, error: KafkaError) -> None:
        """Note an error."""
        wrong = _is_wrong(error)
        if error.fatal():
            self._hopeless_from = 0.0
        elif wrong:
            self._hopeless_from = min(self._hopeless_from, time.monotonic() + PATIENCE)
        elif self.last is not None and (_is_wrong(self.last) or error.name() == "_ALL_BROKERS_DOWN"):
            return
        self.last = error

    def forget(self) -> None:
        """Begin anew: the cluster has answered."""
        self.last = None
        self._hopeless_from = math.inf

    def hopeless(self) -> bool:
        """Tell whether waiting does not help: a setting is wrong for a while already, or the session is lost."""
        return time.monotonic() > self._hopeless_from


@contextmanager
def explained(settings: Kafka, topic: str | None = None) -> Iterator[None]:
    """Raise librdkafka's exceptions as `explain` has them; making any client can raise one, at a file with no key."""
    try:
        yield
    except KafkaException as error:
        raise explain(error.args[0], settings, topic) from None


def close(client: Producer | Consumer) -> None:
    """End a client without waiting for it: looking up a name cannot be hurried. Nobody may still use it."""
    threading.Thread(target=client.close, name="kafka closing", daemon=True).start()


class Client(Protocol):
    """A consumer or an admin client of confluent_kafka."""

    def list_topics(self, *, timeout: float) -> Any:
        """Ask the cluster for its `ClusterMetadata`."""
        ...

    def poll(self, timeout: float) -> object:
        """Let it call `error_cb`."""
        ...


async def known_topics(
    client: Client, settings: Kafka, trouble: Trouble, thread: Executor | None = None
) -> dict[str, list[int]]:
    """Return which topics there are, with their partitions. Raises `Unavailable`, soon where a setting is wrong.

    It asks in `thread`: a client that is closed there is closed after a question that was given up.
    """
    deadline = time.monotonic() + settings.timeout
    while True:
        try:
            ask = partial(client.list_topics, timeout=min(settings.timeout, _LONGEST_QUESTION))
            found = await asyncio.get_running_loop().run_in_executor(thread, ask)
        except KafkaException as error:
            client.poll(0)
            if trouble.hopeless() or time.monotonic() > deadline:
                raise explain(trouble.last or error.args[0], settings) from None
        else:
            return {name: list(topic.partitions) for name, topic in found.topics.items()}


def explain(error: KafkaError, settings: Kafka, topic: str | None = None) -> Unavailable | Rejected | TooLarge:
    """Return what an error means for the entries, for whom, and which setting to correct."""
    name, said = error.name(), _plain(error)
    if name in _TOO_LARGE:
        return TooLarge(f"more than topic {topic!r} takes at once: see its max.message.bytes ({said})")
    if name in _REFUSED:
        return Rejected(f"topic {topic!r} does not take it: {said}", certain=name == "INVALID_TIMESTAMP")
    if name in _SILENT:
        return Unavailable(f"{settings.brokers} did not answer within {settings.timeout:g} s")
    if name in _CONNECTION and not _is_wrong(error):
        hint = "; are [kafka] tls and username right?" if name == "_ALL_BROKERS_DOWN" or "SSL" in said else ""
        return Unavailable(f"cannot reach {settings.brokers}: {said}{hint}")
    return Unavailable(f"{settings.brokers}: {_advice(error, settings, topic)} ({said})")


def missing(settings: Kafka, topic: str) -> Unavailable:
    """Return what it means that a topic does not exist."""
    return Unavailable(f"{settings.brokers}: {_no_topic(settings, topic)}")


def _plain(error: KafkaError) -> str:
    """Return librdkafka's text as one who is not its developer wants it."""
    return _DETAIL.sub("", error.str())


def _advice(error: KafkaError, settings: Kafka, topic: str | None) -> str:
    name = error.name()
    if name in _MISSING:
        return _no_topic(settings, topic)
    if name.endswith("_AUTHORIZATION_FAILED"):
        we = "we" if settings.username is None else f"user {settings.username!r}"
        what, correct = {
            "TOPIC_AUTHORIZATION_FAILED": (f"use topic {topic!r}", settings.topic_setting(topic)),
            "GROUP_AUTHORIZATION_FAILED": (f"read as group {settings.group!r}", "group"),
        }.get(name, ("do that", "username"))
        return f"{we} may not {what}: allow it, or correct [kafka] {correct}"
    if _is_about_certificates(error):
        return "no trust in the certificates: correct [kafka] ca_file, cert_file or key_file"
    if name in _PASSWORD:
        correct = "mechanism or username" if "handshake" in error.str() else "username or password"
        return f"it refuses who we are: correct [kafka] {correct}"
    return "it cannot serve now"


def _is_wrong(error: KafkaError) -> bool:
    """Tell whether it is a setting, ours or theirs, that somebody must correct before we can connect."""
    return error.name() in _PASSWORD or _is_about_certificates(error)


def _is_about_certificates(error: KafkaError) -> bool:
    """Tell whether we do not trust them, they do not trust us, or what is in a file is none."""
    return error.name() == "_SSL" or _CERTIFICATES.search(error.str()) is not None


def _no_topic(settings: Kafka, topic: str | None) -> str:
    create = "`edge-energy forward create-topics` makes it"
    return f"it has no topic {topic!r}: {create}, or correct [kafka] {settings.topic_setting(topic)}"
