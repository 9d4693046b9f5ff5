"""The rate limit is one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulator.shelly.limiter import BURST, Limiter


@given(st.floats(0.5, 50), st.lists(st.floats(0, 3), max_size=60))
def test_no_more_than_the_rate_gets_through(rate: float, pauses: list[float]) -> None:
    """Over any stretch of time: the burst, and so many a second."""
    limiter, now, admitted = Limiter(rate), 0.0, 0
    for pause in pauses:
        now += pause
        admitted += limiter.admits(now)
    assert admitted <= rate * (BURST + now) + 1e-6


@given(st.floats(1, 50))
def test_a_patient_client_is_never_refused(rate: float) -> None:
    """Who asks at the rate gets an answer each time; 0 is no limit at all."""
    limiter, free = Limiter(rate), Limiter(0)
    assert all(limiter.admits(number / rate + 1e-6 * number) for number in range(100))
    assert all(free.admits(0) for _ in range(100))
