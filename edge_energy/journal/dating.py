"""When an entry was recorded whose appliance did not know the date yet. No I/O."""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST = 10 * 366 * 86_400 * 10**9
"""The span (ns) where nothing says how early it was: no appliance has been away for longer."""


class _Window(NamedTuple):
    """Between which moments a boot without a clock ran; `earliest` is None where nothing is known."""

    earliest: int | None
    latest: int


class Anchors:
    """The moments at which the date was known, and what follows from them for all others.

    `rows` are those of the table: (boot, uptime, time, quality), boots numbered in order. `last_uptimes` is
    the newest known uptime of each boot; without it, several boots in a row without a clock overlap. Later
    anchors are taken in by making a new `Anchors`, and never change a date once given: an entry delivered
    twice must stay the same point.
    """

    def __init__(
        self,
        rows: Iterable[tuple[int, int, int, str]],
        last_uptimes: Mapping[int, int] | None = None,
    ) -> None:
        self._anchors: dict[int, list[tuple[int, int]]] = {}
        for boot, uptime, time, _quality in sorted(rows):
            self._anchors.setdefault(boot, []).append((uptime, time))
        self._last_uptimes = dict(last_uptimes or {})
        self._windows: dict[int, _Window | None] = {}

    def date(self, boot: int, uptime: int, last_uptime: int) -> tuple[int, int | None] | None:
        """Return time and span (ns) of an entry, or None while it cannot be dated.

        Where its boot has an anchor, the time is exact and the span None. Otherwise the time is the latest
        possible one, given that the boot's newest entry, at `last_uptime`, came before the next boot with a
        clock; so the entries of a boot keep their order and distances.
        """
        if boot in self._anchors:
            return self._exact(boot, uptime), None
        if boot not in self._windows:
            self._windows[boot] = self._window(boot)
        window = self._windows[boot]
        if window is None:
            return None
        began = window.latest - max(last_uptime, uptime)
        if window.earliest is None or window.earliest >= began:  # the latter: a clock was wrong
            return began + uptime, LONGEST
        return began + uptime, began - window.earliest

    def _exact(self, boot: int, uptime: int) -> int:
        """Date by the newest anchor that is not later, or else by the first.

        Not by the nearest: that may be one which was not there yet when the entry was delivered first.
        """
        anchors = self._anchors[boot]
        at, time = anchors[max(0, bisect_right(anchors, uptime, key=itemgetter(0)) - 1)]
        return time + uptime - at

    def _window(self, boot: int) -> _Window | None:
        """Fit a boot between the last moment known before it and the next boot with a clock."""
        after = min((other for other in self._anchors if other > boot), default=None)
        if after is None:
            return None
        latest = self._exact(after, 0) - self._ran(boot + 1, after)
        before = max((other for other in self._anchors if other < boot), default=None)
        if before is None:
            return _Window(None, latest)
        newest = max(self._last_uptimes.get(before, 0), self._anchors[before][-1][0])
        return _Window(self._exact(before, newest) + self._ran(before + 1, boot), latest)

    def _ran(self, first: int, end: int) -> int:
        """Return for how long the boots from `first` up to, not including, `end` ran at least."""
        return sum(uptime for boot, uptime in self._last_uptimes.items() if first <= boot < end)
