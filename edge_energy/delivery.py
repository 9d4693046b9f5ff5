"""From the journal to one sink: what is new first, then the backlog; batches, rejections, confirmation."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from edge_energy.errors import Rejected, TooLarge, Unavailable
from edge_energy.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Collection

    from edge_energy.interfaces import Batch, Entry, Outbox, Sink

log = structlog.get_logger()

TOO_MANY_REJECTIONS = 100
LONGEST_WAIT = 4.0
"""Seconds between two attempts at most: so soon after an outage what is new is on its way."""
LONG = 5.0
"""Seconds: a batch that takes longer has waited for the end of an outage."""


class Delivery:
    """Delivers what one sink owes: what is new as it comes, and the backlog of an outage between it, paced.

    See `interfaces.Outbox` and `interfaces.Sink`. A rejected batch is halved until the bad entry is alone. It is a
    *suspect* until the sink accepts something after it: only then is it set aside. A hundred suspects in a row mean
    that the far side, not the data, is wrong, and none of them is set aside.
    """

    def __init__(self, sink: Sink, outbox: Outbox, pace: Pace | None = None) -> None:
        """`pace` says how fast a backlog goes; without one, as fast as the sink takes it."""
        self.name = sink.name
        self.up = asyncio.Event()
        self.delivered = 0
        self.set_aside = 0
        self.last_success: float | None = None
        """Monotonic seconds of the last confirmation."""
        self.asked_at: float | None = None
        """Monotonic seconds since which the sink has not answered, while it is waited for."""
        self._sink = sink
        self._outbox = outbox
        self._pace = pace or Pace(0.0, "")
        self._largest = sink.batch_size
        self._waiting_since: float | None = None
        """Monotonic seconds at which something new was there first, and has not been read since."""
        self._suspects: list[tuple[Entry, str]] = []
        self._unconfirmed: list[Batch] = []
        self._progress = asyncio.Event()

    @property
    def replay_rate(self) -> float:
        """The most entries of a backlog in a second; 0 for no limit."""
        return self._pace.rate

    async def run(self) -> None:
        """Deliver until cancelled. Raises `Unavailable`; nothing is lost by that, the next run begins again."""
        self._suspects = []
        self._unconfirmed = []
        self._pace.begin(time.monotonic())
        self._rewind()
        async with self._sink:
            while True:
                batch = await self._next()
                began = time.monotonic()
                await self._deliver([entry for entry in batch.entries if entry.body])
                self._unconfirmed.append(batch)
                if not self._suspects:
                    self._confirm()
                    if time.monotonic() - began > LONG:
                        self._rewind()  # an outage that the sink has bridged: what was recorded in it belongs to it

    def _rewind(self) -> None:
        """Begin anew: what is new first, and a backlog that there was not before at the end of its pause."""
        if not self._outbox.backlog.unread():
            self._pace.begin(time.monotonic())
        self._outbox.rewind()
        self._waiting_since = float("-inf")

    async def settled(self, position: int) -> None:
        """Wait until nothing is owed at a position: the sink confirmed it, or refused it for good."""
        while self._outbox.owes(position):
            await self._progress.wait()

    async def _next(self) -> Batch:
        """Return what is new once it fills a batch or is old enough, else a piece of the backlog at its turn."""
        while True:
            now = time.monotonic()
            due = self._new_due(now)
            if due <= now:
                self._waiting_since = None
                if (batch := await self._outbox.new.read(self._largest)) is not None:
                    return batch
                continue
            if self._outbox.backlog.unread():
                turn = self._pace.turn(now)
                if turn <= now:
                    piece = self._pace.piece(self._largest)
                    if (batch := await self._outbox.backlog.read(piece)) is not None:
                        self._pace.sent(len(batch.entries), now)
                        return batch
                    continue
                due = min(due, turn)
            try:
                async with asyncio.timeout(None if due == float("inf") else due - now):
                    await self._outbox.news()
            except TimeoutError:
                pass

    def _new_due(self, now: float) -> float:
        """Return when (monotonic s) what is new is to go: now, or when its oldest is as old as a batch may be."""
        unread = self._outbox.new.unread()
        if not unread:
            return float("inf")
        if unread >= self._largest:
            return now
        if self._waiting_since is None:
            self._waiting_since = now
        return self._waiting_since + self._sink.batch_age

    async def _deliver(self, entries: list[Entry]) -> int:
        """Return when each entry was accepted or is a suspect: how many of them were accepted at once, at most."""
        if not entries:
            return 0
        try:
            await self._write(entries)
        except (TooLarge, Rejected) as error:
            rest = self._without(entries, error.accepted)
            if len(rest) == 1:
                self._suspect(rest[0], _alone(error))
                return len(entries) - 1
            middle = len(rest) // 2
            largest = max(await self._deliver(rest[:middle]), await self._deliver(rest[middle:]))
            if isinstance(error, TooLarge) and largest:
                self._largest = largest
            return largest
        self._accepted(len(entries))
        return len(entries)

    async def _write(self, entries: list[Entry]) -> None:
        self.asked_at = time.monotonic()
        try:
            await self._sink.write(entries)
        finally:
            self.asked_at = None

    def _without(self, entries: list[Entry], accepted: Collection[int]) -> list[Entry]:
        """Return what was not accepted of a batch; a sink that says nothing of that accepted nothing."""
        if not accepted:
            return entries
        self._accepted(len(accepted))
        return [entry for entry in entries if entry.position not in accepted]

    def _accepted(self, count: int) -> None:
        self.up.set()
        self.delivered += count
        self.last_success = time.monotonic()
        suspects, self._suspects = self._suspects, []
        for entry, reason in suspects:
            self._set_aside(entry, reason)

    def _suspect(self, entry: Entry, error: Rejected) -> None:
        if error.certain:
            self._set_aside(entry, str(error))
            return
        self._suspects.append((entry, str(error)))
        if len(self._suspects) >= TOO_MANY_REJECTIONS:
            raise Unavailable(f"refused {len(self._suspects)} entries in a row, the last because: {error}")

    def _set_aside(self, entry: Entry, reason: str) -> None:
        self.set_aside += 1
        log.warning("set aside", sink=self.name, device=entry.device, position=entry.position, reason=reason)
        self._outbox.set_aside(entry, reason)

    def _confirm(self) -> None:
        for batch in self._unconfirmed:
            self._outbox.confirm(batch)
        self._unconfirmed = []
        self._progress.set()
        self._progress = asyncio.Event()


def _alone(error: TooLarge | Rejected) -> Rejected:
    """Return what an error means of an entry that was alone."""
    if isinstance(error, TooLarge):
        return Rejected(f"too large even alone: {error}", certain=True)
    return error
