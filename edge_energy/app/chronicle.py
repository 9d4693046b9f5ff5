"""What happens to the appliance itself: recorded like everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import structlog

from edge_energy.errors import JournalFull, Unavailable
from edge_energy.interfaces import APPLIANCE, NewEntry

if TYPE_CHECKING:
    from edge_energy.clock import Clock
    from edge_energy.interfaces import Durable
    from edge_energy.journal.journal import Journal

log = structlog.get_logger()

MOST_SINCE = 3_000  # entries that may have been recorded between a commit and a look at it


class Chronicle:
    """Records what happens to the appliance itself, and when the date is known."""

    def __init__(self, appliance: str, journal: Journal, clock: Clock) -> None:
        self._appliance = appliance
        self._journal = journal
        self._clock = clock

    def tell(self, event: str, **details: Any) -> None:
        """Record an event with the next commit, which is at once; on a full disk it is only logged."""
        try:
            self._record(event, details)
        except JournalFull:
            log.warning("not recorded, the journal is full", event_=event)

    async def mark(self, event: str, **details: Any) -> int:
        """Record an event; return its position once it is durable.

        Raises `JournalFull`, and `Unavailable` where no sink can get it because nobody knows the date.
        """
        await self._record(event, details)
        wanted = {"event": event, **details}
        newest = await self._journal.tail(MOST_SINCE)
        found = [entry.position for entry in newest if entry.kind == APPLIANCE and entry.body == wanted]
        if found:
            return found[-1]
        raise Unavailable("recorded, but the date is not known yet: nothing is delivered before that")

    def _record(self, event: str, details: dict[str, Any]) -> Durable:
        now, uptime = self._clock.now()
        body = orjson.dumps({"event": event, **details}).decode()
        return self._journal.record([NewEntry(APPLIANCE, self._appliance, now, uptime, body)], within=0)

    async def run(self) -> None:
        """Keep an anchor whenever the date becomes known or the clock is set."""
        self._clock.set.set()
        first = True
        while True:
            await self._clock.set.wait()
            self._clock.set.clear()
            if not self._clock.trusted:
                continue
            await self._journal.writable()
            if not first:
                self.tell("clock set")
            first = False
            try:
                await self._journal.anchor("set")
            except JournalFull:
                self._clock.set.set()
