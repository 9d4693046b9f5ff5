"""The caller of webhooks: one GET after the other, nothing is repeated."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from aiohttp import ClientError, ClientSession, ClientTimeout, InvalidURL
from yarl import URL

if TYPE_CHECKING:
    from simulator.shelly.counts import Counts

MOST_WAITING = 20
TIMEOUT = 5.0


class Caller:
    """Calls URLs in order; what is too much is dropped and counted as failed."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._waiting: asyncio.Queue[str] = asyncio.Queue(MOST_WAITING)

    def call(self, urls: list[str]) -> None:
        """Call them soon."""
        for url in urls:
            try:
                self._waiting.put_nowait(url)
            except asyncio.QueueFull:
                self._counts.webhooks_failed += 1

    def forget(self) -> None:
        """Drop what waits: there is no network."""
        while not self._waiting.empty():
            self._waiting.get_nowait()
            self._counts.webhooks_failed += 1

    async def run(self) -> None:
        """Work through what waits; ends by being cancelled."""
        async with ClientSession(timeout=ClientTimeout(total=TIMEOUT)) as session:
            while True:
                url = await self._waiting.get()
                self._counts.webhooks_failed += 1  # until the answer is there
                with contextlib.suppress(ClientError, OSError, TimeoutError, InvalidURL, ValueError):
                    async with session.get(URL(url, encoded=True)) as response:
                        await response.read()
                        self._counts.webhooks_sent += 1
                        self._counts.webhooks_failed -= 1
