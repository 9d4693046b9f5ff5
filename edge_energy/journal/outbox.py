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

        async def extract(self, first: int, last: int, limit: int) -> Extract:
            """Read a range of positions."""
            ...

        async def wait_for_news(self) -> None:
            """Wait for something new to read."""
            ...


class SinkOutbox:
    """See `interfaces.Outbox`. Created by `Journal.outbox`."""

    def __init__(self, journal: Log, sink: str, owed: Iterable[tuple[int, int | None]]) -> None:
        self.sink = sink
        self.debt = Debt(owed)
        self.dirty = False
        self.refusals: list[tuple[str, int, str]] = []
        """(sink, position, reason), to be written in the same transaction as the debt."""
        self._journal = journal
        self._read_to = 0
        self._in_flight: list[Batch] = []
        """Read and not confirmed; a list of its own from each rewind to the next."""
        self._undated_at: int | None = None
        """News number at which an entry could not be dated: only later news can change that."""

    def owe(self, positions: Iterable[int]) -> None:
        """Owe these again."""
        for position in positions:
            self.debt.owe(position, position)
        self.dirty = True
        self.rewind()

    def lag(self) -> int:
        """Return how many positions are owed."""
        return self.debt.count(self._journal.newest)

    def unread(self) -> int:
        """Return how many positions are owed and not read yet."""
        if self._undated_at == self._journal.news:
            return 0
        return self.debt.count(self._journal.newest, self._read_to + 1)

    async def wait(self, count: int = 1) -> None:
        """Wait until at least `count` positions are owed and unread."""
        while self.unread() < count:
            await self._journal.wait_for_news()

    async def read(self, limit: int) -> Batch | None:
        """Return the next entries of one owed range, or None where nothing is left unread."""
        owed = self.debt.next_range(self._read_to + 1)
        newest = self._journal.newest
        if owed is None or owed[0] > newest:
            return None
        first = owed[0]
        last = newest if owed[1] is None else min(owed[1], newest)
        news, in_flight = self._journal.news, self._in_flight
        extract = await self._journal.extract(first, last, limit)
        for position in extract.corrupt:
            self._refuse(position, "the checksum is wrong: the storage changed this entry")
        if extract.reached < first:
            self._undated_at = news
            return None
        if in_flight is not self._in_flight:  # rewound meanwhile: what is older comes first
            return None
        self._read_to = extract.reached
        batch = Batch(extract.entries, first, extract.reached)
        in_flight.append(batch)
        return batch

    def confirm(self, batch: Batch) -> None:
        """Note that the far side has everything in the batch's range (or that it was set aside).

        A batch from before a rewind counts for nothing: what `journal retry` brought back may lie in its range.
        """
        index = next((index for index, known in enumerate(self._in_flight) if known is batch), None)
        if index is not None:
            del self._in_flight[index]
            self.debt.settle(batch.first, batch.last)
            self.dirty = True

    def set_aside(self, entry: Entry, reason: str) -> None:
        """Note that the far side refused an entry for ever; `journal retry` brings it back."""
        self._refuse(entry.position, reason)

    def _refuse(self, position: int, reason: str) -> None:
        self.refusals.append((self.sink, position, reason))
        self.dirty = True

    def rewind(self) -> None:
        """Read again from the oldest unconfirmed entry."""
        self._read_to = 0
        self._in_flight = []
