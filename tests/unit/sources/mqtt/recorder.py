"""A journal without a disk, whose commits end when the test says so, and how they end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from edge_energy.clock import Clock
from edge_energy.errors import JournalFull

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from edge_energy.interfaces import Durable, NewEntry, Recorder


class Commit:
    """Entries that become durable together."""

    def __init__(self) -> None:
        self.entries: list[NewEntry] = []
        self.state: dict[str, Any] = {}
        self._ended = asyncio.Event()
        self._error: JournalFull | None = None

    def done(self) -> bool:
        """Tell whether it has ended."""
        return self._ended.is_set()

    def failed(self) -> bool:
        """Tell whether nothing of it was written."""
        return self._ended.is_set() and self._error is not None

    def __await__(self) -> Generator[Any, None, None]:
        yield from self._ended.wait().__await__()
        if self._error is not None:
            raise self._error

    def end(self, error: JournalFull | None = None) -> None:
        """End, well or not."""
        self._error = error
        self._ended.set()


class Disk:
    """What is durable; `commit` and `fail` end the commit that is waiting."""

    def __init__(self) -> None:
        self.entries: list[NewEntry] = []
        self.state: dict[str, Any] = {}
        self.aside: list[tuple[str, str, bytes]] = []
        self.within: list[float] = []
        self.asked = asyncio.Event()
        """Set when a commit is wanted at once."""
        self.full = False
        self.space = asyncio.Event()
        self._waiting = Commit()

    def record(self, entries: Sequence[NewEntry], within: float, state: Mapping[str, Any] | None = None) -> Durable:
        """See `interfaces.Recorder`, as the others."""
        if self.full:
            raise JournalFull("full")
        self.within.append(within)
        if within == 0:
            self.asked.set()
        self._waiting.entries += entries
        self._waiting.state |= state or {}
        return self._waiting

    def keep_aside(self, origin: str, reason: str, payload: bytes) -> None:
        """Note it."""
        self.aside.append((origin, reason, payload))

    async def writable(self) -> None:
        """Wait for the test to say so."""
        await self.space.wait()

    def commit(self) -> None:
        """Write what waits."""
        ended, self._waiting = self._waiting, Commit()
        self.entries += ended.entries
        self.state |= ended.state
        ended.end()

    def fail(self) -> None:
        """Find the disk full only while writing: nothing of this commit is kept."""
        ended, self._waiting = self._waiting, Commit()
        ended.end(JournalFull("full"))


class Instant(Disk):
    """A disk that is never waited for."""

    def record(self, entries: Sequence[NewEntry], within: float, state: Mapping[str, Any] | None = None) -> Durable:
        """Record, and commit at once."""
        durable = super().record(entries, within, state)
        self.commit()
        return durable


class Connection:
    """Notes what is acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self.resumed = 0

    def acknowledge(self, packet_ids: Iterable[int]) -> None:
        """Note them."""
        self.acknowledged += packet_ids

    def resume(self) -> None:
        """Count it."""
        self.resumed += 1


class SetClock(Clock):
    """A clock that shows what the test sets; None for a date that is not known."""

    def __init__(self, time: int | None) -> None:
        super().__init__(lambda: True)
        self.time = time

    def now(self) -> tuple[int | None, int]:
        """Return what was set."""
        return self.time, 0


async def turns(count: int = 20) -> None:
    """Let everything run that can run without anything from outside."""
    for _ in range(count):
        await asyncio.sleep(0)


def _conforms(disk: Disk) -> Recorder:
    return disk  # checked by mypy
