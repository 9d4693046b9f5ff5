"""House time: seconds of local civil time since 1970, without daylight saving. No I/O."""

from __future__ import annotations

import calendar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

MINUTE = 60.0
HOUR = 3600.0
DAY = 86400.0


def from_datetime(moment: datetime) -> float:
    """Give the house time of a moment, read as the clock on the wall shows it; a time zone is ignored."""
    return float(calendar.timegm(moment.timetuple()))


def hour_of_day(now: float) -> float:
    """Give the hour on the kitchen clock, 0 to 24."""
    return now % DAY / HOUR


def day_number(now: float) -> int:
    """Give the number of the day, for whatever is decided once a day."""
    return int(now // DAY)


def season(now: float) -> float:
    """Give the position in the year, 0 on 1 January to 1; leap days may move it by one day."""
    return now / DAY % 365.2425 / 365.2425


def within(now: float, begin: float, end: float) -> bool:
    """Tell whether the hour of day lies in a window, which may reach over midnight (22.5 to 6.5)."""
    hour = hour_of_day(now)
    return begin <= hour < end if begin <= end else hour >= begin or hour < end
