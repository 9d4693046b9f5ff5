"""From publication to InfluxDB's confirmation, at 100 messages/s; and, live, the bytes written meanwhile."""

from __future__ import annotations

from statistics import quantiles
from typing import TYPE_CHECKING

from benchmarks.report import Figure
from benchmarks.tee import Tee
from benchmarks.usage import usage
from tests.servers.base import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.options import Options
    from benchmarks.surroundings import Surroundings

RATE = 100
DAY = 86_400


def measure(around: Surroundings, options: Options) -> Iterator[Figure]:
    """Measure with the default commit_interval and with a short one."""
    if options.quick:
        yield from _measure(around, "250ms", 3)
        return
    for interval, seconds in (("5s", 90), ("250ms", 30)):
        yield from _measure(around, interval, seconds)


def _measure(around: Surroundings, interval: str, seconds: int) -> Iterator[Figure]:
    name = f"{RATE} messages/s, commit_interval {interval}"
    count = RATE * seconds
    with Tee(around.influxdb) as tee:
        daemon = around.appliance(mqtt=f'commit_interval = "{interval}"', url=tee.url)
        with around.load(count, rate=RATE) as load, daemon:
            around.wait_connected(daemon)
            before = usage(daemon.pid, around.directory)
            load.go()
            load.report()
            used = usage(daemon.pid, around.directory).since(before)
            wait_until(lambda: len(tee.latencies) >= count, 60, "all messages in the database")
    points = quantiles(tee.latencies, n=100, method="inclusive")
    around.say(f"{name}: p50 {points[49]:.2f} s, p99 {points[98]:.2f} s")
    yield Figure(name, "latency p50, s", f"{points[49]:.2f}")
    yield Figure(name, "latency p99, s", f"{points[98]:.2f}")
    yield Figure(name, f"written in these {seconds} s, as GB/day", f"{used.written / seconds * DAY / 1e9:.2f}")
    yield Figure(name, "CPU, %", f"{used.cpu / seconds * 100:.1f}")
