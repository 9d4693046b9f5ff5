"""What two ways tell of one device is recorded once, and nothing that is new is dropped."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.reading import Reading, Values
from edge_energy.ways import MOST_DEVICES, MOST_FRAMES, ROUNDING, TOGETHER, TooManyDevices, Ways
from tests.unit.samples import NOON, SECOND
from tests.unit.sources.mqtt.recorder import Disk

PLUG = "shelly-ec62608ab9a4"


def news(ways: Ways, way: str, uptime: float, time: int | None = None, **values: float | bool) -> Values | None:
    """Return what is new of a reading that came so many seconds after the boot."""
    found = ways.news(Reading(PLUG, time, values), way, int(uptime * SECOND))
    return None if found is None else found.values


def test_what_another_way_has_just_told_is_no_news() -> None:
    ways = Ways()
    assert news(ways, "websocket", 1, power=5.2, voltage=230.0) == {"power": 5.2, "voltage": 230.0}
    assert news(ways, "mqtt", 1.1, power=5.2) is None
    assert news(ways, "webhook", 1.2, power=5.2, voltage=230.0, energy=10.0) == {"energy": 10.0}
    assert news(ways, "websocket", 1.3, energy=10.0) is None


def test_the_same_values_again_by_the_same_way_are_another_reading() -> None:
    ways = Ways()
    assert news(ways, "webhook", 1, power=5) == {"power": 5}
    assert news(ways, "webhook", 2, power=5) == {"power": 5}


def test_one_way_may_tell_a_change_twice_while_others_tell_it_too() -> None:
    """Two webhooks for one change, or two topics: which way was first does not matter."""
    ways = Ways()
    assert news(ways, "webhook", 1, power=5) == {"power": 5}
    assert news(ways, "websocket", 1.1, power=5) is None
    assert news(ways, "webhook", 1.2, power=5) is None
    assert news(ways, "webhook", 1.3, power=6) == {"power": 6}


def test_a_while_later_the_same_values_are_another_reading_by_any_way() -> None:
    ways = Ways()
    assert news(ways, "websocket", 1, power=5) == {"power": 5}
    assert news(ways, "rpc", 1 + TOGETHER / SECOND, power=5) == {"power": 5}


def test_a_value_that_was_another_in_between_is_news() -> None:
    ways = Ways()
    for way, power in (("websocket", 5), ("mqtt", 6), ("websocket", 5), ("mqtt", 6)):
        assert news(ways, way, 1, power=power) == {"power": power}
    assert news(ways, "websocket", 1, power=6) is None


def test_a_reading_with_the_same_time_of_its_own_is_the_same_reading() -> None:
    """However late another way, or a sender that tries again, comes with it."""
    ways = Ways()
    assert news(ways, "websocket", 1, NOON, power=5) == {"power": 5}
    assert news(ways, "mqtt", 100, NOON, power=5) is None
    assert news(ways, "websocket", 101, NOON, power=5, voltage=230.0) == {"voltage": 230.0}


def test_another_value_at_the_same_time_does_not_overwrite_the_first() -> None:
    ways = Ways()
    times = [ways.news(Reading(PLUG, NOON, {"power": power}), "webhook", 0) for power in (5.0, 6.0, 7.0)]
    assert [found and found.time for found in times] == [NOON, NOON + 1, NOON + 2]


def test_an_older_reading_is_recorded_but_is_not_what_is_known_now() -> None:
    ways = Ways()
    assert news(ways, "mqtt", 1, NOON, power=5) == {"power": 5}
    late = ways.news(Reading(PLUG, NOON - SECOND, {"power": 4.0}), "mqtt", SECOND)
    assert late is not None
    assert not late.newest
    assert news(ways, "websocket", 1, power=5) is None


def test_a_backlog_is_compared_with_nothing_that_is_known_now() -> None:
    """A broker sends what it kept while another way tells the present: each change of the past is news, once."""
    ways = Ways()
    assert news(ways, "websocket", 1, power=0.0, energy=1_000.0)
    kept = [(NOON - age * SECOND, power) for age, power in ((90, 0.0), (80, 100.0), (70, 0.0))]
    for expected in ([(at, {"power": power}, False) for at, power in kept], [None, None, None]):
        found = [ways.news(Reading(PLUG, at, {"power": p}), "mqtt", 2 * SECOND, late=True) for at, p in kept]
        assert [one and (one.time, one.values, one.newest) for one in found] == expected
    assert news(ways, "mqtt", 3, NOON, power=0.0) is None


def test_a_counter_of_the_past_is_not_raised_to_that_of_now() -> None:
    ways = Ways()
    assert news(ways, "websocket", 1, NOON, energy=1_000.5)
    assert news(ways, "mqtt", 1, NOON - SECOND, energy=1_000.1) == {"energy": 1_000.1}


@pytest.mark.parametrize("name", ["energy", "energy_returned", "energy_a", "energy_1"])
def test_a_counter_that_falls_by_a_rounding_stays_where_it_was(name: str) -> None:
    ways = Ways()
    told = [1_444.015, 1_444.014, 1_444.5, 1_444.5 - ROUNDING]
    found = [ways.news(Reading(PLUG, None, {name: value}), "websocket", at) for at, value in enumerate(told)]
    assert [kept and kept.values[name] for kept in found] == [1_444.015, 1_444.015, 1_444.5, 1_443.5]


def test_only_a_counter_is_kept_from_falling() -> None:
    ways = Ways()
    assert news(ways, "websocket", 1, power=1.0) == {"power": 1.0}
    assert news(ways, "websocket", 2, power=0.9) == {"power": 0.9}


def test_increments_are_never_what_is_known_already() -> None:
    ways = Ways()
    assert news(ways, "webhook", 1, energy_increment=1.0) == {"energy_increment": 1.0}
    assert news(ways, "message", 1, energy_increment=1.0) == {"energy_increment": 1.0}


def test_who_invents_devices_does_not_fill_the_memory() -> None:
    ways = Ways()
    for number in range(MOST_DEVICES):
        assert ways.news(Reading(f"plug-{number}", None, {"power": 1.0}), "webhook", 0)
    with pytest.raises(TooManyDevices, match="one-too-many"):
        ways.news(Reading("one-too-many", None, {"power": 1.0}), "webhook", 0)
    assert ways.news(Reading(PLUG, None, {"power": 1.0}), "websocket", 0)
    assert ways.news(Reading("plug-0", None, {"power": 2.0}), "webhook", 0)
    for number in range(10 * MOST_FRAMES):
        ways.news(Reading("plug-0", NOON + number, {f"value_{number}": 1.0}), "webhook", 0)
    known = ways._devices["plug-0"]
    assert len(known.frames) == MOST_FRAMES
    assert len(known.values) < 10 * MOST_FRAMES


changes = st.lists(st.tuples(st.sampled_from(["power", "current"]), st.integers(0, 3)), max_size=30)


@given(changes, st.lists(st.sampled_from(["a", "ab", "aba", "abca", "bacb", "abcabc"]), min_size=30, max_size=30))
def test_every_change_is_recorded_once_whichever_ways_tell_it(
    changed: list[tuple[str, int]], told_by: list[str]
) -> None:
    """A device changes every ten seconds, and tells it by some of its ways, one after the other."""
    ways, clock = Ways(), count()
    recorded = []
    for (name, value), tellers in zip(changed, told_by, strict=False):
        began = next(clock) * 10
        found = [news(ways, way, began + turn / 10, **{name: value}) for turn, way in enumerate(tellers)]
        recorded += [values for values in found if values]
    assert recorded == [{name: value} for name, value in changed]


async def test_commits_without_news_are_not_remembered() -> None:
    """A house of Zigbee devices commits every five seconds for years, and nothing of it concerns several ways."""
    ways, disk = Ways(), Disk()
    for _ in range(100):
        ways.recorded(disk.record([], 0))
        disk.commit()
    assert not ways._pending
    ways.news(Reading(PLUG, None, {"power": 1.0}), "webhook", 0)
    ways.recorded(disk.record([], 0))
    assert len(ways._pending) == 1
