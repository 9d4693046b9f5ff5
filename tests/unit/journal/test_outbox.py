"""A sink gets each entry at least once, whatever happens between reading, confirming and dying."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_energy.clock import Clock
from edge_energy.journal.reader import Reader
from tests.unit.samples import new_entries, new_entry, running_journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from edge_energy.interfaces import Batch
    from edge_energy.journal.journal import Journal
    from edge_energy.journal.outbox import SinkLane, SinkOutbox

T = TypeVar("T")
SOON = 5.0


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with running_journal(tmp_path) as journal:
        await journal.record(new_entries(6), within=0)
        yield journal


@pytest.fixture
async def outbox(journal: Journal) -> SinkOutbox:
    return await journal.outbox("sink", strict=True)


async def read(outbox: SinkOutbox, limit: int = 100) -> Batch:
    batch = await outbox.new.read(limit)
    assert batch is not None
    return batch


def positions(batch: Batch) -> list[int]:
    return [entry.position for entry in batch.entries]


async def damage(journal: Journal, position: int) -> None:
    """Change a row on disk behind the program's back."""
    sql = "UPDATE entries SET crc = crc + 1 WHERE position = ?"
    await journal._in_writer(lambda: journal._store._db.execute(sql, (position,)))


async def test_reading_runs_ahead_of_confirming_and_rewinding_goes_back(outbox: SinkOutbox) -> None:
    """Nothing is read twice until a rewind, and then everything that is not confirmed."""
    first, second = await read(outbox, 2), await read(outbox, 3)
    assert (positions(first), positions(second)) == ([1, 2], [3, 4, 5])
    assert (outbox.lag(), outbox.new.unread()) == (6, 1)
    outbox.confirm(second)
    outbox.rewind()
    assert (outbox.lag(), outbox.new.unread()) == (3, 3)
    assert positions(await read(outbox)) == [1, 2]
    assert positions(await read(outbox)) == [6]
    assert await outbox.new.read(1) is None


async def test_news_come_with_the_next_commit(journal: Journal, outbox: SinkOutbox) -> None:
    """Whoever has read everything sleeps until there is more."""
    await read(outbox)
    waiting = asyncio.create_task(outbox.news())
    await journal.ping()
    assert not waiting.done()
    await journal.record(new_entries(1), within=0)
    await asyncio.wait_for(waiting, SOON)
    assert outbox.new.unread() == 1


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing count as only seconds old."""
    monkeypatch.setattr("edge_energy.journal.journal.RECENT", 0.0)


@pytest.mark.usefixtures("old")
async def test_what_is_owed_at_a_rewind_is_the_backlog_and_what_comes_later_is_new(journal: Journal) -> None:
    """Both are read side by side, each in order; outage behind outage, the ranges alone say what is owed."""
    outbox = await journal.outbox("sink")
    await journal.record(new_entries(2), within=0)
    backlog, new = outbox.backlog, outbox.new
    assert (backlog.unread(), new.unread()) == (6, 2)
    latest = await new.read(100)
    assert latest is not None
    assert positions(latest) == [7, 8]
    outbox.confirm(latest)
    old = await backlog.read(4)
    assert old is not None
    assert positions(old) == [1, 2, 3, 4]
    outbox.confirm(old)
    assert outbox.debt.rows() == [(5, 6), (9, None)]
    await journal.record(new_entries(1), within=0)
    outbox.rewind()
    assert (outbox.backlog.unread(), outbox.new.unread(), outbox.lag()) == (3, 0, 3)
    assert [positions(batch) for _ in range(2) if (batch := await outbox.backlog.read(100))] == [[5, 6], [9]]
    assert await outbox.backlog.read(100) is None


async def test_what_is_only_seconds_old_is_no_backlog(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A far side that is back is found a moment later: what was recorded in between does not wait behind a day."""
    outbox = await journal.outbox("sink")
    assert (outbox.backlog.unread(), outbox.new.unread()) == (0, 6)
    monkeypatch.setattr("edge_energy.journal.journal.RECENT", 0.0)
    outbox.rewind()
    assert (outbox.backlog.unread(), outbox.new.unread()) == (6, 0)


async def test_a_restart_makes_no_backlog_of_what_is_only_seconds_old(tmp_path: Path) -> None:
    """There was no outage: nobody has to wait for the pace of one."""
    async with running_journal(tmp_path) as journal:
        _, now = Clock(lambda: True).now()
        await journal.record([new_entry(uptime=now - 60 * 10**9), new_entry(uptime=now)], within=0)
    async with running_journal(tmp_path) as journal:
        outbox = await journal.outbox("sink")
        assert (outbox.backlog.unread(), outbox.new.unread()) == (1, 1)
    async with running_journal(tmp_path, boot="another") as journal:
        outbox = await journal.outbox("sink")
        assert (outbox.backlog.unread(), outbox.new.unread()) == (2, 0)


@pytest.mark.usefixtures("old")
async def test_an_undated_backlog_holds_nothing_new_up(journal: Journal) -> None:
    """What nobody can date yet waits; what came after the date was known does not."""
    await journal.record([new_entry(time=None)], within=0)
    outbox = await journal.outbox("sink")
    await journal.record(new_entries(1), within=0)
    batch = await outbox.backlog.read(100)
    assert batch is not None
    assert positions(batch) == [1, 2, 3, 4, 5, 6]
    assert await outbox.backlog.read(100) is None
    assert (outbox.backlog.unread(), outbox.new.unread()) == (0, 1)
    assert positions(await read(outbox)) == [8]
    await journal.anchor("set")
    assert outbox.backlog.unread() == 1


async def test_what_the_storage_changed_is_set_aside_and_the_rest_delivered(
    journal: Journal, outbox: SinkOutbox
) -> None:
    """A wrong checksum is no measurement: named with its reason, never handed out, holding up nothing."""
    await damage(journal, 3)
    batch = await read(outbox)
    assert (positions(batch), batch.first, batch.last) == ([1, 2, 4, 5, 6], 1, 6)
    outbox.confirm(batch)
    journal._cursors_saved = float("-inf")
    await journal.record([], within=0)
    ((sink, position, reason),) = await journal.query(Reader.set_aside)
    assert (sink, position) == ("sink", 3)
    assert "checksum" in reason


async def test_an_undated_entry_waits_for_news_instead_of_being_asked_for_again(
    journal: Journal, outbox: SinkOutbox
) -> None:
    """While the date is unknown the sink sleeps; each commit may bring it."""
    await journal.record([new_entry(time=None), new_entry()], within=0)
    assert positions(await read(outbox)) == [1, 2, 3, 4, 5, 6]
    assert await outbox.new.read(100) is None
    assert (outbox.lag(), outbox.new.unread()) == (8, 0)
    await journal.anchor("set")
    assert positions(await read(outbox)) == [7, 8]


async def test_a_retry_is_not_undone_by_a_batch_on_its_way(journal: Journal, outbox: SinkOutbox) -> None:
    """Confirming the batch in which an entry was refused does not settle the retry of that entry."""
    batch = await read(outbox)
    outbox.set_aside(batch.entries[1], "bad")
    assert await journal.retry() == 1
    outbox.confirm(batch)
    again = await read(outbox)
    assert 2 in positions(again)
    outbox.confirm(batch)
    assert outbox.lag() == 6, "only the newer batch counts"
    outbox.confirm(again)
    assert outbox.lag() == 0


async def test_a_retry_while_the_sink_reads_is_read_next(outbox: SinkOutbox) -> None:
    """An entry brought back at that moment does not wait for the next restart."""
    batch = await read(outbox, 3)
    outbox.set_aside(batch.entries[0], "bad")
    outbox.confirm(batch)
    reading = asyncio.create_task(outbox.new.read(2))
    await asyncio.sleep(0)
    outbox.owe([1])
    batch_or_none = await reading
    assert batch_or_none is None
    assert positions(await read(outbox)) == [1]


class Deliveries(RuleBasedStateMachine):
    """A real journal and one sink: entries come, are read, confirmed, refused, retried; the power fails."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folders = tempfile.TemporaryDirectory()
        self.starts = 0
        self.recorded: set[int] = set()
        """Numbers of entries that the journal said are durable."""
        self.accepted: set[int] = set()
        self.damaged: set[int] = set()
        """Positions whose rows were changed on disk."""
        self.in_flight: list[tuple[Batch, set[int]]] = []
        self.strict = False
        self.next = 0
        self.undated = False

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Let the loop go on until this has an answer."""
        return self.runner.run(asyncio.wait_for(coroutine, SOON))

    @initialize(strict=st.booleans())
    def start(self, *, strict: bool) -> None:
        """Open the journal in the newest folder, with something to deliver."""
        self.strict = strict
        self.run(self._open())
        self.record(5)

    async def _open(self) -> None:
        self.stack = AsyncExitStack()
        self.journal = await self.stack.enter_async_context(running_journal(self._folder()))
        self.outbox = await self.journal.outbox("sink", strict=self.strict)
        self.in_flight = []

    def _folder(self) -> Path:
        return Path(self.folders.name, str(self.starts))

    async def _record(self, count: int, **more: Any) -> None:
        numbers = range(self.next, self.next + count)
        self.next += count
        await self.journal.record([new_entry(n, values={"n": float(n)}, **more) for n in numbers], within=0)
        self.recorded |= {*numbers}

    @rule(count=st.integers(1, 20))
    def record(self, count: int) -> None:
        """Record entries and wait until they are durable."""
        self.run(self._record(count))

    @rule()
    def record_without_a_date(self) -> None:
        """Record an entry that cannot be delivered until the date is known."""
        self.run(self._record(1, time=None, uptime=1))
        self.undated = True

    @precondition(lambda self: self.undated)
    @rule()
    def learn_the_date(self) -> None:
        """Make what has no time deliverable."""
        self.run(self.journal.anchor("set"))
        self.undated = False

    def _take(self, batch: Batch | None) -> None:
        if batch is not None:
            self.in_flight.append((batch, set()))
            assert not self.damaged & {*positions(batch)}

    def _lane(self, new: bool) -> SinkLane:  # noqa: FBT001 - drawn
        return self.outbox.new if new else self.outbox.backlog

    @rule(limit=st.integers(1, 30), new=st.booleans())
    def read(self, limit: int, *, new: bool) -> None:
        """Read a batch, ahead of what is confirmed."""
        self._take(self.run(self._lane(new).read(limit)))

    @precondition(lambda self: any(batch.entries for batch, _ in self.in_flight))
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        """Let the sink refuse one entry for good."""
        batch, refused = data.draw(st.sampled_from([known for known in self.in_flight if known[0].entries]))
        entry = data.draw(st.sampled_from(batch.entries))
        self.outbox.set_aside(entry, "bad")
        refused.add(entry.position)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        """Let the sink accept the rest of some batch, perhaps one from before a rewind."""
        batch, refused = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        self.accepted |= {int(entry.body["n"]) for entry in batch.entries if entry.position not in refused}
        self.outbox.confirm(batch)

    @rule()
    def rewind(self) -> None:
        """Begin again, as a restarted delivery does."""
        self.outbox.rewind()

    @rule()
    def save(self) -> None:
        """Let the cursors ride on a commit."""
        self.journal._cursors_saved = float("-inf")
        self.run(self._record(0))

    @rule(limit=st.none() | st.integers(1, 30), new=st.booleans())
    def retry(self, limit: int | None, *, new: bool) -> None:
        """Bring back what was refused, perhaps just when a batch is read."""

        async def both() -> Batch | None:
            retrying = asyncio.create_task(self.journal.retry())
            batch = None if limit is None else await self._lane(new).read(limit)
            await retrying
            return batch

        self._take(self.run(both()))

    @precondition(lambda self: self.journal.newest)
    @rule(data=st.data())
    def change_a_row(self, data: st.DataObject) -> None:
        """Let the storage change a row that is not being delivered."""
        reading = {position for batch, _ in self.in_flight for position in positions(batch)}
        position = data.draw(st.integers(1, self.journal.newest))
        if position not in reading | self.damaged:
            self.run(damage(self.journal, position))
            self.damaged.add(position)

    @rule(crash=st.booleans())
    def start_again(self, *, crash: bool) -> None:
        """Stop in good order, or lose everything that is not on disk."""
        old, stack = self._folder(), self.stack
        if crash:
            self.starts += 1
            shutil.copytree(old, self._folder())
        self.run(stack.aclose())
        self.run(self._open())

    @invariant()
    def lag_is_never_more_than_there_is(self) -> None:
        """Health is derived from debt."""
        unread = self.outbox.new.unread() + self.outbox.backlog.unread()
        assert 0 <= unread <= self.outbox.lag() <= self.journal.newest
        assert not self.strict or not self.outbox.backlog.unread()

    def teardown(self) -> None:
        """Deliver all that is owed, and what was refused: then everything durable has arrived."""
        try:
            self._deliver_the_rest()
            # Numbers and positions run alike: every entry got the next of both.
            assert self.recorded - self.accepted <= {position - 1 for position in self.damaged}
        finally:
            self.run(self.stack.aclose())
            self.runner.close()
            self.folders.cleanup()

    def _deliver_the_rest(self) -> None:
        self.learn_the_date()
        for _ in range(2):
            self.rewind()
            for new in (True, False):
                while (batch := self.run(self._lane(new).read(50))) is not None:
                    self.accepted |= {int(entry.body["n"]) for entry in batch.entries}
                    self.outbox.confirm(batch)
            self.retry(None, new=True)


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
