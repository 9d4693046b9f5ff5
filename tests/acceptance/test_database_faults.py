"""The daemon and a real InfluxDB that is away, overloaded, misconfigured, or refuses some of what it is given."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers.base import wait_until
from tests.servers.daemon import Daemon, influxdb_section, mqtt_section
from tests.servers.proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.influxdb import InfluxDB
    from tests.servers.mosquitto import Mosquitto


COUNT = 1_000
SOURCE = 'commit_interval = "100ms"\n[[mqtt.sensors]]\ntopic = "plug/+"\ndevice = "{1}"\ntime = "time"\n'
HOUR = 3600 * 10**9


class Bench:
    """A broker, a database behind a proxy, and a daemon between them."""

    def __init__(self, broker: Mosquitto, influxdb: InfluxDB, proxy: FaultProxy, directory: Path) -> None:
        self.influxdb = influxdb
        self.proxy = proxy
        self._broker = broker
        self.daemon = Daemon(directory, self.configuration())

    def configuration(self, *, bucket: str = "", token: str = "", org: str = "home") -> str:
        """Return the configuration, or one that is wrong somewhere."""
        database = influxdb_section(
            self.proxy.url,
            bucket or self.influxdb.bucket,
            token or self.influxdb.token,
            'batch_age = "100ms"\ntimeout = "3s"',
        )
        return mqtt_section(self._broker.port, SOURCE) + database.replace('"home"', f'"{org}"')

    def reload(self, configuration: str) -> None:
        """Change the configuration of the running daemon, and wait until it has started again with it."""
        changed = 'why="configuration changed"'
        before = self.daemon.log.read_text().count(changed)
        self.daemon.configure(configuration)
        self.daemon._send(signal.SIGHUP)
        wait_until(
            lambda: self.daemon.log.read_text().count(changed) > before and self.daemon._answers(), 20, "the reload"
        )

    def publish(self, *payloads: dict[str, Any]) -> None:
        """Publish messages of one plug."""
        self._broker.publish("plug/a", *map(json.dumps, payloads))

    def sink(self) -> dict[str, Any]:
        """Return what the daemon says of its database."""
        first: dict[str, Any] = self.daemon.status()["sinks"][0]
        return first

    def wait_for_error(self, words: str) -> None:
        """Wait until the status says this of the database."""
        self.daemon.wait_for(lambda status: words in str(status["sinks"][0]["last_error"]), 20, words)

    def wait_recorded(self, count: int) -> None:
        """Wait until the daemon has taken so many messages."""
        self.daemon.wait_for(lambda status: status["sources"][0]["recorded"] >= count, 20, "the journal")

    def numbers(self) -> list[int]:
        """Return the sequence numbers of all points, as often as they are there."""
        return sorted(int(point["seq"]) for point in self.influxdb.points() if point.get("seq") is not None)

    def wait_for_numbers(self, count: int) -> list[int]:
        """Wait until so many messages are in the database and none is owed; return their numbers."""

        def there() -> bool:
            return not self.sink()["lag_entries"] and len(set(self.numbers())) >= count

        wait_until(there, 30, f"{count} messages in InfluxDB")
        return self.numbers()

    def command(self, *arguments: str) -> str:
        """Return what a command prints."""
        done = subprocess.run(
            self.daemon.command(*arguments),
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, **self.daemon.environment},
            timeout=30,
        )
        return done.stdout


@pytest.fixture
def bench(mosquitto: Callable[..., Mosquitto], influxdb: InfluxDB, tmp_path: Path) -> Iterator[Bench]:
    with FaultProxy(influxdb.port) as proxy:
        bench = Bench(mosquitto(), influxdb, proxy, tmp_path)
        with bench.daemon as daemon:
            daemon.wait_connected()
            yield bench


def numbered(count: int = COUNT, first: int = 0) -> list[dict[str, Any]]:
    """Return messages that are dated on arrival, so that one recorded or written twice would be two points."""
    return [{"seq": seq, "power": 1.5} for seq in range(first, first + count)]


FAULTS: dict[str, tuple[Callable[[FaultProxy], None], str]] = {
    "busy": (lambda proxy: proxy.answer(503, times=2), "answered 503: it cannot serve now"),
    "server error": (lambda proxy: proxy.answer(500, "<html>oops</html>", times=2), "answered 500"),
    "hanging": (lambda proxy: proxy.hang(times=2), "did not answer within 3 s"),
    "answers lost": (lambda proxy: proxy.drop_answer(times=2), "cannot reach"),
    "login page": (lambda proxy: proxy.answer(200, "<html>login</html>", times=2), "correct [influxdb] url"),
    "redirection": (
        lambda proxy: proxy.answer(302, headers={"Location": "http://127.0.0.1:1/"}, times=2),
        "correct [influxdb]",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_database_loses_and_doubles_nothing(bench: Bench, fault: str) -> None:
    """Delivery goes on by itself after the fault, with every reading as exactly one point."""
    begin, words = FAULTS[fault]
    begin(bench.proxy)
    bench.publish(*numbered())
    bench.wait_for_error(words)
    assert bench.wait_for_numbers(COUNT) == list(range(COUNT))
    after = bench.sink()
    assert (after["set_aside"], after["connected"]) == (0, True)
    assert "a defect" not in bench.daemon.log.read_text()


def test_resets_lose_and_double_nothing(bench: Bench) -> None:
    """A network that resets every connection is an outage like any other: one log line, and it ends by itself."""
    bench.proxy.refuse()
    bench.publish(*numbered())
    bench.wait_for_error("cannot reach")
    seen = bench.proxy.connections
    wait_until(lambda: bench.proxy.connections > seen, 20, "another attempt")
    bench.proxy.ok()
    assert bench.wait_for_numbers(COUNT) == list(range(COUNT))
    assert bench.daemon.log.read_text().count("warning unavailable component=influxdb") == 1


def test_retry_after_is_respected(bench: Bench) -> None:
    """A database that asks to be left alone for three seconds is, though the own backoff is half a second."""
    bench.daemon.wait_delivered()
    bench.proxy.answer(429, headers={"Retry-After": "3"}, times=1)
    seen = bench.proxy.requests
    bench.publish(*numbered(10))
    wait_until(lambda: bench.proxy.requests >= seen + 2, 40, "the second request")
    first, second = bench.proxy.asked[seen : seen + 2]
    assert second - first >= 2.9
    assert bench.wait_for_numbers(10) == list(range(10))


def test_a_batch_that_is_too_large_is_sent_in_pieces(bench: Bench) -> None:
    """413 is about the size, not the data: nothing is set aside, and what follows comes in pieces at once.

    As large as the largest that was accepted after it: half of the batch, here, in which four answers were 413.
    """
    bench.proxy.refuse()
    bench.publish(*numbered())
    bench.wait_recorded(COUNT)
    bench.proxy.answer(413, '{"code":"request too large","message":"too large"}', times=4)
    assert bench.wait_for_numbers(COUNT) == list(range(COUNT))
    bench.proxy.refuse()
    bench.publish(*numbered(first=COUNT))
    bench.wait_recorded(2 * COUNT)
    before = bench.proxy.requests
    bench.proxy.ok()
    assert bench.wait_for_numbers(2 * COUNT) == list(range(2 * COUNT))
    assert bench.proxy.requests - before >= 2
    assert bench.sink()["set_aside"] == 0


def test_a_far_side_that_refuses_everything_sets_nothing_aside(bench: Bench) -> None:
    """A hundred refusals in a row mean that the database is wrong: everything is kept and delivered later."""
    bench.proxy.answer(400, '{"code":"invalid","message":"a proxy without a clue"}')
    bench.publish(*numbered())
    bench.wait_for_error("refused 100 entries in a row, the last because: a proxy without a clue")
    bench.proxy.ok()
    assert bench.wait_for_numbers(COUNT) == list(range(COUNT))
    assert bench.sink()["set_aside"] == 0


def spoil(influxdb: InfluxDB, field: str) -> None:
    """Make a field a text, so that InfluxDB takes no number for it in this bucket."""
    influxdb.write(f'energy,appliance=other,device=other {field}="a text" {time.time_ns()}')


def test_one_bad_point_among_a_thousand_is_found(bench: Bench) -> None:
    """Only the refused reading is set aside, with InfluxDB's own reason; all others arrive."""
    spoil(bench.influxdb, "strange")
    messages = numbered()
    messages[COUNT // 3]["strange"] = 1
    bench.publish(*messages)
    good = [seq for seq in range(COUNT) if seq != COUNT // 3]
    assert bench.wait_for_numbers(COUNT - 1) == good
    assert bench.sink()["set_aside"] == 1
    (refused,) = bench.daemon.ask("/journal/rejections")["set_aside"]
    assert "field type conflict" in refused["reason"]


def test_more_than_a_hundred_field_conflicts_in_a_row_stop_nothing(bench: Bench) -> None:
    """A device whose field has another type is no reason to take the database for broken."""
    spoil(bench.influxdb, "strange")
    bad = 120
    messages = numbered(bad + 20)
    for message in messages[:bad]:
        message["strange"] = 1
    bench.publish(*messages)
    assert bench.wait_for_numbers(20) == list(range(bad, bad + 20))
    assert bench.sink()["set_aside"] == bad
    assert len(bench.daemon.ask("/journal/rejections")["set_aside"]) == bad


def test_readings_older_than_the_retention_are_set_aside(bench: Bench) -> None:
    """A bucket with a retention period refuses what a device reports of the past; the rest goes on."""
    bench.reload(bench.configuration(bucket=bench.influxdb.fresh_bucket(retention_seconds=3600)))
    now = time.time_ns()
    messages = [message | {"time": now + message["seq"]} for message in numbered()]
    for message in messages[:150]:
        message["time"] -= 2 * HOUR
    bench.publish(*messages)
    assert bench.wait_for_numbers(COUNT - 150) == list(range(150, COUNT))
    assert bench.sink()["set_aside"] == 150


def test_what_was_set_aside_is_delivered_by_retry(bench: Bench) -> None:
    """The command shows what was refused and why, and brings it back once the cause is gone; also after a restart."""
    spoil(bench.influxdb, "strange")
    bench.publish({"seq": 0, "strange": 1}, {"seq": 1})
    assert bench.wait_for_numbers(1) == [1]
    shown = bench.command("journal", "rejections")
    assert re.search(r"influxdb refused entry \d+: .*field type conflict", shown)
    assert "1 entries will be delivered again." in bench.command("journal", "retry")
    bench.daemon.wait_for(lambda status: status["sinks"][0]["set_aside"] == 2, 20, "the second refusal")
    assert bench.numbers() == [1]
    bench.reload(bench.configuration(bucket=bench.influxdb.fresh_bucket()))
    assert len(bench.daemon.ask("/journal/rejections")["set_aside"]) == 1
    assert "1 entries will be delivered again." in bench.command("journal", "retry", "--sink", "influxdb")
    assert bench.wait_for_numbers(1) == [0]
    assert "Nothing was refused" in bench.command("journal", "rejections")


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ({"token": "not-the-token"}, "correct [influxdb] token"),
        ({"bucket": "nowhere"}, "correct [influxdb] bucket or org"),
        ({"org": "nobody"}, "correct [influxdb] bucket or org"),
    ],
    ids=["token", "bucket", "org"],
)
def test_a_wrong_setting_is_named_and_loses_nothing(bench: Bench, wrong: dict[str, str], advice: str) -> None:
    """The status says which setting to correct, and with the right one everything since is delivered."""
    bench.reload(bench.configuration(**wrong))
    bench.publish(*numbered())
    bench.wait_for_error(advice)
    bench.wait_recorded(COUNT)
    assert advice in bench.command("status")
    bench.reload(bench.configuration())
    assert bench.wait_for_numbers(COUNT) == list(range(COUNT))
    assert bench.sink()["set_aside"] == 0
    assert "not-the-token" not in bench.daemon.log.read_text()


def test_a_database_that_is_away_at_the_start_gets_everything_later(bench: Bench) -> None:
    """The daemon starts without its database, records, restarts, and delivers when the database comes."""
    bench.influxdb.kill()
    bench.daemon.restart()
    bench.publish(*numbered())
    bench.daemon.wait_for(lambda status: status["sinks"][0]["lag_entries"] >= COUNT)
    bench.daemon.kill()
    bench.daemon.start()
    bench.wait_for_error("cannot reach")
    assert bench.sink()["lag_entries"] >= COUNT
    bench.influxdb.start()
    assert bench.wait_for_numbers(COUNT) == list(range(COUNT))
