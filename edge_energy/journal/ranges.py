"""What one sink still owes, or all of them, as ranges of positions. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FOREVER = 2**63 - 1  # SQLite's highest rowid, so everything to come; stored as NULL


class Debt:
    """Ordered, disjoint ranges of positions, ends included; a last of None means everything to come.

    Almost always one open range, of which every batch takes a piece off the front; retries, repairs and
    outages add a few more, so each operation simply goes through them all.
    """

    __slots__ = ("_ranges",)

    def __init__(self, rows: Iterable[tuple[int, int | None]] = ()) -> None:
        self._ranges: list[tuple[int, int]] = []
        for first, last in rows:
            self.owe(first, last)

    def rows(self) -> list[tuple[int, int | None]]:
        """Return the ranges as they are stored."""
        return [(first, _stored(last)) for first, last in self._ranges]

    def next_range(self, after: int) -> tuple[int, int | None] | None:
        """Return the first owed range at or behind `after`, without what of it lies before."""
        for first, last in self._ranges:
            if last >= after:
                return max(first, after), _stored(last)
        return None

    def settle(self, first: int, last: int) -> None:
        """Stop owing a range: delivered, set aside, or never written. Not all of it need be owed."""
        if first <= last:
            self._ranges = [piece for owed in self._ranges for piece in _without(owed, first, last)]

    def owe(self, first: int, last: int | None) -> None:
        """Add a range, merging it with those that it overlaps or touches."""
        end = _FOREVER if last is None else last
        if first > end:
            return
        kept = []
        for owed in self._ranges:
            if owed[1] < first - 1 or owed[0] > end + 1:
                kept.append(owed)
            else:
                first, end = min(first, owed[0]), max(end, owed[1])
        self._ranges = sorted([*kept, (first, end)])

    def gaps(self, last: int) -> list[tuple[int, int]]:
        """Return the ranges from 1 to `last` of which nothing is owed."""
        free, begin = [], 1
        for first, end in self._ranges:
            if begin < first and begin <= last:
                free.append((begin, min(first - 1, last)))
            begin = end + 1
        return [*free, (begin, last)] if begin <= last else free

    def forget_before(self, position: int) -> int:
        """Stop owing what lies before `position`; return how many positions that were."""
        forgotten = self.count(position - 1)
        if forgotten:
            self._ranges = [(max(first, position), last) for first, last in self._ranges if last >= position]
        return forgotten

    def count(self, newest: int, after: int = 0) -> int:
        """Return how many positions from `after` up to `newest` are owed; without `after`, the lag."""
        total = 0
        for first, last in self._ranges:
            total += max(0, min(last, newest) - max(first, after) + 1)
        return total

    def oldest(self) -> int | None:
        """Return the lowest position owed (it may still have to be written), or None where none is."""
        return self._ranges[0][0] if self._ranges else None


def _stored(last: int) -> int | None:
    return None if last == _FOREVER else last


def _without(owed: tuple[int, int], first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield what remains of one range when another is taken off."""
    if owed[0] < first:
        yield owed[0], min(owed[1], first - 1)
    if owed[1] > last:
        yield max(owed[0], last + 1), owed[1]
