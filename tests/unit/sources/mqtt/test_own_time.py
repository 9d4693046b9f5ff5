"""Readings that bring their own time: which are news, which mere repetitions, and none overwrites another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_energy.reading import Values
from edge_energy.sources.mqtt.own_time import OwnTimes

ON: Values = {"output": True}
OFF: Values = {"output": False}


def test_news_repetition_and_optimistic_state() -> None:
    """A later time is news; the same again is none; other values at the same time get a nanosecond of their own."""
    times = OwnTimes()
    assert times.place("plug", 100, ON, again=False) == (100, True)
    assert times.place("plug", 100, ON, again=False) is None
    assert times.place("plug", 100, OFF, again=False) == (101, False)
    assert times.place("plug", 100, OFF, again=False) is None
    assert times.place("plug", 100, ON, again=False) == (102, False)
    assert times.place("plug", 50, ON, again=False) == (50, False)
    assert times.place("lamp", 50, ON, again=False) == (50, True)


def test_what_the_broker_sends_again_was_not_recorded() -> None:
    """After a failed commit it comes with DUP: it must be recorded, at the time that it had."""
    times = OwnTimes()
    times.place("plug", 100, ON, again=False)
    assert times.place("plug", 100, ON, again=True) == (100, False)
    times.place("plug", 100, OFF, again=False)
    assert times.place("plug", 100, OFF, again=True) == (101, False)


readings = st.tuples(st.sampled_from("ab"), st.integers(1, 4).map(lambda n: n * 1_000), st.sampled_from([ON, OFF]))


@given(st.lists(readings, max_size=12))
def test_only_repetitions_are_left_out(sent: list[tuple[str, int, Values]]) -> None:
    """Each reading is placed within a microsecond of its time, unless the one before it was the same."""
    times, newest = OwnTimes(), dict[str, tuple[int, Values]]()
    for device, time, values in sent:
        placed = times.place(device, time, values, again=False)
        assert (placed is None) == (newest.get(device) == (time, values))
        if placed is not None:
            assert 0 <= placed[0] - time < 1_000
            assert placed[1] == (time > newest.get(device, (0, {}))[0])
        if time >= newest.get(device, (0, {}))[0]:
            newest[device] = time, values
