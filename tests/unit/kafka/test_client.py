"""Settings in, reasons out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from confluent_kafka import KafkaError, Producer

from edge_energy.config import Kafka as Settings
from edge_energy.errors import Rejected, TooLarge, Unavailable
from edge_energy.kafka import client
from edge_energy.kafka.client import Trouble, configuration, explain

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "the-secret"


def settings(**more: Any) -> Settings:
    return Settings.model_validate({"brokers": "kafka1:9092,kafka2:9092"} | more)


def own(name: str, text: str = "", *, fatal: bool = False) -> KafkaError:
    """Return one of librdkafka's own errors, by its name."""
    return KafkaError(getattr(KafkaError, name), text or None, fatal)


@pytest.fixture
def pem(tmp_path: Path) -> dict[str, str]:
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    for file in files.values():
        file.touch()
    return {f"{name}_file": str(file) for name, file in files.items()}


def test_each_way_in_has_its_protocol(pem: dict[str, str]) -> None:
    """With and without a password, with and without TLS."""
    login = {"username": "edge", "password": SECRET}
    found = {
        configuration(settings(**more), "c")["security.protocol"]
        for more in ({}, login, {"tls": True}, {"tls": True} | login)
    }
    assert found == {"plaintext", "sasl_plaintext", "ssl", "sasl_ssl"}
    whole = configuration(settings(tls=True, **pem, **login, mechanism="PLAIN"), "c")
    assert {name: value for name, value in whole.items() if name.startswith(("ssl", "sasl"))} == {
        "ssl.endpoint.identification.algorithm": "https",
        "ssl.ca.location": pem["ca_file"],
        "ssl.certificate.location": pem["cert_file"],
        "ssl.key.location": pem["key_file"],
        "sasl.mechanism": "PLAIN",
        "sasl.username": "edge",
        "sasl.password": SECRET,
    }


def test_files_are_not_read_without_tls(pem: dict[str, str]) -> None:
    """Whoever switches encryption off for a moment keeps the rest of the block."""
    assert not [name for name in configuration(settings(**pem), "c") if name.startswith("ssl")]


@pytest.mark.parametrize("timeout", ["3s", "10s", "30s", "5m"])
def test_two_answers_in_a_row_may_get_lost(timeout: str) -> None:
    """Within the timeout it is asked a third time, and that is answered. No timeout is shorter than a second."""
    found = settings(timeout=timeout)
    for name in ("socket.timeout.ms", "socket.connection.setup.timeout.ms"):
        assert configuration(found, "c")[name] * 3 <= found.timeout * 1000


@pytest.mark.parametrize("timeout", ["1s", "3s", "30s", "5m"])
def test_librdkafka_takes_the_settings(timeout: str) -> None:
    """Each name and each limit of the configuration is one of its own."""
    Producer(configuration(settings(timeout=timeout, username="edge", password=SECRET), "c")).close()


def test_what_librdkafka_logs_goes_to_our_log(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """For developers only: what matters is an error as well. stderr is never written to raw."""
    with structlog.testing.capture_logs() as lines, caplog.at_level(logging.DEBUG):
        producer = Producer(configuration(settings(brokers="127.0.0.1:1", username="u", password=SECRET), "c"))
        producer.flush(0.3)
        for _ in range(10):
            producer.poll(0.05)
        producer.close()
    assert {line["log_level"] for line in lines} == {"debug"}
    assert any("refused" in line["said"] for line in lines)
    assert SECRET not in repr(lines)
    assert capfd.readouterr() == ("", "")


CERTIFICATES = r"correct \[kafka\] ca_file, cert_file or key_file"
REFUSED = (
    "kafka1:9092/bootstrap: Connect to ipv4#1.2.3.4:9092 failed: Connection refused (after 5ms in state CONNECT)"
)
NOT_FOUND = "sasl_ssl://kafka1:9092/bootstrap: Failed to resolve 'kafka1:9092'"
UNAVAILABLE = [
    ("_TIMED_OUT", "", r"^kafka1:9092,kafka2:9092 did not answer within 30 s$"),
    (
        "_TRANSPORT",
        REFUSED,
        r"^cannot reach kafka1:9092,kafka2:9092: kafka1:9092: Connect to .*:9092 failed: .* refused$",
    ),
    ("_RESOLVE", NOT_FOUND, r": kafka1:9092: Failed to resolve 'kafka1:9092'$"),
    ("_ALL_BROKERS_DOWN", "2/2 brokers are down", r"are down; are \[kafka\] tls and username right\?$"),
    ("_SSL", "ssl://kafka1:9092/1: SSL handshake failed: certificate verify failed", CERTIFICATES),
    ("_TRANSPORT", "ssl://kafka1:9092/1: Receive failed: SSL alert number 42", CERTIFICATES),
    ("_INVALID_ARG", "ssl.key.location failed: no start line", CERTIFICATES),
    ("_AUTHENTICATION", "invalid credentials with SASL mechanism PLAIN", r"correct \[kafka\] username or password"),
    ("_AUTHENTICATION", "SASL PLAIN mechanism handshake failed", r"correct \[kafka\] mechanism or username"),
    ("UNKNOWN_TOPIC_OR_PART", "", r"no topic 'events': .*create-topics.*correct \[kafka\] incidents_topic"),
    ("TOPIC_AUTHORIZATION_FAILED", "", r"user 'edge' may not use topic 'events': .* \[kafka\] incidents_topic"),
    ("GROUP_AUTHORIZATION_FAILED", "", r"may not read as group 'house': allow it, or correct \[kafka\] group"),
    ("CLUSTER_AUTHORIZATION_FAILED", "", r"user 'edge' may not do that: allow it, or correct \[kafka\] username"),
    ("NOT_ENOUGH_REPLICAS", "", r"^kafka1:9092,kafka2:9092: it cannot serve now \(Broker: Not enough"),
]


@pytest.mark.parametrize(("name", "text", "says"), UNAVAILABLE)
def test_an_error_says_what_happened_where_and_which_setting(name: str, text: str, says: str) -> None:
    """No secret, and nothing that only librdkafka's developers understand."""
    found = explained(own(name, text))
    with pytest.raises(Unavailable, match=says):
        raise found
    assert SECRET not in str(found)


def test_errors_of_the_data_are_told_apart() -> None:
    """What a smaller batch helps against, what may be the far side's fault, and what never is."""
    large = explained(own("MSG_SIZE_TOO_LARGE"))
    refused, too_old = explained(own("INVALID_RECORD")), explained(own("INVALID_TIMESTAMP"))
    assert isinstance(large, TooLarge)
    assert isinstance(refused, Rejected)
    assert isinstance(too_old, Rejected)
    assert (refused.certain, too_old.certain) == (False, True)
    assert "topic 'events'" in str(large)
    assert "topic 'events'" in str(refused)


def explained(error: KafkaError) -> Exception:
    given = settings(incidents_topic="events", group="house", username="edge", password=SECRET)
    return explain(error, given, "events")


class Clock:
    """Seconds, as a test tells them."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        """Return them."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(client, "time", found)
    return found


def test_a_wrong_setting_is_hopeless_after_a_while(clock: Clock) -> None:
    """Not at once: another broker may see it differently. And not later because it is said again."""
    trouble = Trouble()
    for _ in range(3):
        assert not trouble.hopeless()
        trouble(own("_AUTHENTICATION"))
        clock.now += client.PATIENCE / 2
    assert trouble.hopeless()
    trouble.forget()
    assert not trouble.hopeless()


def test_a_broker_that_is_away_is_waited_for(clock: Clock) -> None:
    """However long: that is the timeout's to end."""
    trouble = Trouble()
    trouble(own("_TRANSPORT"))
    clock.now += 1000
    assert not trouble.hopeless()


def test_a_fatal_error_is_hopeless_at_once(clock: Clock) -> None:
    """No message leaves such a producer."""
    trouble = Trouble()
    trouble(own("OUT_OF_ORDER_SEQUENCE_NUMBER", "text", fatal=True))
    clock.now += 0.001
    assert trouble.hopeless()


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        (["_TRANSPORT", "_ALL_BROKERS_DOWN"], "_TRANSPORT"),
        (["_ALL_BROKERS_DOWN", "_TRANSPORT"], "_TRANSPORT"),
        (["_TRANSPORT", "_RESOLVE"], "_RESOLVE"),
        (["_AUTHENTICATION", "_TRANSPORT", "_ALL_BROKERS_DOWN"], "_AUTHENTICATION"),
        (["_SSL", "_AUTHENTICATION"], "_AUTHENTICATION"),
        (["_ALL_BROKERS_DOWN"], "_ALL_BROKERS_DOWN"),
    ],
)
def test_the_reason_that_says_most_is_kept(errors: list[str], told: str) -> None:
    """That all are down says less than why one is, and that less than what somebody can correct."""
    trouble = Trouble()
    for name in errors:
        trouble(own(name))
    assert trouble.last is not None
    assert trouble.last.name() == told
