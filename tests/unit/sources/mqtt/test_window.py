"""A commit is asked for before the broker stops, whatever its window is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.sources.mqtt.window import LEAST, Window


def test_it_begins_with_what_the_protocol_promises() -> None:
    """Until something else is seen, a commit is asked for at three quarters of what was agreed."""
    window = Window(20)
    assert [window.near(count) for count in (0, 14, 15, 20, 400)] == [False, False, True, True, True]


@pytest.mark.parametrize("real", [LEAST, 20, 100])
def test_a_smaller_window_is_found_within_two_rounds(real: int) -> None:
    """The same number before two acknowledgements, with a burst after: that is the window of the broker."""
    window = Window(4096)
    now = 0.0
    for _ in range(3):
        now += 5
        window.arrived(real, real, now)
        window.acknowledged(real, now + 4)
        window.arrived(real, real, now + 4.01)  # it has waited for us
        window.acknowledged(real, now + 4.99)
    assert window.size == real
    assert window.near(real)


def test_a_small_house_is_no_small_window() -> None:
    """Two plugs that report soon after each acknowledgement must not make every message a commit of its own."""
    window = Window(4096)
    for now in range(0, 100, 10):
        window.arrived(2, 2, now + 0.05)
        window.acknowledged(2, now + 10)
    assert window.size == 4096


@pytest.mark.parametrize("real", [LEAST, 20, 100])
def test_a_broker_that_waits_is_found_by_the_burst_that_follows(real: int) -> None:
    """Nothing came any more, and much comes right after the acknowledgement: it had waited."""
    window = Window(4096)
    window.arrived(real, real, 1)
    window.stalled(real)
    window.acknowledged(real, 2)
    window.arrived(500, 500, 2.05)  # mosquitto 2.0.11 sends all it has, once
    assert window.size == real
    window.arrived(real, real, 9)
    assert window.size == real


def test_silence_is_no_window() -> None:
    """A house that is quiet, and goes on being quiet after the acknowledgement, does not wait for us."""
    window = Window(4096)
    for now in range(0, 100, 10):
        window.arrived(12, 12, now)
        window.stalled(12)
        window.acknowledged(12, now + 1)
    assert window.size == 4096


def test_a_wrong_guess_is_corrected() -> None:
    """More messages unacknowledged than the window was thought to be: it is larger."""
    window = Window(20)
    window.arrived(50, 50, 1)
    assert window.size == 50


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(0.2, 10)), max_size=40), st.integers(1, 4096))
def test_an_even_flow_never_shrinks_it(rounds: list[tuple[int, float]], size: int) -> None:
    """Messages that do not come in a burst after an acknowledgement say nothing of a limit."""
    window, now = Window(size), 0.0
    for count, pause in rounds:
        now += pause
        window.arrived(count, count, now)
        window.acknowledged(count, now)
    assert window.size == max([size, *(count for count, _ in rounds)])


events = st.tuples(st.sampled_from("aks"), st.integers(1, 100), st.floats(0, 3))


@given(st.lists(events, max_size=60), st.integers(1, 4096))
def test_at_the_window_a_commit_is_always_asked_for(story: list[tuple[str, int, float]], size: int) -> None:
    """Whatever happens, the guess stays positive, and as many messages as it says are always too many."""
    window, unacknowledged, now = Window(size), 0, 0.0
    for what, count, pause in story:
        now += pause
        if what == "a":
            unacknowledged += count
            window.arrived(count, unacknowledged, now)
        elif what == "s" and unacknowledged:
            window.stalled(unacknowledged)
        elif unacknowledged:
            window.acknowledged(unacknowledged, now)
            unacknowledged = max(0, unacknowledged - count)
        assert window.size > 0
        assert window.near(window.size)
        assert not window.near(0)
