"""From the journal to one sink: batches, rejections, confirmation."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from edge_energy.errors import Rejected, TooLarge, Unavailable

if TYPE_CHECKING:
    from edge_energy.interfaces import Batch, Entry, Outbox, Sink

log = structlog.get_logger()

TOO_MANY_REJECTIONS = 100


class Delivery:
    """Delivers what one sink owes, oldest first. See `interfaces.Outbox` and `interfaces.Sink`.

    A rejected batch is halved until the bad entry is alone. It is a *suspect* until the sink accepts something
    after it: only then is it set aside. A hundred suspects in a row mean that the far side, not the data, is
    wrong, and none of them is set aside.
    """

    def __init__(self, sink: Sink, outbox: Outbox) -> None:
        self.name = sink.name
        self.up = asyncio.Event()
        self.delivered = 0
        self.set_aside = 0
        self.last_success: float | None = None
        """Monotonic seconds of the last confirmation."""
        self._sink = sink
        self._outbox = outbox
        self._largest = sink.batch_size
        self._suspects: list[tuple[Entry, str]] = []
        self._unconfirmed: list[Batch] = []

    async def run(self) -> None:
        """Deliver until cancelled. Raises `Unavailable`; nothing is lost by that, the next run begins again."""
        self._suspects = []
        self._unconfirmed = []
        self._outbox.rewind()
        async with self._sink:
            while True:
                await self._wait()
                batch = await self._outbox.read(self._largest)
                if batch is None:
                    continue
                await self._deliver(batch.entries)
                self._unconfirmed.append(batch)
                if not self._suspects:
                    self._confirm()

    async def _wait(self) -> None:
        """Wait for a full batch, or for the age at which a smaller one goes."""
        await self._outbox.wait()
        if self._sink.batch_age:
            try:
                async with asyncio.timeout(self._sink.batch_age):
                    await self._outbox.wait(self._largest)
            except TimeoutError:
                pass

    async def _deliver(self, entries: list[Entry]) -> None:
        """Return when each entry was accepted or is a suspect."""
        if not entries:
            return
        try:
            await self._sink.write(entries)
        except TooLarge as error:
            if len(entries) == 1:
                self._suspect(entries[0], Rejected(f"too large even alone: {error}", certain=True))
                return
            self._largest = max(1, len(entries) // 2)
        except Rejected as error:
            if len(entries) == 1:
                self._suspect(entries[0], error)
                return
        else:
            self._accepted(len(entries))
            return
        middle = len(entries) // 2
        await self._deliver(entries[:middle])
        await self._deliver(entries[middle:])

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
