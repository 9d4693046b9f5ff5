"""The real servers as fixtures: each test gets brokers, a bucket, topics of its own."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.servers import curl as curl_program
from tests.servers.base import MissingError, require
from tests.servers.influxdb import InfluxDB
from tests.servers.kafka import Kafka
from tests.servers.mosquitto import Mosquitto
from tests.servers.pubsub import Pubsub
from tests.servers.shelly import SimulatedShelly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# How quick the machine is says nothing about a property. CI tries the same examples each time; whoever runs the tests
# by hand, others.
settings.register_profile(
    "any machine",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("CI") == "true",
)
settings.load_profile("any machine")

# pytest puts another sys.stdout in its place for each test. Python 3.11 crashes where a thread that has outlived its
# test, such as one that librdkafka calls, prints at that moment: descriptor 1 stays, and is captured as well.
structlog.configure(logger_factory=structlog.PrintLoggerFactory(open(1, "w", closefd=False)))  # noqa: SIM115


@contextlib.contextmanager
def skipped_if_missing() -> Iterator[None]:
    """Skip where a user's machine lacks a server; in CI that is a failure."""
    try:
        yield
    except MissingError as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture
def mosquitto() -> Iterator[Callable[..., Mosquitto]]:
    """Start brokers: call it with the parameters of `Mosquitto`; all end with the test."""
    with contextlib.ExitStack() as brokers:

        def start(**parameters: Any) -> Mosquitto:
            with skipped_if_missing():
                broker = Mosquitto(**parameters)
            return brokers.enter_context(broker)

        yield start


@pytest.fixture
def curl() -> Path:
    """Give the program."""
    with skipped_if_missing():
        return require(curl_program)


@pytest.fixture(scope="session")
def influxdb_server() -> Iterator[InfluxDB]:
    with skipped_if_missing():
        server = InfluxDB()
    with server:
        yield server


@pytest.fixture
def influxdb(influxdb_server: InfluxDB) -> Iterator[InfluxDB]:
    """Give the session's server with a new, empty bucket; a test may kill it."""
    influxdb_server.fresh_bucket()
    yield influxdb_server
    influxdb_server.resume()
    if not influxdb_server.running:
        influxdb_server.start()


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[Kafka]:
    with skipped_if_missing():
        server = Kafka()
    with server:
        yield server


@pytest.fixture
def kafka(kafka_server: Kafka) -> Iterator[Kafka]:
    """Give the session's broker with new, empty topics; a test may kill it."""
    kafka_server.fresh_topics()
    yield kafka_server
    kafka_server.resume()
    if not kafka_server.running:
        kafka_server.start()


@pytest.fixture(scope="session")
def pubsub_server() -> Iterator[Pubsub]:
    with skipped_if_missing():
        server = Pubsub()
    with server:
        yield server


@pytest.fixture
def pubsub(pubsub_server: Pubsub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pubsub]:
    """Give the session's emulator with a new project, and let Google's clients talk to it; a test may kill it."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_server.host)
    pubsub_server.fresh_project()
    yield pubsub_server
    pubsub_server.resume()
    if not pubsub_server.running:
        pubsub_server.start()


@pytest.fixture
def shelly(tmp_path: Path) -> Iterator[Callable[..., SimulatedShelly]]:
    """Start simulated Shelly devices: call it with the parameters of `SimulatedShelly` behind the directory."""
    started: list[SimulatedShelly] = []
    with contextlib.ExitStack() as running:

        def start(*devices: str, **parameters: Any) -> SimulatedShelly:
            started.append(SimulatedShelly(tmp_path, *devices, **parameters))
            return running.enter_context(started[-1])

        yield start
    for each in started:
        assert each.returncode == 0
        assert "Traceback" not in each.log.read_text()
