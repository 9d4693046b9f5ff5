"""How often a device is asked: what it wishes, doubling while it is asked for too much, then as configured."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_energy.sources.shelly.pace import FIRST_PAUSE, LONGEST_PAUSE, Pace


def test_each_429_doubles_the_pause_up_to_five_minutes() -> None:
    pace = Pace(10)
    assert [pace.throttled(None) for _ in range(8)] == [5, 10, 20, 40, 80, 160, 300, 300]
    assert pace.interval == 300


def test_the_wish_of_the_device_counts_where_it_is_longer() -> None:
    assert Pace(10).throttled(120) == 120
    assert Pace(10).throttled(1) == FIRST_PAUSE


@given(st.floats(5, 3600), st.lists(st.booleans(), max_size=40))
def test_the_interval_is_never_shorter_than_configured_and_comes_back(interval: float, throttled: list[bool]) -> None:
    """However it went: after enough answers, all is as configured again."""
    pace = Pace(interval)
    for refused in throttled:
        if refused:
            assert FIRST_PAUSE <= pace.throttled(None) <= LONGEST_PAUSE
        else:
            pace.answered()
        assert interval <= pace.interval <= max(interval, LONGEST_PAUSE)
    for _ in range(10):
        pace.answered()
    assert pace.interval == interval
