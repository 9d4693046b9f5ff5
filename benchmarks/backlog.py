"""A long outage of the database: memory with a million entries waiting, and how fast they are caught up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.report import Figure, at_most
from benchmarks.usage import memory, peak_memory, usage
from tests.servers.base import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.options import Options
    from benchmarks.surroundings import Surroundings

_POLL = 0.25


def measure(around: Surroundings, options: Options) -> Iterator[Figure]:
    """Publish while the database is away, then bring it back."""
    count = options.waiting
    name = f"{count:,} waiting"
    daemon = around.appliance()
    with around.load(count) as load, daemon:
        around.wait_connected(daemon)
        around.influxdb.stop()
        load.go()
        wait_until(lambda: daemon.status()["journal"]["entries"] >= count, 600, "everything in the journal")
        waiting, peak = memory(daemon.pid), peak_memory(daemon.pid)
        size = daemon.status()["journal"]["bytes"]
        before = usage(daemon.pid, around.directory)
        around.influxdb.start()
        first, begun = _first(around)
        ended = around.wait_confirmed(count - 1)
        around.wait_count(count)
        used = usage(daemon.pid, around.directory).since(before)
        peak_after = peak_memory(daemon.pid)
    around.say(f"{name}: {(count - first) / (ended - begun):,.0f}/s")
    yield Figure(name, "journal, bytes per entry", f"{size / count:.0f}")
    yield Figure(name, "RSS while they wait, MB", f"{waiting / 1e6:.0f}")
    yield Figure(name, "peak RSS until then, MB", f"{peak / 1e6:.0f}")
    yield at_most(name, "peak RSS, catching up included, MB", peak_after / 1e6, 85)
    yield Figure(name, "catching up, entries/s", f"{(count - first) / (ended - begun):,.0f}")
    yield Figure(name, "catching up, CPU s per 10,000", f"{used.cpu / count * 1e4:.3f}")


def _first(around: Surroundings) -> tuple[int, float]:
    """Wait for the first that arrive; how long it took to notice that the database is back is not speed."""
    deadline = time.time() + 120
    while time.time() < deadline:
        asked = time.time()
        newest = around.newest()
        if newest >= 0:
            return newest + 1, asked
        time.sleep(_POLL)
    raise TimeoutError("nothing arrived after the database came back")
