"""What the acceptance tests share: a house on a broker, the daemon beside it, and what of it is in the database."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.servers.base import say, wait_until
from tests.servers.daemon import Daemon, influxdb_section, mqtt_section
from tests.servers.publisher import announce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from tests.servers.influxdb import InfluxDB
    from tests.servers.mosquitto import Mosquitto
    from tests.servers.publisher import Sent

LONG = bool(os.environ.get("LONG_TESTS"))
"""Whether there is time for the long versions: `make torture`."""
PLUGS = 50
FRESH = 2.0  # seconds within which a message that is recorded as current must have arrived


class Point(NamedTuple):
    """One point of the database: the message it is of, and when (UTC ns) that is said to have happened."""

    seq: int
    device: str
    time: int
    span: int | None
    sent: int
    power: float | None


class House:
    """A broker that knows the plugs, the daemon that listens to it, the database that it writes to."""

    def __init__(self, broker: Mosquitto, influxdb: InfluxDB, directory: Path) -> None:
        self.broker = broker
        self.influxdb = influxdb
        self.daemon = Daemon(directory, self.configuration(broker.port))
        for topic, payload in announce(PLUGS).items():
            broker.publish(topic, payload, retain=True)

    def configuration(self, port: int, more: str = "") -> str:
        """Return the daemon's configuration, with the broker behind this port."""
        influxdb = self.influxdb
        return mqtt_section(port, more) + influxdb_section(influxdb.url, influxdb.bucket, influxdb.token)

    def source(self) -> dict[str, Any]:
        """Return what the daemon says of its broker."""
        report: dict[str, Any] = self.daemon.status()["sources"][0]
        return report

    def wait_settled(self, count: int, timeout: float = 60) -> None:
        """Wait until the daemon has nothing left to acknowledge or to deliver, and so many messages are there.

        Fewer are no error here: the test says what it misses.
        """
        self._wait_quiet(timeout)
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: self.influxdb.count("seq") >= count, timeout / 2)
        self._wait_quiet(timeout)

    def _wait_quiet(self, timeout: float) -> None:
        try:
            self.daemon.wait_for(_settled, timeout, "everything acknowledged and delivered")
        except TimeoutError as late:
            raise AssertionError(f"{late}: {self.daemon.status()}\n{self.daemon.log.read_text()}") from None

    def points(self) -> list[Point]:
        """Return every point that a message of the publisher has become."""
        wanted = " or ".join(f'r._field == "{name}"' for name in ("seq", "sent_s", "sent_ns", "span", "power"))
        rows = self.influxdb.query(
            f'from(bucket: "{self.influxdb.bucket}") |> range(start: 0, stop: 2200-01-01T00:00:00Z)'
            f' |> filter(fn: (r) => r._measurement == "energy" and ({wanted}))'
            ' |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")'
            " |> map(fn: (r) => ({r with _time: int(v: r._time)}))"
        )
        return [_point(row) for row in rows]


def _settled(status: dict[str, Any]) -> bool:
    sources, sinks = status["sources"], status["sinks"]
    quiet = all(s["connected"] and not s["in_backlog"] and not s["unacknowledged"] for s in sources)
    return quiet and not any(sink["lag_entries"] for sink in sinks)


def _point(row: dict[str, Any]) -> Point:
    span = row.get("span")
    sent = int(row["sent_s"]) * 10**9 + int(row["sent_ns"])
    span_ns = None if span is None else round(span * 1e9)
    return Point(int(row["seq"]), row["device"], row["_time"], span_ns, sent, row.get("power"))


def lost(sent: Iterable[Sent], points: Iterable[Point]) -> list[int]:
    """Return the sequence numbers of messages that no point holds."""
    found = {point.seq for point in points}
    return [message.seq for message in sent if message.seq not in found]


def doubled(points: Iterable[Point]) -> list[int]:
    """Return the sequence numbers that more than one point holds."""
    return [seq for seq, times in Counter(point.seq for point in points).items() if times > 1]


def wrong(sent: Sequence[Sent], points: Iterable[Point], fresh: float = FRESH) -> list[tuple[Sent, Point]]:
    """Return messages with another device, another content or a false time.

    True is `last_seen` where the message has one, else a span that contains the moment of sending, else, for
    what counts as current, the time of arrival.
    """
    messages = {message.seq: message for message in sent}
    pairs = ((messages[point.seq], point) for point in points)
    return [(message, point) for message, point in pairs if not _right(message, point, fresh)]


def _right(message: Sent, point: Point, fresh: float) -> bool:
    if (message.device, message.time) != (point.device, point.sent):
        return False
    if message.last_seen is not None:
        return point.time == message.last_seen and point.span is None
    if point.span is not None:
        return point.time - point.span < message.time <= point.time
    return message.time <= point.time <= message.time + fresh * 1e9


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line that is to be seen whether or not the test fails."""

    def show(text: str) -> None:
        with capsys.disabled():
            say(f"\n    {text}")

    return show


@pytest.fixture
def house(mosquitto: Callable[..., Mosquitto], influxdb: InfluxDB, tmp_path: Path) -> Iterator[Callable[..., House]]:
    """Make a house: call it with the parameters of `Mosquitto`. The test starts its daemon."""
    houses: list[House] = []

    def make(**parameters: Any) -> House:
        made = House(mosquitto(**parameters), influxdb, tmp_path / f"house-{len(houses)}")
        houses.append(made)
        return made

    yield make
    for made in houses:
        made.daemon.stop()
        log = made.daemon.log
        assert not log.exists() or "Traceback" not in log.read_text(errors="replace"), log.read_text()
