"""Commits happen when promised and serve all who wait; a full disk refuses, keeps what is owed, and goes on."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from edge_energy.clock import Clock
from edge_energy.errors import ConfigError, JournalError, JournalFull
from edge_energy.journal import journal as journal_module
from edge_energy.journal.files import RESERVE, WAL_ALLOWANCE
from edge_energy.journal.journal import COMMIT_BYTES, COMMIT_ENTRIES, Journal
from edge_energy.journal.reader import Reader
from tests.unit.samples import BOOT, new_entries, new_entry, running_journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NEVER = 3600.0
SOON = 5.0  # seconds that a test waits for what must come at once


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with running_journal(tmp_path) as journal:
        yield journal


async def recorded(journal: Journal) -> list[float]:
    return [entry.body["power"] for entry in await journal.tail(10_000)]


async def pending(journal: Journal, sink: str = "sink") -> list[tuple[int, int | None]] | None:
    return await journal.query(Reader.pending, sink)


@asynccontextmanager
async def busy_writer(journal: Journal) -> AsyncIterator[None]:
    """Hold the writer's thread, as a slow card does."""
    gate = threading.Event()
    journal._writer.submit(gate.wait)
    try:
        yield
    finally:
        gate.set()


async def begun(journal: Journal) -> None:
    """Return when the commit that is due has begun: the loop has done what it had to before this answer."""
    await journal.query(Reader.oldest)


# -- when a commit happens -----------------------------------------------------------------------------------


async def test_a_commit_waits_as_long_as_its_entries_may_and_no_longer(journal: Journal) -> None:
    """`within` is a deadline: not before it (wear), not after it (waiting brokers)."""
    began = time.monotonic()
    durable = journal.record(new_entries(1), within=0.5)
    await asyncio.wait_for(journal.ping(), SOON)
    assert not durable.done()
    await asyncio.wait_for(asyncio.shield(durable), SOON)
    assert 0.49 <= time.monotonic() - began < SOON


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param(new_entries(COMMIT_ENTRIES - 1), new_entries(1), id="1,000 entries"),
        pytest.param(
            [new_entry(body=" " * (COMMIT_BYTES - 20) + "{}")],
            [new_entry(), new_entry()],
            id="256 KiB",
        ),
        pytest.param(new_entries(3), [], id="somebody in a hurry"),
    ],
)
async def test_what_waits_long_is_committed_early_when_it_is_much(
    journal: Journal, first: list[Any], then: list[Any]
) -> None:
    """Size ends the wait as the deadline does, and so does a later caller with a nearer deadline."""
    durable = journal.record(first, within=NEVER)
    await journal.ping()
    await journal.ping()
    assert not durable.done()
    assert journal.record(then, within=NEVER if then else 0) is durable
    await asyncio.wait_for(asyncio.shield(durable), SOON)
    assert len(await journal.tail(2_000)) == len(first) + len(then)


async def test_one_commit_serves_many_callers(journal: Journal) -> None:
    """A hundred callers cost one transaction, in the order of their calls."""
    durables = [journal.record([new_entry(n)], within=0.02) for n in range(100)]
    await asyncio.wait_for(asyncio.gather(*durables), SOON)
    assert journal.counters.commits == 1
    assert await recorded(journal) == [46.9 + n for n in range(100)]


async def test_what_arrives_during_a_commit_is_the_next_one(journal: Journal) -> None:
    """One commit at a time; nobody is told of durability by another's commit."""
    async with busy_writer(journal):
        first = journal.record([new_entry(1)], within=0)
        await begun(journal)
        second = journal.record([new_entry(2)], within=NEVER)
        assert second is not first
    await asyncio.wait_for(asyncio.shield(first), SOON)
    assert not second.done()
    assert await recorded(journal) == [47.9]
    journal.record([], within=0)
    await asyncio.wait_for(asyncio.shield(second), SOON)
    assert await recorded(journal) == [47.9, 48.9]


async def test_a_caller_who_gives_up_takes_nobody_along(journal: Journal) -> None:
    """Cancelling one waiter cancels neither the commit nor the others."""

    async def wait() -> None:
        await journal.record([new_entry()], within=0.05)

    gives_up, stays = asyncio.create_task(wait()), asyncio.create_task(wait())
    await asyncio.sleep(0)
    gives_up.cancel()
    await asyncio.wait_for(stays, SOON)
    assert gives_up.cancelled()
    assert len(await journal.tail(10)) == 2


async def test_closing_commits_what_waits(tmp_path: Path) -> None:
    """A clean stop loses nothing that was recorded, acknowledged or not."""
    async with running_journal(tmp_path) as journal:
        journal.record(new_entries(3), within=NEVER)
        journal.keep_aside("mqtt a", "not JSON", b"x")
    async with running_journal(tmp_path) as journal:
        assert len(await journal.tail(10)) == 3
        assert [row[2] for row in await journal.query(Reader.unreadable, 10)] == ["not JSON"]


async def test_a_stop_in_the_middle_of_a_commit_loses_nothing_of_it(tmp_path: Path) -> None:
    """The commit that has begun has taken its entries from those that closing would commit."""
    clock = Clock(lambda: True)
    async with Journal(tmp_path, clock, BOOT, max_size=2**30, keep=NEVER) as journal:
        running = asyncio.create_task(journal.run())
        async with busy_writer(journal):  # so that the commit has begun, and waits for its thread
            durable = journal.record([new_entry()], within=0)
            await begun(journal)
            running.cancel()
            await begun(journal)
        await asyncio.wait([running])
        assert durable.done()
        assert not durable.failed()
    async with running_journal(tmp_path) as again:
        assert len(await recorded(again)) == 1


async def test_an_error_of_the_disk_ends_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`JournalError` reaches whoever runs the journal: the process ends, systemd starts it again."""
    async with Journal(tmp_path, Clock(lambda: True), BOOT, max_size=2**30, keep=NEVER) as journal:
        running = asyncio.create_task(journal.run())
        with monkeypatch.context() as broken:
            broken.setattr(journal._store, "commit", partial(_raise, JournalError("the card is broken")))
            journal.record(new_entries(1), within=0)
            with pytest.raises(JournalError, match="broken"):
                await asyncio.wait_for(running, SOON)


def _raise(error: Exception, *_: object) -> None:
    raise error


# -- cursors -------------------------------------------------------------------------------------------------


async def test_cursors_ride_on_a_commit_at_most_every_ten_seconds(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saving them with every commit would write a third more; forgetting them would deliver everything again."""
    outbox = await journal.outbox("sink")
    journal._cursors_saved = time.monotonic()
    await journal.record(new_entries(5), within=0)
    batch = await outbox.new.read(3)
    assert batch is not None
    outbox.confirm(batch)
    await journal.record([], within=0)
    assert await pending(journal) is None
    monkeypatch.setattr(journal_module, "CURSORS_EVERY", time.monotonic() - journal._cursors_saved)
    await journal.record([], within=0)
    assert await pending(journal) == [(4, None)]


async def test_a_clean_stop_saves_the_cursors(tmp_path: Path) -> None:
    """After a stop in good order nothing is delivered twice."""
    async with running_journal(tmp_path) as journal:
        outbox = await journal.outbox("sink")
        await journal.record(new_entries(5), within=0)
        batch = await outbox.new.read(10)
        assert batch is not None
        outbox.set_aside(batch.entries[2], "bad")
        outbox.confirm(batch)
    async with running_journal(tmp_path) as journal:
        assert (await journal.outbox("sink")).lag() == 0
        assert await journal.query(Reader.set_aside) == [("sink", 3, "bad")]


async def test_a_sink_never_seen_before_owes_everything(tmp_path: Path) -> None:
    """A sink that is configured later gets what the journal still holds, and all that comes."""
    async with running_journal(tmp_path) as journal:
        await journal.record(new_entries(5), within=0)
        outbox = await journal.outbox("new")
        assert outbox.lag() == 5
    async with running_journal(tmp_path) as journal:
        assert await pending(journal, "new") == [(1, None)]


# -- the full disk -------------------------------------------------------------------------------------------


async def limit_pages(journal: Journal, pages: int | None) -> None:
    """Let SQLite find the disk full at the file's present size, or have space again."""

    def limit() -> None:
        count = pages or journal._store._value("PRAGMA page_count")
        journal._store._db.execute(f"PRAGMA max_page_count={count}")

    await journal._in_writer(limit)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a full journal look for space often, so that tests are quick."""
    monkeypatch.setattr(journal_module, "PROBE_EVERY", 0.01)


@pytest.mark.usefixtures("patient")
async def test_a_full_disk_refuses_everything_and_goes_on_by_itself(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits is told, whoever comes is told at once, nothing is half written, and it ends with the cause."""
    await journal.record(new_entries(2), within=0)
    await limit_pages(journal, None)
    room = threading.Event()
    monkeypatch.setattr(journal._store, "make_room", lambda _owed: room.is_set())
    async with busy_writer(journal):
        failing = journal.record(new_entries(5_000), within=0)
        await begun(journal)
        late = journal.record(new_entries(1), within=NEVER)
    for durable in (failing, late):
        with pytest.raises(JournalFull):
            await asyncio.wait_for(asyncio.shield(durable), SOON)
    with pytest.raises(JournalFull):
        journal.record(new_entries(1), within=0)
    assert (journal.full, journal.counters.refused, len(await journal.tail(10))) == (True, 5_002, 2)
    waiting = asyncio.create_task(journal.writable())
    await journal.ping()
    assert not waiting.done()
    await limit_pages(journal, 10**6)
    room.set()
    await asyncio.wait_for(waiting, SOON)
    await asyncio.wait_for(journal.record(new_entries(1), within=0), SOON)
    assert len(await journal.tail(10)) == 3


@pytest.mark.usefixtures("patient")
async def test_cursors_and_refusals_survive_a_full_disk(journal: Journal) -> None:
    """What a failed commit should have saved is saved by the next that succeeds."""
    outbox = await journal.outbox("sink")
    await journal.record(new_entries(5), within=0)
    batch = await outbox.new.read(10)
    assert batch is not None
    outbox.set_aside(batch.entries[1], "bad")
    outbox.confirm(batch)
    journal._cursors_saved = float("-inf")
    await limit_pages(journal, None)
    with pytest.raises(JournalFull):
        await journal.record(new_entries(5_000), within=0)
    assert await journal.query(Reader.set_aside) == []
    await limit_pages(journal, 10**6)
    await asyncio.wait_for(journal.writable(), SOON)
    await journal.record([], within=0)
    assert await pending(journal) == [(6, None)]
    assert await journal.query(Reader.set_aside) == [("sink", 2, "bad")]


# -- trimming ------------------------------------------------------------------------------------------------


async def test_dropped_readings_are_counted_for_ever(tmp_path: Path) -> None:
    """The one door through which acknowledged readings are lost is counted, also across restarts."""
    budget = RESERVE + WAL_ALLOWANCE + 2**20
    async with running_journal(tmp_path, max_size=budget) as journal:
        outbox = await journal.outbox("dead")
        for _ in range(40):
            await journal.record(new_entries(1_000), within=0)
        await journal.ping()
        assert journal.used <= journal.budget + 2**18
        dropped = journal.counters.dropped
        assert dropped >= 5_000
        assert journal.dropped_ever == dropped
    async with running_journal(tmp_path, max_size=budget) as journal:
        assert journal.dropped_ever == dropped
        outbox = await journal.outbox("dead")
        batch = await outbox.backlog.read(100_000)
        assert batch is not None
        assert (len(batch.entries), batch.last) == (40_000 - dropped, 40_000)


async def test_what_no_sink_owes_is_trimmed_once_it_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any sink, `keep` alone decides; trimmed is not dropped."""
    monkeypatch.setattr(journal_module, "TRIM_EVERY", 0.0)
    async with running_journal(tmp_path, keep=0.0) as journal:
        await journal.anchor("set")
        await journal.record([new_entry(0, uptime=-(10**9))] * 2_500, within=0)
        await journal.record([], within=0)
        await journal.record([], within=0)
        await journal.ping()
        assert (journal.counters.trimmed, journal.counters.dropped) == (2_499, 0)


async def test_what_any_sink_still_owes_is_not_trimmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of them was made first, and however old it is: the others may have delivered it long ago."""
    monkeypatch.setattr(journal_module, "TRIM_EVERY", 0.0)
    async with running_journal(tmp_path, keep=0.0) as journal:
        await journal.anchor("set")
        sinks = {name: await journal.outbox(name) for name in ("first", "dead", "last")}
        await journal.record([new_entry(0, uptime=-(10**9))] * 2_500, within=0)
        for name in ("first", "last"):
            while (batch := await sinks[name].new.read(1_000)) is not None:
                sinks[name].confirm(batch)
        for _ in range(3):
            await journal.record([], within=0)
        await journal.ping()
        assert journal.counters.trimmed == journal.counters.dropped == 0
        found = await sinks["dead"].new.read(10_000)
        assert found is not None
        assert len(found.entries) == 2_500


# -- the rest ------------------------------------------------------------------------------------------------


async def test_a_state_directory_serves_one_daemon(journal: Journal, tmp_path: Path) -> None:
    """A second daemon is refused with words for the operator; the first goes on."""
    with pytest.raises(ConfigError, match=r"state_dir = .*another daemon is using it"):
        async with running_journal(tmp_path):
            pass
    await asyncio.wait_for(journal.record(new_entries(1), within=0), SOON)


async def test_an_anchor_dates_what_was_recorded_before(tmp_path: Path) -> None:
    """Entries that wait for the date are delivered as soon as it is known."""
    trusted = False
    clock = Clock(lambda: trusted)
    async with running_journal(tmp_path, clock=clock) as journal:
        outbox = await journal.outbox("sink")
        now, uptime = clock.now()
        assert now is None
        await journal.record([new_entry(time=None, uptime=uptime)], within=0)
        assert await outbox.new.read(10) is None
        assert outbox.new.unread() == 0
        waiting = asyncio.create_task(outbox.news())
        await journal.anchor("set")
        trusted = True
        clock.check()
        before = time.time_ns()
        await journal.anchor("set")
        await asyncio.wait_for(waiting, SOON)
        batch = await outbox.new.read(10)
        assert batch is not None
        assert abs(batch.entries[0].time - before) < SOON * 1e9


async def test_retry_brings_back_what_one_sink_refused(journal: Journal) -> None:
    """Only what it names, also what was refused a moment ago, durably, and its list is empty afterwards."""
    one, other = await journal.outbox("one"), await journal.outbox("other")
    await journal.record(new_entries(5), within=0)
    for outbox, bad in ((one, 2), (other, 3)):
        batch = await outbox.new.read(10)
        assert batch is not None
        outbox.set_aside(batch.entries[bad], "bad")
        outbox.confirm(batch)
    assert await journal.retry("one") == 1
    assert (one.lag(), other.lag()) == (1, 0)
    assert await journal.query(Reader.set_aside) == [("other", 4, "bad")]
    assert await pending(journal, "one") == [(3, 3), (6, None)]
    assert await journal.retry() == 1
    assert await journal.retry() == 0


async def test_retry_leaves_alone_whom_it_brings_nothing_back(journal: Journal) -> None:
    """What another sink has on its way is not sent twice, and what is new to it is no backlog."""
    one, other = await journal.outbox("one"), await journal.outbox("other")
    await journal.record(new_entries(5), within=0)
    refused, going = await one.new.read(10), await other.new.read(3)
    assert refused is not None
    assert going is not None
    one.set_aside(refused.entries[0], "bad")
    one.confirm(refused)
    assert await journal.retry("one") == 1
    assert (other.new.unread(), other.backlog.unread()) == (2, 0)
    other.confirm(going)
    assert other.lag() == 2


async def test_ping_waits_for_both_threads(journal: Journal) -> None:
    """A hung card stops the watchdog's food."""
    async with busy_writer(journal):
        ping = asyncio.create_task(journal.ping())
        await journal.query(Reader.oldest)
        assert not ping.done()
    await asyncio.wait_for(ping, SOON)


def test_the_constructor_does_no_io(tmp_path: Path) -> None:
    """A journal that is not opened leaves no trace."""
    Journal(tmp_path / "state", Clock(), BOOT, max_size=2**30, keep=1)
    assert [*tmp_path.iterdir()] == []
