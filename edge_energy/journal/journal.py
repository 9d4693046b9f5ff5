"""The journal's asyncio face: groups what is recorded into commits, and tells the outboxes."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeVar, TypeVarTuple, Unpack

import structlog

from edge_energy.errors import JournalError, JournalFull
from edge_energy.journal.files import RESERVE, WAL_ALLOWANCE
from edge_energy.journal.opening import Lock, open_store
from edge_energy.journal.outbox import SinkOutbox
from edge_energy.journal.ranges import Debt
from edge_energy.journal.reader import Extract, Reader
from edge_energy.journal.store import Commit

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
    from pathlib import Path

    from edge_energy.clock import Clock
    from edge_energy.interfaces import Entry, NewEntry
    from edge_energy.journal.store import Store, Trimmed

log = structlog.get_logger()
P = TypeVarTuple("P")
T = TypeVar("T")

COMMIT_ENTRIES = 1_000
COMMIT_BYTES = 256 * 1024
CURSORS_EVERY = 10.0  # seconds; cursors in every commit would write a third more
TRIM_EVERY = 60.0
PROBE_EVERY = 2.0  # seconds between attempts while the disk is full
RECENT = 5.0
"""Seconds: what is as young as that is no backlog yet. A far side that is back is not found at once."""
FILE_NAME = "journal.db"
_DROPPED = "journal/dropped"


class _Durable:
    """See `interfaces.Durable`. Awaiting the bare future would let one cancelled caller cancel it for all."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(self) -> bool:
        return self._future.done()

    def failed(self) -> bool:
        return self._future.done() and self._future.exception() is not None

    def __await__(self) -> Generator[Any, None, None]:
        return asyncio.shield(self._future).__await__()

    def resolve(self, error: BaseException | None) -> None:
        if error is None:
            self._future.set_result(None)
        else:
            self._future.set_exception(error)
            self._future.exception()  # whoever does not wait for it shall not be reported as careless


@dataclass(slots=True, eq=False)
class _Group:
    """What shares the next commit, and the promise that all of its callers hold."""

    durable: _Durable = field(default_factory=_Durable)
    commit: Commit = field(default_factory=Commit)
    bytes: int = 0
    deadline: float = float("inf")

    def due(self, now: float) -> bool:
        return self.deadline <= now or len(self.commit.entries) >= COMMIT_ENTRIES or self.bytes >= COMMIT_BYTES


@dataclass(slots=True)
class Counters:
    """What happened since the start."""

    commits: int = 0
    entries: int = 0
    refused: int = 0
    dropped: int = 0
    trimmed: int = 0


class Journal:
    """The only buffer and the only spool. Open it with `async with`; `run()` commits until cancelled.

    Leaving the context commits what waits and saves the cursors.
    """

    name = "journal"

    def __init__(self, directory: Path, clock: Clock, boot: str, *, max_size: int, keep: float) -> None:
        """`max_size` in bytes, `keep` in seconds; `boot` is the id of this boot of the machine."""
        self.path = directory / FILE_NAME
        self.up = asyncio.Event()
        self.counters = Counters()
        self.recovered: str | None = None
        """What the opening had to repair, in words."""
        self.dropped_ever = 0
        """Readings dropped because the disk budget was used up, since the file was made."""
        self.outboxes: dict[str, SinkOutbox] = {}
        self.newest = 0
        self.news = 0
        self._clock = clock
        self._boot = boot
        self._budget = max_size - RESERVE - WAL_ALLOWANCE
        self._keep = keep
        self._writer = ThreadPoolExecutor(1, "journal-writer")
        self._reader_thread = ThreadPoolExecutor(1, "journal-reader")
        self._store: Store
        self._reader: Reader
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        self._recent: deque[tuple[float, int]] = deque()
        """(monotonic s of a commit, newest position before it), of the last `RECENT` seconds."""
        self._writable = asyncio.Event()
        self._unreadable: list[tuple[int | None, str, str, bytes]] = []
        self._cursors_saved = time.monotonic()
        self._cursors_due = False
        self._trim_due = time.monotonic() + TRIM_EVERY

    # -- opening and closing ----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._lock = Lock(self.path.parent)
        self._store, self.recovered = await loop.run_in_executor(self._writer, open_store, self.path, self._boot)
        self._reader = await loop.run_in_executor(self._reader_thread, Reader, self.path)
        self.newest = self._store.newest
        with suppress(JournalError):  # a damaged page: whoever reads it next says so
            recently = self._clock.now()[1] - int(RECENT * 1e9)
            self._recent.append((time.monotonic(), await self.query(Reader.last_before, self._store.boot, recently)))
        self.dropped_ever = (await self.query(Reader.state, _DROPPED)).get(_DROPPED, 0)
        self._group = _Group()
        self._writable.set()
        self.up.set()
        return self

    async def __aexit__(self, *exc: object) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._cursors_due = True
            await self._commit()
        finally:
            await loop.run_in_executor(self._reader_thread, self._reader.close)
            await loop.run_in_executor(self._writer, self._store.close)
            self._reader_thread.shutdown()
            self._writer.shutdown()
            self._lock.release()

    async def outbox(self, sink: str, *, strict: bool = False) -> SinkOutbox:
        """Return a sink's view. A sink never seen before owes everything there is and everything to come."""
        pending = await self.query(Reader.pending, sink)
        self.outboxes[sink] = SinkOutbox(self, sink, pending or [(1, None)], strict=strict)
        self.outboxes[sink].dirty = pending is None
        return self.outboxes[sink]

    async def source(self, name: str) -> int:
        """Return the number of a source, for the origins of its entries."""
        return await self._in_writer(self._store.source, name)

    # -- recording --------------------------------------------------------------------------------------------

    def record(self, entries: Sequence[NewEntry], within: float, state: Mapping[str, Any] | None = None) -> _Durable:
        """See `interfaces.Recorder`."""
        if not self._writable.is_set():
            self.counters.refused += len(entries)
            raise JournalFull(f"no space left for {self.path}")
        group = self._group
        group.commit.entries.extend(entries)
        for entry in entries:
            group.bytes += len(entry.body)
        if state:
            group.commit.state.update(state)
        now = time.monotonic()
        if now + within < group.deadline:
            group.deadline = now + within
            self._wake.set()
        if group.due(now):
            self._wake.set()
        return group.durable

    def keep_aside(self, origin: str, reason: str, payload: bytes) -> None:
        """See `interfaces.Recorder`."""
        self._unreadable.append((self._clock.now()[0], origin, reason, payload))
        del self._unreadable[:-1000]

    async def writable(self) -> None:
        """Wait until the journal accepts entries."""
        await self._writable.wait()

    @property
    def full(self) -> bool:
        """Whether the disk is full."""
        return not self._writable.is_set()

    async def run(self) -> None:
        """Commit when due, trim after it. Ends with `JournalError` when the file or the disk fails."""
        while True:
            await self._due()
            await _to_its_end(self._commit())
            await self._trim()
            while self.full:
                await asyncio.sleep(PROBE_EVERY)
                await self._probe()

    async def _due(self) -> None:
        while not self._group.due(now := time.monotonic()):
            self._wake.clear()
            wait = self._group.deadline - now
            try:
                async with asyncio.timeout(None if wait == float("inf") else wait):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def _commit(self) -> None:
        group, self._group = self._group, _Group()
        commit = group.commit
        saved = self._add_cursors(commit)
        commit.unreadable, self._unreadable = self._unreadable, []
        try:
            newest = await self._in_writer(self._store.commit, commit)
        except JournalFull as error:
            self._became_full(group, saved, error)
            return
        self.counters.commits += 1
        self.counters.entries += len(commit.entries)
        if saved:
            self._cursors_saved = time.monotonic()
        self._note(newest)
        group.durable.resolve(None)
        self._tell()

    def _note(self, newest: int) -> None:
        now = time.monotonic()
        self._recent.append((now, self.newest))
        while self._recent[0][0] < now - RECENT:
            self._recent.popleft()
        self.newest = newest

    def _add_cursors(self, commit: Commit) -> list[SinkOutbox]:
        """Let the cursors that moved ride on this commit, if it is time."""
        if not self._cursors_due and time.monotonic() - self._cursors_saved < CURSORS_EVERY:
            return []
        self._cursors_due = False
        saved = [outbox for outbox in self.outboxes.values() if outbox.dirty]
        for outbox in saved:
            commit.debts[outbox.sink] = list(outbox.debt.rows())
            commit.set_aside += outbox.refusals
            outbox.refusals = []
            outbox.dirty = False
        return saved

    # -- the full disk ----------------------------------------------------------------------------------------

    def _became_full(self, group: _Group, saved: list[SinkOutbox], error: JournalFull) -> None:
        for outbox in saved:
            outbox.dirty = True
            outbox.refusals = [row for row in group.commit.set_aside if row[0] == outbox.sink] + outbox.refusals
        self._writable.clear()
        self.counters.refused += len(group.commit.entries)
        log.error("journal full: nothing is acknowledged until there is space", reason=str(error))
        late, self._group = self._group, _Group()
        self.counters.refused += len(late.commit.entries)
        group.durable.resolve(error)
        late.durable.resolve(error)

    async def _probe(self) -> None:
        if not await self._in_writer(self._store.make_room, self._owed()):
            return
        try:
            await self._in_writer(self._store.commit, Commit(state={"journal/probed": time.time_ns()}))
        except JournalFull:
            return
        log.info("journal accepts entries again")
        self._writable.set()
        self._tell()

    # -- trimming ---------------------------------------------------------------------------------------------

    def _owed(self) -> Debt:
        """Return what any configured sink still owes."""
        return Debt(row for outbox in self.outboxes.values() for row in outbox.debt.rows())

    async def _trim(self) -> None:
        """Remove one bulk at most, so that the next commit waits little."""
        if time.monotonic() < self._trim_due and self._store.used <= self._budget:
            return
        older_than = time.time_ns() - int(self._keep * 1e9)
        try:
            trimmed: Trimmed = await self._in_writer(
                self._store.trim, self._owed(), older_than, list(self.outboxes), self._budget
            )
        except JournalFull as error:
            log.warning("trimming found no space", reason=str(error))
            return
        self.counters.trimmed += trimmed.delivered
        if trimmed.dropped:
            if not self.counters.dropped:
                log.error("disk budget used up: dropping the oldest readings", budget=self._budget)
            self.counters.dropped += trimmed.dropped
            self.dropped_ever += trimmed.dropped
            self._group.commit.state[_DROPPED] = self.dropped_ever
        if not trimmed.more:
            self._trim_due = time.monotonic() + TRIM_EVERY

    # -- reading ----------------------------------------------------------------------------------------------

    async def extract(self, first: int, last: int, limit: int) -> Extract:
        """Read a range of positions, checked and dated."""
        return await self.query(Reader.read, first, last, limit, self._store.boot)

    async def tail(self, count: int) -> list[Entry]:
        """Return the newest entries, oldest first."""
        return await self.query(Reader.tail, count, self._store.boot)

    async def query(self, method: Callable[[Reader, Unpack[P]], T], *parameters: *P) -> T:
        """Call a method of the reader in its thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reader_thread, method, self._reader, *parameters)

    def last_old(self) -> int:
        """Return the newest position that is older than `RECENT` seconds."""
        since = time.monotonic() - RECENT
        return next((before for at, before in self._recent if at >= since), self.newest)

    async def wait_for_news(self) -> None:
        """Wait for the next commit, or for the date becoming known."""
        await self._news.wait()

    def _tell(self) -> None:
        self.news += 1
        self._news.set()
        self._news = asyncio.Event()

    # -- operations -------------------------------------------------------------------------------------------

    async def anchor(self, quality: str) -> None:
        """Keep what time it is now, so that entries of this boot without a time can be dated."""
        now, uptime = self._clock.now()
        if now is None:
            return
        self._group.commit.anchors.append((uptime, now, quality))
        await self.record([], within=0)

    async def flush(self) -> None:
        """Write what waits for a commit to ride on: cursors, refusals, unreadable messages."""
        self._cursors_due = True
        await self.record([], within=0)

    async def retry(self, sink: str | None = None) -> int:
        """Owe again what a sink (or any) refused; return how many entries."""
        await self.flush()
        rows = [row for row in await self.query(Reader.set_aside) if row[0] in self.outboxes]
        rows = [row for row in rows if sink in (None, row[0])]
        for name in {owner for owner, _, _ in rows}:  # whoever gets nothing back goes on as it was
            self.outboxes[name].owe(position for owner, position, _ in rows if owner == name)
        self._group.commit.retried += [(owner, position) for owner, position, _ in rows]
        await self.flush()
        return len(rows)

    async def ping(self) -> None:
        """Return when both threads answered."""
        await self._in_writer(int)
        await self.query(lambda _reader: None)

    @property
    def used(self) -> int:
        """The bytes that entries take, of `budget`."""
        return self._store.used

    @property
    def budget(self) -> int:
        """The bytes that entries may take."""
        return self._budget

    @property
    def journal_id(self) -> str:
        """The random id of this file."""
        return self._store.journal_id

    async def _in_writer(self, function: Callable[[Unpack[P]], T], *parameters: *P) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, function, *parameters)


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do it, and be cancelled only after it: what is in a commit that has begun would be lost with it."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
