"""Times of day and days of the week, as an operator writes them. No I/O.

As in `values`: a ValueError has no text where the description of the setting says enough.
"""

from __future__ import annotations

import re
from datetime import time

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")


def time_of_day(value: object) -> time:
    """Return a local time: "22:30", "22:30:15", or TOML's own kind of time."""
    if isinstance(value, time) and value.tzinfo is None:
        return value
    if isinstance(value, str) and (found := _TIME.fullmatch(value.strip())):
        hour, minute, second = (int(part or 0) for part in found.groups())
        return time(hour, minute, second)
    raise ValueError


def weekday(value: object) -> int:
    """Return the number of a day, from 0 for "mon"; numbers are taken as they are."""
    if isinstance(value, str) and (day := value.strip().lower()) in DAYS:
        return DAYS.index(day)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(DAYS):
        return value
    raise ValueError
