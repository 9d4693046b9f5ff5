"""What was recorded before the clock was right gets a date that is true, in order, and always the same."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge_energy.journal.dating import LONGEST, Anchors

HOUR = 3_600 * 10**9
DAY = 24 * HOUR
NOON = 1_790_000_000 * 10**9


class Boot(NamedTuple):
    """What really happened between two power cuts."""

    began: int
    uptimes: list[int]
    anchors: list[int]


class History(NamedTuple):
    """Several boots, and what the journal knows of them."""

    boots: list[Boot]

    def rows(self) -> list[tuple[int, int, int, str]]:
        """Return the anchors table."""
        return [
            (number, uptime, boot.began + uptime, "ntp")
            for number, boot in enumerate(self.boots, 1)
            for uptime in boot.anchors
        ]

    def last_uptimes(self) -> dict[int, int]:
        """Return the newest uptime of each boot."""
        return {number: boot.uptimes[-1] for number, boot in enumerate(self.boots, 1)}

    def entries(self) -> list[tuple[int, int, int]]:
        """Return (boot, uptime, true time), in order."""
        return [
            (number, uptime, boot.began + uptime)
            for number, boot in enumerate(self.boots, 1)
            for uptime in boot.uptimes
        ]


uptimes = st.integers(1, 3 * DAY)


@st.composite
def histories(draw: st.DrawFn) -> History:
    boots = []
    now = NOON
    for _ in range(draw(st.integers(1, 6))):
        now += draw(st.integers(1, 30 * DAY))  # switched off
        entries = sorted(draw(st.sets(uptimes, min_size=1, max_size=6)))
        boots.append(Boot(now, entries, draw(st.lists(uptimes, max_size=3))))
        now += max([*entries, *boots[-1].anchors])
    return History(boots)


@given(histories())
def test_every_date_is_true_and_in_order(history: History) -> None:
    last = history.last_uptimes()
    anchors = Anchors(history.rows(), last)
    newest_anchored = max((row[0] for row in history.rows()), default=0)
    times = []
    for boot, uptime, true in history.entries():
        dated = anchors.date(boot, uptime, last[boot])
        assert (dated is None) == (boot > newest_anchored)
        if dated is None:
            continue
        time, span = dated
        assert time == true if span is None else time - span < true <= time
        assert (span is None) == bool(history.boots[boot - 1].anchors)
        times.append(time)
    assert all(earlier < later for earlier, later in pairwise(times))


@given(histories(), st.data())
def test_a_date_once_given_stays_when_more_becomes_known(history: History, data: st.DataObject) -> None:
    """An entry delivered twice must be the same point."""
    rows = sorted(history.rows())
    known = data.draw(st.integers(0, len(rows)))
    current = rows[known - 1][0] if known else 0
    last = history.last_uptimes()
    for boot, uptime, _ in history.entries():
        if boot > current or (boot == current and uptime > rows[known - 1][1]):
            continue  # still to come
        before = Anchors(rows[:known], {b: u for b, u in last.items() if b < current}).date(boot, uptime, last[boot])
        assert before == Anchors(rows, last).date(boot, uptime, last[boot])


@given(
    histories(),
    st.lists(st.tuples(st.integers(1, 7), uptimes, st.integers(NOON, NOON + 300 * DAY)), max_size=5),
)
def test_no_date_lies_after_the_next_boot_with_a_clock(history: History, anchors: list[tuple[int, int, int]]) -> None:
    """Even where clocks were wrong, or nothing is known of how long the boots ran."""
    rows = [(*anchor, "rtc") for anchor in anchors]
    for boot, uptime, _ in history.entries():
        dated = Anchors(rows).date(boot, uptime, 0)
        later = sorted(row for row in rows if row[0] > boot)
        if dated is None or dated[1] is None:
            assert dated is not None or not later
            continue
        assert dated[0] <= later[0][2] - later[0][1]
        assert dated[1] > 0


@given(st.sets(uptimes, min_size=2), st.sets(uptimes, min_size=2))
def test_boots_without_a_clock_in_a_row_do_not_overlap(first: set[int], second: set[int]) -> None:
    last = {1: max(first), 2: max(second)}
    anchors = Anchors([(3, HOUR, NOON, "ntp")], last)
    dated = [anchors.date(1, uptime, last[1]) for uptime in sorted(first)]
    dated += [anchors.date(2, uptime, last[2]) for uptime in sorted(second)]
    times = [found[0] for found in dated if found is not None]
    assert len(times) == len(first) + len(second)
    assert times == sorted(times)
    assert times[-1] == NOON - HOUR


@given(uptimes, uptimes)
def test_a_boot_with_a_clock_is_exact_on_both_sides_of_it(anchor: int, uptime: int) -> None:
    assert Anchors([(4, anchor, NOON, "ntp")]).date(4, uptime, uptime) == (NOON + uptime - anchor, None)


@given(
    st.lists(st.tuples(uptimes, st.integers(NOON, NOON + DAY)), min_size=2, unique_by=lambda row: row[0]),
    uptimes,
)
def test_a_clock_set_again_dates_what_comes_after_it(rows: list[tuple[int, int]], uptime: int) -> None:
    anchors = Anchors([(1, *row, "operator") for row in rows])
    assert all(anchors.date(1, at, at) == (time, None) for at, time in rows)
    earlier = [row for row in sorted(rows) if row[0] <= uptime]
    assume(earlier)
    at, time = earlier[-1]
    assert anchors.date(1, uptime, uptime) == (time + uptime - at, None)


def test_the_present_boot_waits_for_its_clock() -> None:
    assert Anchors([(1, HOUR, NOON, "ntp")], {1: HOUR, 2: HOUR}).date(2, HOUR, HOUR) is None
    assert Anchors([]).date(1, HOUR, HOUR) is None


@pytest.mark.parametrize(
    ("before", "span"),
    [
        ([(4, HOUR, NOON, "ntp")], 7 * HOUR),
        ([(2, HOUR, NOON, "ntp")], 5 * HOUR),
        ([(2, HOUR, NOON - DAY, "ntp"), (4, HOUR, NOON, "ntp"), (4, 2 * HOUR, NOON + HOUR, "ntp")], 6 * HOUR),
        ([], LONGEST),
        ([(4, HOUR, NOON + 7 * HOUR, "rtc")], LONGEST),
        ([(4, HOUR, NOON + DAY, "rtc")], LONGEST),
    ],
    ids=["one before", "one long before", "several before", "none before", "no time left", "a clock was wrong"],
)
def test_the_span_says_how_early_it_may_have_been(before: list[tuple[int, int, int, str]], span: int) -> None:
    """Boots 3 and 4 ran for an hour each; boot 5 for two, and was over when boot 6 began, nine hours after noon."""
    anchors = Anchors([*before, (6, HOUR, NOON + 10 * HOUR, "ntp")], {3: HOUR, 4: HOUR, 5: 2 * HOUR})
    assert anchors.date(5, HOUR, 2 * HOUR) == (NOON + 8 * HOUR, span)
