"""Feeds the real journal at a steady rate without waiting, and counts what this process writes.

What a commit writes depends on its rows, not on how long it waited for them. So the clock that the journal reads is
advanced by hand, from one commit to the next: what it does every 5, 10 and 60 seconds (commits, cursors, trimming) it
does at the same commits as in a house. The entries are what the MQTT source makes of the payloads, and they are read
and confirmed as a sink's, batch by batch. `keep` is short, so that trimming has reached its steady state before the
counting begins.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from benchmarks.load import BASE, device, payload
from benchmarks.usage import Usage, usage
from edge_energy.clock import Clock
from edge_energy.config import Mqtt
from edge_energy.increments import Increments
from edge_energy.journal import journal as journal_module
from edge_energy.journal.journal import Journal
from edge_energy.live import Live
from edge_energy.sources.mqtt.intake import Intake
from edge_energy.sources.mqtt.packets import Message
from edge_energy.sources.mqtt.routes import Routes
from edge_energy.ways import Ways

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from edge_energy.interfaces import Durable, NewEntry
    from edge_energy.journal.outbox import SinkOutbox

KEPT_ROWS = 10_000  # by which `keep` is chosen; a week would be 60 million at 100 messages a second
WARM_UP = 1.5  # times `keep`
BATCH = 5_000  # the default of [influxdb] batch_size
WRITE_BACK = 35.0  # seconds: vm.dirty_expire_centisecs, and up to two of vm.dirty_writeback_centisecs
_NS = 10**9


class FastClock(Clock):
    """The clock of the source and, as the module `time`, of the journal: stands still until it is advanced."""

    def __init__(self) -> None:
        super().__init__(lambda: True)
        self.seconds = 0.0
        self._start = 1_780_000_000 * _NS

    def monotonic(self) -> float:
        """Return what `time.monotonic` would."""
        return self.seconds

    def time_ns(self) -> int:
        """Return what `time.time_ns` would."""
        return self._start + int(self.seconds * _NS)

    def now(self) -> tuple[int | None, int]:
        """Return UTC and uptime."""
        return self.time_ns(), int(self.seconds * _NS)


class Done:
    """A commit that has ended well."""

    def done(self) -> bool:
        """Return that it has."""
        return True

    def failed(self) -> bool:
        """Return that nothing was lost."""
        return False

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


class Collected:
    """What the source wants recorded, for the driver to record."""

    def __init__(self) -> None:
        self.entries: list[NewEntry] = []

    def record(self, entries: Sequence[NewEntry], within: float, state: Mapping[str, Any] | None = None) -> Durable:
        """Take them."""
        assert within >= 0
        assert not state
        self.entries += entries
        return Done()

    def keep_aside(self, origin: str, reason: str, payload: bytes) -> None:
        """Nothing of the load is unreadable."""
        raise AssertionError(origin, reason, payload)

    async def writable(self) -> None:
        """Return at once."""


class House:
    """Plugs that publish at a steady rate, heard by the real source."""

    def __init__(self, rate: float, seed: int, clock: FastClock) -> None:
        self._rate = rate
        self._chance = random.Random(seed)
        self._clock = clock
        self._number = 0
        settings, live = Mqtt(), Live()
        self._interval = settings.commit_interval
        self._collected = Collected()
        self._intake = Intake(
            "mqtt", Routes(settings, live), self._collected, live, clock, Ways(), Increments({}), settings
        )
        self._intake.restore(1, [])
        self._intake.begin(settings.receive_maximum, session_present=False)

    def next_commit(self) -> list[NewEntry]:
        """Return what is recorded in the next commit_interval; the clock goes along."""
        end = self._clock.seconds + self._interval
        while (at := self._number / self._rate) < end:
            self._clock.seconds = at
            made = payload(self._number, self._clock.time_ns() / _NS, self._chance)
            topic, packet_id = f"{BASE}/{device(self._number)}", self._number % 65_535 + 1
            self._intake.message(Message(topic, made, qos=1, packet=packet_id, dup=False, retain=False))
            self._number += 1
        self._clock.seconds = end
        self._intake.burst()
        entries, self._collected.entries = self._collected.entries, []
        return entries


class Driver:
    """Records, commits, delivers."""

    def __init__(self, journal: Journal, outbox: SinkOutbox, house: House, clock: FastClock) -> None:
        self._journal = journal
        self._outbox = outbox
        self._house = house
        self._clock = clock
        self._committing = asyncio.create_task(journal.run())
        self._index = os.open(journal.path.with_name(f"{journal.path.name}-shm"), os.O_RDONLY)
        self._written_back = clock.seconds

    async def run(self, seconds: float) -> None:
        """Let that much time pass."""
        end = self._clock.seconds + seconds
        while self._clock.seconds < end:
            self._journal.record(self._house.next_commit(), within=math.inf)
            # The deadline: the clock is there.
            await asyncio.wait(
                [self._committing, asyncio.ensure_future(self._journal.record([], within=0))],
                return_when=asyncio.FIRST_COMPLETED,
            )
            if self._committing.done():
                self._committing.result()
            while (batch := await self._outbox.new.read(BATCH)) is not None:
                self._outbox.confirm(batch)
            self._write_back()

    def _write_back(self) -> None:
        """Do what the kernel does with the log's index, which SQLite maps into memory and never syncs."""
        if self._clock.seconds - self._written_back >= WRITE_BACK:
            self._written_back = self._clock.seconds
            os.fsync(self._index)

    async def stop(self) -> None:
        """End the commits."""
        self._committing.cancel()
        await asyncio.wait([self._committing])
        os.close(self._index)


async def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Warm up, then count."""
    clock = FastClock()
    keep = KEPT_ROWS / args.rate
    with patch.object(journal_module, "time", clock):
        async with Journal(args.directory, clock, "simulated", max_size=2**30, keep=keep) as journal:
            outbox = await journal.outbox("influxdb")
            driver = Driver(journal, outbox, House(args.rate, args.seed, clock), clock)
            await journal.anchor("start")
            await driver.run(keep * WARM_UP)
            report = await _count(journal, driver, clock, args)
            await driver.stop()
            return report


async def _count(journal: Journal, driver: Driver, clock: FastClock, args: argparse.Namespace) -> dict[str, Any]:
    wal = journal.path.with_name(f"{journal.path.name}-wal")
    counters = journal.counters
    os.sync()
    before, commits, trimmed, cycles = _used(args), counters.commits, counters.trimmed, _cycles(wal)
    begun = clock.seconds
    await driver.run(args.hours * 3600)
    os.sync()  # so that the device has what the process wrote
    used = _used(args).since(before)
    return {
        "seconds": clock.seconds - begun,
        "written": used.written,
        "device": used.device,
        "commits": counters.commits - commits,
        "cycles": _cycles(wal) - cycles,
        "trimmed": counters.trimmed - trimmed,
        "bytes": journal.used,
    }


def _used(args: argparse.Namespace) -> Usage:
    return usage(os.getpid(), args.directory)


def _cycles(wal: Path) -> int:
    """Return how often the write-ahead log was begun anew after a checkpoint (the header's sequence number)."""
    with wal.open("rb") as file:
        return int(struct.unpack_from(">I", file.read(16), 12)[0])


def main() -> None:
    """Print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True, help="messages a second")
    parser.add_argument("--hours", type=float, required=True, help="simulated time that is counted")
    parser.add_argument("--seed", type=int, default=1)
    print(json.dumps(asyncio.run(measure(parser.parse_args()))))


if __name__ == "__main__":
    main()
