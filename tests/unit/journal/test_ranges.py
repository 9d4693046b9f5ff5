"""Nothing that a sink owes is forgotten, whatever happens between reading and confirming."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_energy.journal.ranges import Debt

positions = st.integers(1, 40)
lengths = st.integers(0, 12)
far = 10_000


def expanded(debt: Debt, newest: int) -> set[int]:
    return {
        position
        for first, last in debt.rows()
        for position in range(first, (newest if last is None else min(last, newest)) + 1)
    }


class Deliveries(RuleBasedStateMachine):
    """A sink on a journal: entries come, batches are read ahead, confirmed, refused; the process dies."""

    def __init__(self) -> None:
        super().__init__()
        self.newest = 0
        self.debt = Debt([(1, None)])
        self.owed: set[int] = set()
        self.aside: set[int] = set()
        self.saved: tuple[list[tuple[int, int | None]], set[int], set[int]] = ([(1, None)], set(), set())
        self.in_flight: list[tuple[int, int, set[int]]] = []
        self.read_to = 0
        self.accepted: set[int] = set()
        self.gone: set[int] = set()
        """Dropped for want of space, or never written."""

    @rule(count=st.integers(1, 9))
    def append(self, count: int) -> None:
        """Commit new entries."""
        new = range(self.newest + 1, self.newest + count + 1)
        self.owed |= {*new}
        self.newest += count

    @rule(count=st.integers(1, 50))
    def recover(self, count: int) -> None:
        """Go on above the highest known position, as a recovery does."""
        gap = range(self.newest + 1, self.newest + count + 1)
        self.debt.settle(gap[0], gap[-1])
        self.gone |= {*gap}
        self.newest += count
        self.save()

    @rule(limit=st.integers(1, 9))
    def read(self, limit: int) -> None:
        """Read a batch, ahead of what is confirmed."""
        owed = self.debt.next_range(self.read_to + 1)
        unread = {position for position in self.owed if position > self.read_to}
        if owed is None or owed[0] > self.newest:
            assert not unread
            return
        first = owed[0]
        last = min(first + limit - 1, self.newest, far if owed[1] is None else owed[1])
        assert first == min(unread)
        assert {*range(first, last + 1)} <= self.owed
        self.in_flight.append((first, last, set()))
        self.read_to = last

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        """Set one entry of the oldest batch aside."""
        first, last, refused = self.in_flight[0]
        refused.add(data.draw(st.integers(first, last)))

    @precondition(lambda self: self.in_flight)
    @rule()
    def confirm(self) -> None:
        """Let the far side have the rest of the oldest batch."""
        first, last, refused = self.in_flight.pop(0)
        self.debt.settle(first, last)
        batch = {*range(first, last + 1)}
        self.owed -= batch
        self.aside |= refused
        self.accepted |= batch - refused

    @rule()
    def save(self) -> None:
        """Write the debt and what was set aside, in one transaction."""
        self.saved = (self.debt.rows(), set(self.aside), set(self.owed))

    @rule()
    def crash(self) -> None:
        """Start again from what was saved last."""
        since = {*range(max(self.saved[2], default=0) + 1, self.newest + 1)}
        self.debt = Debt(self.saved[0])
        self.aside = set(self.saved[1])
        assert self.saved[2] == expanded(self.debt, self.newest) - since
        self.owed = expanded(self.debt, self.newest)
        self.rewind()

    @rule()
    def rewind(self) -> None:
        """Read again from the oldest unconfirmed entry."""
        self.read_to = 0
        self.in_flight = []

    @rule()
    def retry(self) -> None:
        """Owe again what was set aside."""
        for position in self.aside:
            self.debt.owe(position, position)
        self.owed |= self.aside
        self.aside = set()
        self.save()
        self.rewind()

    @rule(position=positions)
    def drop(self, position: int) -> None:
        """Drop the oldest: the disk budget is used up."""
        below = {owed for owed in self.owed if owed < min(position, self.newest + 1)}
        assert self.debt.forget_before(min(position, self.newest + 1)) == len(below)
        self.gone |= below
        self.owed -= below
        self.save()
        self.rewind()

    @invariant()
    def nothing_is_lost(self) -> None:
        """Account for every position."""
        everything = {*range(1, self.newest + 1)}
        assert self.accepted | self.owed | self.aside | self.gone == everything

    @invariant()
    def agrees_with_a_set(self) -> None:
        """Compare with the plainest model."""
        assert expanded(self.debt, self.newest) == self.owed
        assert self.debt.count(self.newest) == len(self.owed)
        assert self.debt.count(self.newest, self.read_to + 1) == sum(owed > self.read_to for owed in self.owed)
        assert self.debt.oldest() == min(self.owed, default=self.newest + 1)

    @invariant()
    def is_ordered_disjoint_and_never_ends(self) -> None:
        """Check the form of the rows."""
        rows = self.debt.rows()
        assert rows[-1][1] is None
        for (_, last), (first, _) in pairwise(rows):
            assert last is not None
            assert last + 1 < first

    def teardown(self) -> None:
        """Deliver all that is owed: then everything has arrived."""
        self.rewind()
        while self.owed:
            self.read(7)
            self.confirm()
        assert self.accepted | self.aside | self.gone == {*range(1, self.newest + 1)}


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(st.sampled_from(["owe", "settle", "forget"]), positions, lengths)), positions)
def test_ranges_behave_like_a_set_of_positions(steps: list[tuple[str, int, int]], after: int) -> None:
    debt = Debt()
    model: set[int] = set()
    for step, first, length in steps:
        last = first + length - 1
        if step == "owe":
            debt.owe(first, last)
            model |= {*range(first, last + 1)}
        elif step == "settle":
            debt.settle(first, last)
            model -= {*range(first, last + 1)}
        else:
            below = {position for position in model if position < first}
            assert debt.forget_before(first) == len(below)
            model -= below
        assert expanded(debt, far) == model
        assert Debt(debt.rows()).rows() == debt.rows()
    assert debt.oldest() == min(model, default=None)
    following = debt.next_range(after)
    assert (following and following[0]) == min((position for position in model if position >= after), default=None)


@pytest.mark.parametrize(
    ("rows", "normal"),
    [
        ([], []),
        ([(5, None)], [(5, None)]),
        ([(5, None), (1, 4)], [(1, None)]),
        ([(1, 3), (4, 6), (8, 9)], [(1, 6), (8, 9)]),
        ([(1, 3), (7, 9), (2, 7)], [(1, 9)]),
        ([(9, None), (3, None)], [(3, None)]),
        ([(4, 2)], []),
    ],
)
def test_stored_rows_in_any_order_become_ordered_and_disjoint(
    rows: list[tuple[int, int | None]], normal: list[tuple[int, int | None]]
) -> None:
    assert Debt(rows).rows() == normal


def test_the_open_range_keeps_its_open_end() -> None:
    debt = Debt([(1, None)])
    debt.settle(4, 6)
    assert debt.rows() == [(1, 3), (7, None)]
    debt.settle(1, 9)
    assert debt.rows() == [(10, None)]
    assert debt.next_range(12) == (12, None)
    assert debt.count(9) == 0


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40) | st.none()), max_size=6), st.integers(0, 45))
def test_gaps_are_all_that_is_not_owed(rows: list[tuple[int, int | None]], last: int) -> None:
    """Ordered and disjoint, and with what is owed they are everything."""
    debt = Debt(rows)
    gaps = debt.gaps(last)
    free = [position for first, end in gaps for position in range(first, end + 1)]
    assert free == [position for position in range(1, last + 1) if not debt.count(position, position)]
    assert all(first <= end for first, end in gaps)
