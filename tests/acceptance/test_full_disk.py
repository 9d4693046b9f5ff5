"""The daemon on a disk that others fill, and on a disk budget that is used up."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import skipped_if_missing
from tests.servers.base import wait_until
from tests.servers.daemon import Daemon, influxdb_section, mqtt_section
from tests.servers.proxy import FaultProxy
from tests.servers.small_disk import fill, small_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.influxdb import InfluxDB
    from tests.servers.mosquitto import Mosquitto


SOURCE = 'commit_interval = "100ms"\n[[mqtt.sensors]]\ntopic = "plug/+"\ndevice = "{1}"\n'


@pytest.fixture
def disk() -> Iterator[Path]:
    with skipped_if_missing(), small_disk(24) as directory:
        yield directory


def configuration(broker: Mosquitto, url: str, influxdb: InfluxDB, more: str = "") -> str:
    database = influxdb_section(url, influxdb.bucket, influxdb.token, 'batch_age = "100ms"')
    return more + mqtt_section(broker.port, SOURCE) + database


def numbered(first: int, end: int) -> list[str]:
    return [json.dumps({"seq": seq, "power": 1.5}) for seq in range(first, end)]


def numbers(influxdb: InfluxDB) -> list[int]:
    """Return the sequence numbers of all points, as often as they are there."""
    return sorted(int(point["seq"]) for point in influxdb.points() if point.get("seq") is not None)


def wait_for_numbers(daemon: Daemon, influxdb: InfluxDB, count: int) -> list[int]:
    def there() -> bool:
        return not daemon.status()["sinks"][0]["lag_entries"] and len(set(numbers(influxdb))) >= count

    wait_until(there, 40, f"{count} messages in InfluxDB")
    return numbers(influxdb)


def journal(daemon: Daemon) -> dict[str, Any]:
    report: dict[str, Any] = daemon.status()["journal"]
    return report


def wait_recorded(daemon: Daemon, count: int) -> None:
    daemon.wait_for(lambda status: status["sources"][0]["recorded"] >= count)


def publish_until_full(broker: Mosquitto, daemon: Daemon, disk: Path, first: int) -> int:
    """Fill the disk and publish until the daemon notices; return the next sequence number."""
    end = first
    for _ in range(40):
        fill(disk)
        end += 100
        broker.publish("plug/a", *numbered(end - 100, end))
        with suppress(TimeoutError):
            daemon.wait_for(lambda status: status["journal"]["full"], 0.5)
            return end
    raise AssertionError("the disk never became full")


def test_on_a_full_disk_nothing_is_acknowledged_and_it_goes_on_by_itself(
    mosquitto: Callable[..., Mosquitto], influxdb: InfluxDB, disk: Path, tmp_path: Path
) -> None:
    """A full disk stops recording, not the daemon; once there is space every message is recorded, and once."""
    broker = mosquitto(max_queued_messages=100_000)
    with (
        FaultProxy(influxdb.port) as proxy,
        Daemon(tmp_path, configuration(broker, proxy.url, influxdb), state=disk / "state") as daemon,
    ):
        daemon.wait_connected()
        proxy.refuse()  # what is delivered could be deleted, and make room
        broker.publish("plug/a", *numbered(0, 1_000))
        wait_recorded(daemon, 1_000)
        end = publish_until_full(broker, daemon, disk, 1_000)
        for _ in range(10):
            assert fill(disk).exists()
            broker.publish("plug/a", *numbered(end, end + 100))
            end += 100
        report = daemon.status()
        assert report["sources"][0]["connected"] or report["sources"][0]["last_error"]
        assert "journal full" in daemon.log.read_text()
        proxy.ok()
        (disk / "filler").unlink()
        daemon.wait_for(lambda status: not status["journal"]["full"])
        found = wait_for_numbers(daemon, influxdb, end)
        assert found == list(range(end)), "lost or recorded twice"
        assert "journal accepts entries again" in daemon.log.read_text()
        assert journal(daemon)["recovered"] is None


def test_killed_on_a_full_disk_it_has_acknowledged_nothing(
    mosquitto: Callable[..., Mosquitto], influxdb: InfluxDB, disk: Path, tmp_path: Path
) -> None:
    """What came while the disk was full is still the broker's: killed there, the daemon gets it all again."""
    broker = mosquitto(max_queued_messages=100_000)
    with (
        FaultProxy(influxdb.port) as proxy,
        Daemon(tmp_path, configuration(broker, proxy.url, influxdb), state=disk / "state") as daemon,
    ):
        daemon.wait_connected()
        proxy.refuse()
        end = publish_until_full(broker, daemon, disk, 0)
        broker.publish("plug/a", *numbered(end, end + 500))
        daemon.kill()
        fill(disk)
        daemon.start()  # also on the full disk, where it may take what was delivered, and nothing else, for space
        assert journal(daemon)["recovered"] is None
        daemon.stop()
        assert daemon.returncode == 0
        (disk / "filler").unlink()
        daemon.start()
        proxy.ok()
        assert wait_for_numbers(daemon, influxdb, end + 500) == list(range(end + 500))
        assert journal(daemon)["recovered"] is None


def test_a_disk_that_fills_while_the_daemon_is_stopped_does_not_make_the_journal_a_damaged_one(
    mosquitto: Callable[..., Mosquitto], influxdb: InfluxDB, disk: Path, tmp_path: Path
) -> None:
    """SQLite calls it an I/O error when it cannot make its files; the journal is as good as before."""
    broker = mosquitto()
    with (
        FaultProxy(influxdb.port) as proxy,
        Daemon(tmp_path, configuration(broker, proxy.url, influxdb), state=disk / "state") as daemon,
    ):
        daemon.wait_connected()
        proxy.refuse()
        broker.publish("plug/a", *numbered(0, 500))
        wait_recorded(daemon, 500)
        daemon.stop()
        fill(disk)
        daemon.start()
        assert journal(daemon)["recovered"] is None
        proxy.ok()
        assert wait_for_numbers(daemon, influxdb, 500) == list(range(500))


VALUES = {f"value{number}": 123456.789 for number in range(60)}


def test_a_used_up_budget_drops_the_oldest_readings_and_says_so(
    mosquitto: Callable[..., Mosquitto], influxdb: InfluxDB, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    """With the database away for too long, the oldest readings go, counted and shown; the others are delivered."""
    broker = mosquitto(max_queued_messages=100_000)
    piece = 2_000
    with (
        FaultProxy(influxdb.port) as proxy,
        Daemon(tmp_path, configuration(broker, proxy.url, influxdb, '[journal]\nmax_size = "16MiB"\n')) as daemon,
    ):
        daemon.wait_connected()
        proxy.refuse()
        end = 0
        while not journal(daemon)["dropped"]:
            assert end < 100_000, "the budget is never used up"
            broker.publish("plug/a", *(json.dumps({"seq": seq, **VALUES}) for seq in range(end, end + piece)))
            end += piece
            wait_recorded(daemon, end)
        daemon.wait_for(lambda status: status["sources"][0]["unacknowledged"] == 0)
        report = journal(daemon)
        assert report["bytes"] <= 16 << 20
        assert sum(file.stat().st_size for file in daemon.state.iterdir()) <= 17 << 20
        dropped = report["dropped_ever"]
        assert "disk budget used up: dropping the oldest readings" in daemon.log.read_text()
        daemon.restart()
        assert journal(daemon)["dropped_ever"] == dropped
        proxy.ok()
        daemon.wait_delivered()
        found = numbers(influxdb)
        assert found == list(range(dropped, end)), "not the oldest, or more than was counted"
        assert dropped <= end // 2
        tell(f"{end} readings, {dropped} dropped")
