"""Whether a daily window is open, on days of 23, 24 and 25 hours. No I/O."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import date, time
    from zoneinfo import ZoneInfo

    from edge_energy import config

_DAYS = 15  # looked at in both directions: a weekly window can be swallowed by the hour that does not exist


class _Window(NamedTuple):
    begin: float
    end: float


def active(schedule: config.Schedule, zone: ZoneInfo, utc: float) -> tuple[bool, float, float]:
    """Return whether the schedule is within a window, since when that holds, and until when (UTC seconds).

    The window includes its begin and excludes its end. A local time that happens twice means the first, one that does
    not happen the moment at which the clock was put forward. The answer stays true until `until`: ask again then.
    """
    since, until = -math.inf, math.inf
    for window in _windows(schedule, zone, datetime.fromtimestamp(utc, zone).date()):
        if window.begin <= utc < window.end:
            return True, window.begin, window.end
        if window.end <= utc:
            since = max(since, window.end)
        else:
            until = min(until, window.begin)
    return False, since, until


@lru_cache(maxsize=64)  # asked with every reading, and the answer is the same all day
def _windows(schedule: config.Schedule, zone: ZoneInfo, today: date) -> tuple[_Window, ...]:
    """Return the windows around a local day, earliest first; their days are those of their beginnings.

    Windows that touch are one: one ends and one begins in the hour that does not exist.
    """
    windows: list[_Window] = []
    if schedule.start is None or schedule.end is None:  # switched by surplus
        return ()
    overnight = timedelta(days=schedule.end <= schedule.start)
    for offset in range(-_DAYS, _DAYS + 1):
        day = today + timedelta(days=offset)
        if day.weekday() not in schedule.days:
            continue
        begin, end = _instant(day, schedule.start, zone), _instant(day + overnight, schedule.end, zone)
        if windows and begin <= windows[-1].end:
            begin = windows.pop().begin
        if begin < end:
            windows.append(_Window(begin, end))
    return tuple(windows)


def _instant(day: date, at: time, zone: ZoneInfo) -> float:
    """Return the UTC seconds of a local time."""
    local = datetime.combine(day, at, zone)
    instant = local.timestamp()
    if datetime.fromtimestamp(instant, zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return instant
    # It does not happen. Taken by the offset from after the change it lies before it, and the other way round.
    before, after = int(local.replace(fold=1).timestamp()), int(instant)
    offset = datetime.fromtimestamp(before, zone).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return float(after)
