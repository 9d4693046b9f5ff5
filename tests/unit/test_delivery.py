"""Delivery finds what is bad, confirms what is safe, and sets nothing aside that the far side may be guilty of."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import pytest

from edge_energy.delivery import TOO_MANY_REJECTIONS, Delivery
from edge_energy.errors import Rejected, TooLarge, Unavailable
from edge_energy.interfaces import Batch, Entry
from edge_energy.pace import Pace
from tests.unit.api.serving import until
from tests.unit.samples import entry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

SOON = 5.0


class FakeLane:
    """Entries of a range of positions, read in order."""

    def __init__(self, outbox: FakeOutbox, first: int, last: int | None) -> None:
        self.outbox, self.next, self.last = outbox, first, last

    def end(self) -> int:
        """Return the last position that there is."""
        return self.outbox.newest if self.last is None else self.last

    def unread(self) -> int:
        """Count what is not read."""
        return self.end() - self.next + 1

    async def read(self, limit: int) -> Batch | None:
        """Give the next."""
        first, last = self.next, min(self.next + limit - 1, self.end())
        self.next = last + 1
        return Batch([entry(position) for position in range(first, last + 1)], first, last) if first <= last else None


class FakeOutbox:
    """Entries 1 to `newest`, in one lane as for a strict sink, or as a backlog; remembers what became of them."""

    def __init__(self, newest: int, *, strict: bool = True) -> None:
        self.newest = newest
        self.strict = strict
        self.confirmed: list[tuple[int, int]] = []
        self.aside: dict[int, str] = {}
        self.rewinds = 0
        self.empty = asyncio.Event()
        """Set when somebody waits for more than there is."""
        self.more = asyncio.Event()
        self.rewind()
        self.rewinds = 0

    def add(self, count: int) -> None:
        """Record more."""
        self.newest += count
        self.empty.clear()
        self.more.set()
        self.more = asyncio.Event()

    async def news(self) -> None:
        """Wait for more."""
        if not self.new.unread() and not self.backlog.unread():
            self.empty.set()
        await self.more.wait()

    def owes(self, position: int) -> bool:
        """Look through the ranges."""
        return not any(first <= position <= last for first, last in self.confirmed)

    def confirm(self, batch: Batch) -> None:
        """Note the range."""
        self.confirmed.append((batch.first, batch.last))

    def set_aside(self, entry: Entry, reason: str) -> None:
        """Note the reason."""
        self.aside[entry.position] = reason

    def rewind(self) -> None:
        """Begin again."""
        self.rewinds += 1
        done = 0
        for first, last in sorted(self.confirmed):
            done = last if first == done + 1 else done
        owed = done if self.strict else self.newest
        self.backlog, self.new = FakeLane(self, done + 1, owed), FakeLane(self, owed + 1, None)


class FakeSink:
    """Refuses what it is told to; keeps what it accepted, request by request."""

    name = "fake"

    def __init__(self, verdict: Callable[[list[int]], None], batch_size: int = 1000, batch_age: float = 0) -> None:
        self.batch_size = batch_size
        self.batch_age = batch_age
        self.verdict = verdict
        self.requests: list[list[int]] = []
        self.accepted: list[int] = []
        self.open = 0

    async def __aenter__(self) -> Self:
        self.open += 1
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.open -= 1

    async def write(self, entries: Sequence[Entry]) -> None:
        """Accept what is not refused."""
        positions = [entry.position for entry in entries]
        self.requests.append(positions)
        assert self.open
        self.verdict(positions)
        self.accepted += positions


def rejecting(*bad: int, certain: bool = False) -> Callable[[list[int]], None]:
    """Refuse every batch that has one of these, as InfluxDB does."""
    known = {*bad}

    def verdict(positions: list[int]) -> None:
        if found := known.intersection(positions):
            raise Rejected(f"bad {min(found)}", certain=certain)

    return verdict


def fine(_positions: list[int]) -> None:
    """Accept."""


async def deliver(delivery: Delivery, outbox: FakeOutbox) -> None:
    """Run until nothing is left to read; what ends the run before is raised."""
    running, idle = asyncio.create_task(delivery.run()), asyncio.create_task(outbox.empty.wait())
    try:
        async with asyncio.timeout(SOON):
            await asyncio.wait([running, idle], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
    finally:
        running.cancel()
        idle.cancel()
        await asyncio.wait([running])


async def test_everything_is_delivered_in_order_and_confirmed_batch_by_batch() -> None:
    """The plain case, and that the sink is open exactly while it is used."""
    outbox, sink = FakeOutbox(2_500), FakeSink(fine)
    delivery = Delivery(sink, outbox)
    await deliver(delivery, outbox)
    assert sink.accepted == [*range(1, 2_501)]
    assert outbox.confirmed == [(1, 1_000), (1_001, 2_000), (2_001, 2_500)]
    assert (delivery.delivered, sink.open, delivery.up.is_set()) == (2_500, 0, True)


@pytest.mark.parametrize("bad", [1, 2, 500, 617, 999])
async def test_halving_finds_the_bad_entry_among_a_thousand(bad: int) -> None:
    """One bad entry costs some twenty requests and nothing else: 999 arrive, it is named with its reason."""
    outbox, sink = FakeOutbox(1_000), FakeSink(rejecting(bad))
    await deliver(Delivery(sink, outbox), outbox)
    assert sink.accepted == [position for position in range(1, 1_001) if position != bad]
    assert outbox.aside == {bad: f"bad {bad}"}
    assert outbox.confirmed == [(1, 1_000)]
    assert len(sink.requests) <= 25


async def test_a_suspect_is_set_aside_only_after_something_later_was_accepted() -> None:
    """While nothing after it was accepted, the far side may be at fault: neither set aside nor confirmed."""
    outbox, sink = FakeOutbox(10), FakeSink(rejecting(10))
    delivery = Delivery(sink, outbox)
    await deliver(delivery, outbox)
    assert (sink.accepted, outbox.aside, outbox.confirmed) == ([*range(1, 10)], {}, [])
    outbox.add(1)
    await deliver(delivery, outbox)
    assert outbox.aside == {10: "bad 10"}
    assert outbox.confirmed[-1][-1] == 11


async def test_nothing_is_confirmed_before_its_suspects_are_resolved() -> None:
    """A batch waits for the verdict on its last entry, and so do those before it that had suspects."""
    outbox, sink = FakeOutbox(30), FakeSink(rejecting(*range(8, 25)), batch_size=10)
    confirmed_at: list[list[int]] = []
    confirm = outbox.confirm

    def note(batch: Batch) -> None:
        confirmed_at.append([*sink.accepted])
        confirm(batch)

    outbox.confirm = note  # type: ignore[method-assign]
    await deliver(Delivery(sink, outbox), outbox)
    assert outbox.confirmed == [(1, 10), (11, 20), (21, 30)]
    assert all(25 in accepted for accepted in confirmed_at)
    assert [*outbox.aside] == [*range(8, 25)]


async def test_a_hundred_refusals_in_a_row_are_the_far_side_s_fault() -> None:
    """Then it is `Unavailable`, nothing of them is set aside or confirmed, and the next run begins with them."""
    outbox = FakeOutbox(1_000)
    sink = FakeSink(rejecting(*range(11, 1_001)))
    delivery = Delivery(sink, outbox)
    for run in (1, 2):
        with pytest.raises(Unavailable, match="refused 100 entries in a row, the last because: bad"):
            await deliver(delivery, outbox)
        assert (outbox.aside, outbox.confirmed, outbox.rewinds, sink.open) == ({}, [], run, 0)
    sink.verdict = fine
    await deliver(delivery, outbox)
    assert {*sink.accepted} == {*range(1, 1_001)}
    assert outbox.aside == {}


async def test_one_less_than_a_hundred_is_the_data_s_fault() -> None:
    """Ninety-nine bad entries in a row do not stop a sink."""
    bad = [*range(500, 500 + TOO_MANY_REJECTIONS - 1)]
    outbox, sink = FakeOutbox(1_000), FakeSink(rejecting(*bad))
    await deliver(Delivery(sink, outbox), outbox)
    assert [*outbox.aside] == bad
    assert outbox.confirmed == [(1, 1_000)]


async def test_certain_refusals_never_count() -> None:
    """A field-type conflict names the data itself: a thousand of them are a thousand bad entries."""
    outbox, sink = FakeOutbox(1_000), FakeSink(rejecting(*range(1, 1_001), certain=True))
    delivery = Delivery(sink, outbox)
    await deliver(delivery, outbox)
    assert [*outbox.aside] == [*range(1, 1_001)]
    assert (outbox.confirmed, delivery.set_aside, delivery.delivered) == ([(1, 1_000)], 1_000, 0)


async def test_too_large_batches_are_halved_and_stay_small() -> None:
    """The far side is asked for the size it takes once, not with every batch; nothing is lost or reordered."""

    def at_most_300(positions: list[int]) -> None:
        if len(positions) > 300:
            raise TooLarge("too large")

    outbox, sink = FakeOutbox(3_000), FakeSink(at_most_300)
    await deliver(Delivery(sink, outbox), outbox)
    assert sink.accepted == [*range(1, 3_001)]
    assert [len(request) for request in sink.requests[:3]] == [1_000, 500, 250]
    assert all(len(request) <= 300 for request in sink.requests if request[0] > 1_000)
    assert outbox.aside == {}


async def test_an_entry_that_is_too_large_alone_is_set_aside() -> None:
    """It would block the sink for ever otherwise."""

    def verdict(positions: list[int]) -> None:
        if 5 in positions:
            raise TooLarge("413")

    outbox, sink = FakeOutbox(1_000), FakeSink(verdict)
    delivery = Delivery(sink, outbox)
    await deliver(delivery, outbox)
    assert outbox.aside == {5: "too large even alone: 413"}
    assert outbox.confirmed == [(1, 1_000)]
    requests = len(sink.requests)
    outbox.add(1_000)
    await deliver(delivery, outbox)
    assert len(sink.requests) - requests <= 3, "one entry does not make all batches small"


async def test_an_outage_confirms_nothing_and_delivers_again() -> None:
    """`Unavailable` goes to the supervisor with the peer's wish; the next run starts at the oldest unconfirmed."""

    def away(positions: list[int]) -> None:
        if 6 in positions:
            raise Unavailable("away", retry_after=7)

    outbox, sink = FakeOutbox(10), FakeSink(away, batch_size=5)
    delivery = Delivery(sink, outbox)
    with pytest.raises(Unavailable, match="away") as caught:
        await deliver(delivery, outbox)
    assert caught.value.retry_after == 7
    assert (outbox.confirmed, sink.open) == ([(1, 5)], 0)
    sink.verdict = fine
    await deliver(delivery, outbox)
    assert {*sink.accepted} == {*range(1, 11)}


async def test_a_small_batch_goes_when_its_oldest_has_waited_long_enough() -> None:
    """`batch_age` bounds how long a lone reading waits for company; a full batch, or the first of a run, does not."""
    outbox, sink = FakeOutbox(1), FakeSink(fine, batch_size=5, batch_age=0.1)
    async with running(Delivery(sink, outbox)):
        await until(lambda: sink.requests == [[1]])
        began = asyncio.get_running_loop().time()
        outbox.add(3)
        await until(lambda: len(sink.requests) == 2)
        assert asyncio.get_running_loop().time() - began >= 0.09
        assert sink.requests[1] == [2, 3, 4]
        sink.batch_age = 3600.0
        outbox.add(5)
        await until(lambda: len(sink.requests) == 3)
        assert sink.requests[2] == [5, 6, 7, 8, 9]


async def test_a_batch_without_entries_is_confirmed_without_a_request() -> None:
    """What is no longer there, or unreadable, must not be owed for ever."""
    outbox, sink = FakeOutbox(0), FakeSink(fine)

    class Trimmed(FakeLane):
        async def read(self, limit: int) -> Batch | None:
            batch = await super().read(limit)
            return batch and batch._replace(entries=[])

    outbox.rewind = lambda: setattr(outbox, "new", Trimmed(outbox, 1, None))  # type: ignore[method-assign]
    outbox.newest = 9
    await deliver(Delivery(sink, outbox), outbox)
    assert (sink.requests, outbox.confirmed) == ([], [(1, 9)])


# -- live first, then the backlog ----------------------------------------------------------------------------


@asynccontextmanager
async def running(delivery: Delivery) -> AsyncIterator[None]:
    """Let a delivery run meanwhile."""
    task = asyncio.create_task(delivery.run())
    try:
        async with asyncio.timeout(SOON):
            yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_what_is_new_goes_before_what_waited() -> None:
    """From the first moment after an outage, and at every later one: a piece of the backlog delays it, no more."""
    outbox = FakeOutbox(3_000, strict=False)
    new_at: list[int] = []

    def verdict(positions: list[int]) -> None:
        if len(sink.requests) in (1, 3):
            outbox.add(1)
        if positions[0] > 3_000:
            new_at.append(len(sink.requests))

    sink = FakeSink(verdict)
    await deliver(Delivery(sink, outbox), outbox)
    assert new_at == [2, 4]
    assert [*sorted(sink.accepted)] == [*range(1, 3_003)]
    backlog = [position for position in sink.accepted if position <= 3_000]
    assert backlog == [*range(1, 3_001)]


async def test_a_strict_sink_gets_everything_in_the_order_of_the_journal() -> None:
    """What is new waits for what is old, where a consumer needs that."""
    outbox = FakeOutbox(3_000)
    sink = FakeSink(lambda _: outbox.add(1) if len(sink.requests) == 1 else None)
    await deliver(Delivery(sink, outbox), outbox)
    assert sink.accepted == [*range(1, 3_002)]


async def test_a_backlog_keeps_its_pace_and_what_is_new_does_not_wait_for_it() -> None:
    """Between two pieces the sink is free; every piece has what the rate allows."""
    outbox, sink = FakeOutbox(1_000, strict=False), FakeSink(fine)
    delivery = Delivery(sink, outbox, Pace(4.0, "house"))
    delivery._pace._phase = -1.0  # at once
    async with running(delivery):
        await until(lambda: sink.requests)
        assert sink.requests == [[*range(1, 21)]]
        outbox.add(2)
        await until(lambda: len(sink.requests) == 2)
        assert sink.requests[1] == [1_001, 1_002]
    assert outbox.confirmed == [(1, 20), (1_001, 1_002)]


async def test_a_paced_backlog_goes_on_though_nothing_new_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a house where nothing happens the next piece goes when its turn comes."""
    monkeypatch.setattr("edge_energy.pace.EVERY", 0.02)
    outbox, sink = FakeOutbox(100, strict=False), FakeSink(fine)
    async with running(Delivery(sink, outbox, Pace(1000.0, "house"))):
        await until(lambda: len(sink.accepted) == 100)
    assert [len(request) for request in sink.requests] == [20] * 5


async def test_since_when_a_sink_does_not_answer_is_known() -> None:
    """And only while it is waited for."""
    outbox, sink = FakeOutbox(1), FakeSink(fine)
    may_answer = asyncio.Event()

    async def silent(entries: Sequence[Entry]) -> None:  # noqa: ARG001 - as the sink has it
        await may_answer.wait()

    sink.write = silent  # type: ignore[method-assign]
    delivery = Delivery(sink, outbox)
    async with running(delivery):
        await until(lambda: delivery.asked_at is not None)
        may_answer.set()
        await until(lambda: outbox.confirmed)
        assert delivery.asked_at is None


async def test_what_waited_in_a_trouble_goes_after_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the first of the backlog is what the far side cannot take now: each attempt brings what is new."""

    def no_topic(positions: list[int]) -> None:
        if 1 in positions:
            raise Unavailable("no topic for the first one")

    outbox, sink = FakeOutbox(10, strict=False), FakeSink(no_topic, batch_age=60.0)
    delivery = Delivery(sink, outbox)
    monkeypatch.setattr(outbox, "rewind", lambda: None)  # three are new, and only seconds old
    outbox.add(3)
    with pytest.raises(Unavailable):
        await deliver(delivery, outbox)
    assert sink.accepted == [11, 12, 13]


async def test_entries_that_say_nothing_are_no_sign_of_life() -> None:
    """A body without values is nothing that a far side could confirm."""
    outbox, sink = FakeOutbox(0), FakeSink(fine)
    outbox.newest = 3

    class Empty(FakeLane):
        async def read(self, limit: int) -> Batch | None:
            batch = await super().read(limit)
            return batch and batch._replace(entries=[each._replace(body={}) for each in batch.entries])

    monkeypatched = Empty(outbox, 1, None)
    outbox.rewind = lambda: setattr(outbox, "new", monkeypatched)  # type: ignore[method-assign]
    delivery = Delivery(sink, outbox)
    await deliver(delivery, outbox)
    assert (sink.requests, outbox.confirmed, delivery.up.is_set()) == ([], [(1, 3)], False)


async def test_a_new_outage_makes_one_backlog_of_both() -> None:
    """Two outages in a row: again what is new goes first, and nothing of either is forgotten."""
    outbox, sink = FakeOutbox(100, strict=False), FakeSink(fine, batch_size=10)

    def away(_positions: list[int]) -> None:
        if len(sink.accepted) >= 50:
            raise Unavailable("away")

    sink.verdict = away
    delivery = Delivery(sink, outbox)
    with pytest.raises(Unavailable):
        await deliver(delivery, outbox)
    outbox.add(100)
    sink.verdict = lambda _: outbox.add(1) if outbox.newest == 200 else None
    await deliver(delivery, outbox)
    assert {*sink.accepted} == {*range(1, 202)}
    assert sink.accepted.index(201) < sink.accepted.index(199)


async def test_whoever_waits_for_one_entry_is_told_when_it_is_confirmed() -> None:
    outbox, sink = FakeOutbox(0), FakeSink(fine, batch_size=1)
    delivery = Delivery(sink, outbox)
    waiting = asyncio.create_task(delivery.settled(2))
    async with running(delivery):
        outbox.add(1)
        await until(lambda: sink.accepted == [1])
        assert not waiting.done()
        outbox.add(1)
        await waiting


async def test_an_outage_that_the_sink_bridges_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that waits for its broker: what was recorded meanwhile is a backlog, and what follows goes first."""
    monkeypatch.setattr("edge_energy.delivery.LONG", 0.05)
    outbox = FakeOutbox(20, strict=False)
    sink = FakeSink(fine, batch_size=10)
    write = sink.write

    async def slow(entries: Sequence[Entry]) -> None:
        if len(sink.requests) == 1:
            outbox.add(100)
            await asyncio.sleep(0.06)  # the outage
        if len(sink.requests) == 2:
            outbox.add(1)
        await write(entries)

    sink.write = slow  # type: ignore[method-assign]
    await deliver(Delivery(sink, outbox), outbox)
    assert outbox.rewinds == 2
    assert sink.accepted.index(121) < sink.accepted.index(120)
    assert [position for position in sink.accepted if position <= 120] == [*range(1, 121)]


# -- a far side that accepts a part of a batch ---------------------------------------------------------------


@pytest.mark.parametrize("certain", [True, False])
async def test_what_was_accepted_of_a_refused_batch_is_not_sent_again(*, certain: bool) -> None:
    """A sink that knows which entries were refused names them: no halving, and nothing arrives twice."""

    def verdict(positions: list[int]) -> None:
        if bad := {7, 8} & {*positions}:
            good = [position for position in positions if position not in bad]
            sink.accepted += good
            raise Rejected("bad", certain=certain, accepted=good)

    outbox, sink = FakeOutbox(20), FakeSink(verdict, batch_size=10)
    delivery = Delivery(sink, outbox)
    await deliver(delivery, outbox)
    assert sorted(sink.accepted) == [position for position in range(1, 21) if position not in (7, 8)]
    assert outbox.aside == {7: "bad", 8: "bad"}
    assert (outbox.confirmed, delivery.delivered, delivery.set_aside) == ([(1, 10), (11, 20)], 18, 2)


async def test_what_was_accepted_of_a_batch_that_was_too_large_is_not_sent_again() -> None:
    """The rest goes in smaller ones."""

    def verdict(positions: list[int]) -> None:
        if len(positions) > 4:
            sink.accepted += positions[:2]
            raise TooLarge("too large", accepted=positions[:2])

    outbox, sink = FakeOutbox(10), FakeSink(verdict, batch_size=10)
    await deliver(Delivery(sink, outbox), outbox)
    assert sorted(sink.accepted) == [*range(1, 11)]
    assert outbox.confirmed == [(1, 10)]
