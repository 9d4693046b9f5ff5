"""An address may make so many requests and no more; others are not concerned; the memory of them is bounded."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.api.rates import BURST, MOST_ADDRESSES, Rates, owner

GAPS = st.lists(st.floats(0, 0.5), min_size=1, max_size=300)


@given(st.integers(1, 50), GAPS)
def test_no_window_has_more_than_the_rate_allows(rate: int, gaps: list[float]) -> None:
    """In any span of time: the rate times the span, plus one burst."""
    rates, now, taken = Rates(rate), 0.0, []
    for gap in gaps:
        now += gap
        if not rates.wait("192.0.2.1", now):
            taken.append(now)
    for start in range(len(taken)):
        for end in range(start, len(taken)):
            assert end - start + 1 <= rate * (taken[end] - taken[start] + BURST) + 1e-6


@given(st.integers(1, 50), GAPS)
def test_who_waits_as_told_is_let_in(rate: int, gaps: list[float]) -> None:
    """Retry-After is no lie, and no longer than needed."""
    rates, now = Rates(rate), 0.0
    for gap in gaps:
        now += gap
        wait = rates.wait("192.0.2.1", now)
        assert 0 <= wait <= 1 / rate + 1e-9
        if wait:
            assert rates.wait("192.0.2.1", now + wait * 0.5)
            assert not rates.wait("192.0.2.1", now + wait + 1e-9)
            now += wait


def test_addresses_do_not_share_a_bucket() -> None:
    """One that sends too much harms nobody else."""
    rates = Rates(1)
    assert [bool(rates.wait("192.0.2.1", 0)) for _ in range(4)] == [False, False, True, True]
    assert not rates.wait("192.0.2.2", 0)


def test_a_pause_gives_the_burst_again() -> None:
    """Two seconds' worth, not more, however long the pause."""
    rates = Rates(10)
    for start in (0.0, 1000.0):
        assert sum(not rates.wait("192.0.2.1", start) for _ in range(100)) == 20


def test_the_memory_of_addresses_is_bounded() -> None:
    """Whoever comes with many addresses does not fill the memory; the busy ones are remembered longest."""
    rates = Rates(1)
    for number in range(MOST_ADDRESSES * 2):
        rates.wait(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0)
        rates.wait("192.0.2.1", 0)
    assert len(rates) == MOST_ADDRESSES
    assert not rates.wait("10.0.0.1", 0)


@pytest.mark.parametrize(
    "same",
    [
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("2001:db8::1", "2001:db8::ffff:1:2", "2001:db8:0:0:ffff::"),
        ("fe80::1%eth0", "fe80::2%eth0"),
        ("", ""),
    ],
)
def test_what_one_caller_can_have_is_one(same: tuple[str, ...]) -> None:
    """An IPv6 network has more addresses than one bucket each could bound."""
    assert all(owner(one) == owner(other) for one, other in pairwise(same))


def test_what_two_callers_have_is_two() -> None:
    """The next network is somebody else's."""
    assert len({owner(a) for a in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1", "nonsense")}) == 5
