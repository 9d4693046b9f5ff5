"""One sink's view of the journal: what it owes, how far it has read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_energy.interfaces import Batch
from edge_energy.journal.ranges import Debt

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from edge_energy.interfaces import Entry
    from edge_energy.journal.reader import Extract

    class Log(Protocol):
        """What an outbox needs of the journal."""

        newest: int
        news: int

        def last_old(self) -> int:
            """Return the newest position that is more than seconds old."""
            ...

        async def extract(self, first: int, last: int, limit: int) -> Extract:
            """Read a range of positions."""
            ...

        async def wait_for_news(self) -> None:
            """Wait for something new to read."""
            ...


class SinkOutbox:
    """See `interfaces.Outbox`. Created by `Journal.outbox`."""

    def __init__(self, journal: Log, sink: str, owed: Iterable[tuple[int, int | None]], *, strict: bool) -> None:
        """`strict` keeps the order in which entries were recorded: then all that is owed is new."""
        self.sink = sink
        self.debt = Debt(owed)
        self.dirty = False
        self.refusals: list[tuple[str, int, str]] = []
        """(sink, position, reason), to be written in the same transaction as the debt."""
        self.journal = journal
        self.in_flight: list[Batch] = []
        """Read and not confirmed; a list of its own from each rewind to the next."""
        self._strict = strict
        self.rewind()

    def rewind(self) -> None:
        """Read again from the oldest unconfirmed entry; what is owed now, but for the youngest, is the backlog."""
        first_new = 1 if self._strict else self.journal.last_old() + 1
        self.in_flight = []
        self.backlog = SinkLane(self, 1, first_new - 1)
        self.new = SinkLane(self, first_new, None)

    def owe(self, positions: Iterable[int]) -> None:
        """Owe these again."""
        for position in positions:
            self.debt.owe(position, position)
        self.dirty = True
        self.rewind()

    def lag(self) -> int:
        """Return how many positions are owed."""
        return self.debt.count(self.journal.newest)

    def owes(self, position: int) -> bool:
        """Tell whether the entry at a position was neither confirmed nor set aside."""
        return self.debt.count(position, position) > 0

    async def news(self) -> None:
        """Wait for the next commit, or for the date becoming known."""
        await self.journal.wait_for_news()

    def confirm(self, batch: Batch) -> None:
        """Note that the far side has everything in the batch's range (or that it was set aside).

        A batch from before a rewind counts for nothing: what `journal retry` brought back may lie in its range.
        """
        index = next((index for index, known in enumerate(self.in_flight) if known is batch), None)
        if index is not None:
            del self.in_flight[index]
            self.debt.settle(batch.first, batch.last)
            self.dirty = True

    def set_aside(self, entry: Entry, reason: str) -> None:
        """Note that the far side refused an entry for ever; `journal retry` brings it back."""
        self.refuse(entry.position, reason)

    def refuse(self, position: int, reason: str) -> None:
        """Set a position aside."""
        self.refusals.append((self.sink, position, reason))
        self.dirty = True


class SinkLane:
    """See `interfaces.Lane`: a part of what is owed, read in order."""

    def __init__(self, outbox: SinkOutbox, first: int, last: int | None) -> None:
        """`first` and `last` are positions, ends included; None for everything to come."""
        self._outbox = outbox
        self._next = first
        self._last = last
        self._undated_at: int | None = None
        """News number at which an entry could not be dated: only later news can change that."""

    def unread(self) -> int:
        """Return how many positions are owed and not read yet."""
        journal = self._outbox.journal
        if self._undated_at == journal.news:
            return 0
        return self._outbox.debt.count(self._end(), self._next)

    async def read(self, limit: int) -> Batch | None:
        """Return the next entries of one owed range, or None where nothing is left unread."""
        outbox, end = self._outbox, self._end()
        owed = outbox.debt.next_range(self._next)
        if owed is None or owed[0] > end:
            return None
        first = owed[0]
        last = end if owed[1] is None else min(owed[1], end)
        news, in_flight = outbox.journal.news, outbox.in_flight
        extract = await outbox.journal.extract(first, last, limit)
        for position in extract.corrupt:
            outbox.refuse(position, "the checksum is wrong: the storage changed this entry")
        if extract.reached < first:
            self._undated_at = news
            return None
        if in_flight is not outbox.in_flight:  # rewound meanwhile: what is older comes first
            return None
        self._next = extract.reached + 1
        batch = Batch(extract.entries, first, extract.reached)
        in_flight.append(batch)
        return batch

    def _end(self) -> int:
        newest = self._outbox.journal.newest
        return newest if self._last is None else min(self._last, newest)
