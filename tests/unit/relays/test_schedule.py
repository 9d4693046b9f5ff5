"""Windows of local time are open when the clock on the wall says so, on the days of both changes as well."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from datetime import time as wall
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_energy.config import Schedule
from edge_energy.relays.schedule import active

PARIS = ZoneInfo("Europe/Paris")
ZONES = [
    ZoneInfo(name)
    for name in (
        "Europe/Paris",
        "America/New_York",
        "Australia/Lord_Howe",  # half an hour
        "Asia/Kathmandu",  # +5:45
        "Pacific/Chatham",  # +12:45, with changes
        "Africa/Casablanca",  # an hour less in Ramadan
        "America/Santiago",  # changes at midnight
        "Pacific/Apia",  # once left out a whole day
        "UTC",
    )
]
CHANGES = {
    "Europe/Paris": ["2026-03-29", "2026-10-25"],
    "America/New_York": ["2026-03-08", "2026-11-01"],
    "Australia/Lord_Howe": ["2026-10-04", "2026-04-05"],
    "Pacific/Chatham": ["2026-09-27", "2026-04-05"],
    "America/Santiago": ["2026-09-06", "2026-04-05"],
    "Africa/Casablanca": ["2026-03-22", "2026-02-15"],
    "Pacific/Apia": ["2011-12-30"],
}
MINUTE = 60


def window(start: str, end: str, *days: int) -> Schedule:
    whole_week = tuple(range(7))
    return Schedule.model_construct(
        relay="boiler", start=wall.fromisoformat(start), end=wall.fromisoformat(end), days=days or whole_week
    )


def open_on(schedule: Schedule, zone: ZoneInfo, day: str) -> list[tuple[str, str]]:
    """Return the windows that touch a local day, in UTC, by following `until` from answer to answer."""
    begin = datetime.fromisoformat(day).replace(tzinfo=zone)
    at, end, found = begin.timestamp(), (begin + timedelta(days=1)).timestamp(), []
    while at < end:
        inside, since, until = active(schedule, zone, at)
        if inside:
            found.append((f"{moment(since):%d %H:%M}", f"{moment(until):%d %H:%M}"))
        at = until
    return found


def moment(utc: float) -> datetime:
    return datetime.fromtimestamp(utc, UTC)


@pytest.mark.parametrize(
    ("start", "end", "day", "expected"),
    [
        ("10:00", "12:00", "2026-11-21", [("21 09:00", "21 11:00")]),
        ("22:30", "06:30", "2026-11-21", [("20 21:30", "21 05:30"), ("21 21:30", "22 05:30")]),
        ("22:30", "06:30", "2026-03-29", [("28 21:30", "29 04:30"), ("29 20:30", "30 04:30")]),  # 7 hours
        ("22:30", "06:30", "2026-10-25", [("24 20:30", "25 05:30"), ("25 21:30", "26 05:30")]),  # 9 hours
        ("02:15", "04:00", "2026-03-29", [("29 01:00", "29 02:00")]),  # 02:15 does not happen: at the change
        ("01:00", "02:45", "2026-03-29", [("29 00:00", "29 01:00")]),
        ("02:10", "02:50", "2026-03-29", []),
        ("02:45", "02:15", "2026-03-29", [("28 01:45", "30 00:15")]),  # it ends and begins at the change
        ("02:15", "04:00", "2026-10-25", [("25 00:15", "25 03:00")]),  # 02:15 happens twice: the first
        ("01:00", "02:15", "2026-10-25", [("24 23:00", "25 00:15")]),
        ("02:10", "02:50", "2026-10-25", [("25 00:10", "25 00:50")]),  # once
        ("00:00", "00:01", "2026-11-21", [("20 23:00", "20 23:01")]),
        ("12:00", "00:00", "2026-11-21", [("21 11:00", "21 23:00")]),
    ],
)
def test_windows_in_paris(start: str, end: str, day: str, expected: list[tuple[str, str]]) -> None:
    assert open_on(window(start, end), PARIS, day) == expected


@pytest.mark.parametrize(
    ("zone", "day", "times", "expected"),
    [
        ("America/New_York", "2026-03-08", ("01:00", "02:30"), [("08 06:00", "08 07:00")]),
        ("America/New_York", "2026-03-08", ("02:00", "03:00"), []),
        ("America/New_York", "2026-11-01", ("01:00", "02:00"), [("01 05:00", "01 07:00")]),
        ("Australia/Lord_Howe", "2026-10-04", ("02:00", "03:00"), [("03 15:30", "03 16:00")]),
        ("Australia/Lord_Howe", "2026-10-04", ("02:29", "02:31"), [("03 15:30", "03 15:31")]),
        ("Australia/Lord_Howe", "2026-04-05", ("01:00", "02:00"), [("04 14:00", "04 15:30")]),
        ("Asia/Kathmandu", "2026-04-05", ("02:00", "03:00"), [("04 20:15", "04 21:15")]),
    ],
)
def test_days_of_change_elsewhere(
    zone: str, day: str, times: tuple[str, str], expected: list[tuple[str, str]]
) -> None:
    assert open_on(window(*times), ZoneInfo(zone), day) == expected


def test_days_are_those_of_the_beginning() -> None:
    """2026-11-21 is a Saturday; the window of Friday reaches into it."""
    schedule = window("22:30", "06:30", 4)
    assert open_on(schedule, PARIS, "2026-11-21") == [("20 21:30", "21 05:30")]
    assert open_on(schedule, PARIS, "2026-11-22") == []
    inside, since, until = active(schedule, PARIS, datetime(2026, 11, 24, tzinfo=UTC).timestamp())
    assert not inside
    assert (moment(since), moment(until)) == (
        datetime(2026, 11, 21, 5, 30, tzinfo=UTC),
        datetime(2026, 11, 27, 21, 30, tzinfo=UTC),
    )


def test_a_weekly_window_that_does_not_happen_is_passed_over() -> None:
    schedule = window("02:10", "02:50", 6)
    utc = datetime(2026, 3, 29, 1, 0, tzinfo=UTC).timestamp()
    for asked in (utc, utc - 13 * 3600, utc + 13 * 3600):
        inside, since, until = active(schedule, PARIS, asked)
        assert (inside, f"{moment(since):%d %H:%M}", f"{moment(until):%d %H:%M}") == (False, "22 01:50", "05 00:10")


def test_a_window_of_surplus_is_never_open() -> None:
    schedule = Schedule(relay="boiler", surplus=1500, meter="house")
    assert active(schedule, PARIS, 0.0)[0] is False


def told(schedule: Schedule, zone: ZoneInfo, utc: int) -> bool:
    """Return whether a window is open, by going back minute by minute to the last change that a wall clock showed.

    It opens or shuts in the minute in which the wall clock first shows its time, or first shows one beyond it.
    """
    assert schedule.start is not None
    assert schedule.end is not None
    now = datetime.fromtimestamp(utc, zone).replace(tzinfo=None)
    for back in range(-1, 2):
        day = now.date() - timedelta(days=back)
        if day.weekday() not in schedule.days:
            continue
        begin = datetime.combine(day, schedule.start)
        end = datetime.combine(day, schedule.end) + timedelta(days=schedule.end <= schedule.start)
        if passed(begin, zone, utc) and not passed(end, zone, utc):
            return True
    return False


def passed(local: datetime, zone: ZoneInfo, utc: int) -> bool:
    """Tell whether a wall clock has shown this local time, or one beyond it, by now: now, or in the last hours."""
    return any(
        datetime.fromtimestamp(at, zone).replace(tzinfo=None) >= local for at in range(utc, utc - 4 * 3600, -MINUTE)
    )


TIMES = st.integers(0, 24 * 60 - 1).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
NIGHT = st.integers(0, 4 * 60).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")


@st.composite
def instants(draw: st.DrawFn) -> tuple[ZoneInfo, int]:
    """Return a zone and an instant on a whole minute, mostly within a day of a change."""
    zone = draw(st.sampled_from(ZONES))
    days = CHANGES.get(zone.key, ["2026-06-01"])
    day = date.fromisoformat(draw(st.sampled_from([*days, "2026-02-28"])))
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone).timestamp()
    return zone, int(noon) // MINUTE * MINUTE + MINUTE * draw(st.integers(-36 * 60, 36 * 60))


@settings(max_examples=400, deadline=None)
@given(
    place=instants(),
    times=st.tuples(st.one_of(NIGHT, TIMES), st.one_of(NIGHT, TIMES)).filter(lambda pair: pair[0] != pair[1]),
    days=st.sets(st.integers(0, 6), min_size=1),
)
def test_it_agrees_with_the_clock_on_the_wall(
    place: tuple[ZoneInfo, int], times: tuple[str, str], days: set[int]
) -> None:
    """At any instant; and what it says of since and until holds up to both ends, and not beyond."""
    zone, utc = place
    schedule = window(*times, *sorted(days))
    inside, since, until = active(schedule, zone, float(utc))
    assert inside == told(schedule, zone, utc)
    assert since <= utc < until
    for same in (since, until - 1, max(until - MINUTE, since)):
        assert active(schedule, zone, same) == (inside, since, until)
    for other in (since - 1, until):
        assert active(schedule, zone, other)[0] != inside
    assert told(schedule, zone, int(until)) != inside
    assert told(schedule, zone, int(since)) == inside


@settings(max_examples=100, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    times=st.tuples(TIMES, TIMES).filter(lambda pair: pair[0] != pair[1]),
    day=st.integers(0, 13),
)
def test_on_an_ordinary_day_it_is_open_for_as_long_as_is_written(
    zone: ZoneInfo, times: tuple[str, str], day: int
) -> None:
    """In July no clock is changed; whatever the offset, a day has its minutes."""
    begin = datetime(2026, 7, 1, tzinfo=zone) + timedelta(days=day)
    at, end, total = begin.timestamp(), (begin + timedelta(days=1)).timestamp(), 0.0
    schedule = window(*times)
    while at < end:
        inside, _, until = active(schedule, zone, at)
        total += min(until, end) - at if inside else 0.0
        at = until
    minutes = [int(text[:2]) * 60 + int(text[3:]) for text in times]
    assert total == (minutes[1] - minutes[0]) % (24 * 60) * 60
