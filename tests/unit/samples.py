"""What the unit tests record: entries like those of a house, as short to write as they are to read."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import orjson

from edge_energy.clock import Clock
from edge_energy.interfaces import READING, Entry, NewEntry
from edge_energy.journal.journal import Journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SECOND = 10**9
NOON = 1_790_000_000 * SECOND
"""Some instant (UTC ns) that every test means when it says now."""
BOOT = "11111111-aaaa-bbbb-cccc-000000000001"
RELAY_REPORT: dict[str, Any] = {
    "relay": "shelly-ec62608ab9a4",
    "name": "Boiler",
    "device": "shelly-ec62608ab9a4",
    "state": "ON",
    "available": True,
    "output": True,
    "power": 2400.4,
    "draws": False,
    "safe_state": "off",
    "timer": True,
    "lease": 120.0,
    "lease_verified": True,
    "leased_seconds_left": 80.5,
    "wish": {"on": True, "origin": "cli", "seconds_left": None, "reason": ""},
    "blocked": None,
    "findings": [],
    "last": None,
}
"""What the controller tells of one relay, as `status` gets it."""
_NOW: Any = object()


def new_entry(number: int = 0, time: Any = _NOW, **more: Any) -> NewEntry:
    """Return a reading of 46.9 W and more, `number` seconds after noon and after the boot."""
    body = orjson.dumps(more.pop("values", {"power": 46.9 + number})).decode()
    found = NewEntry(READING, "plug", NOON + number * SECOND if time is _NOW else time, number * SECOND, body)
    return found._replace(**more)


def new_entries(count: int, **more: Any) -> list[NewEntry]:
    """Return so many readings, a second apart."""
    return [new_entry(number, **more) for number in range(count)]


def entry(position: int, **more: Any) -> Entry:
    """Return a reading as a sink gets it."""
    found = Entry(position, READING, "plug", NOON + position, None, 1, position, {"power": float(position)})
    return found._replace(**more)


@asynccontextmanager
async def running_journal(directory: Path, **options: Any) -> AsyncIterator[Journal]:
    """Open a journal that commits, and close it in good order."""
    clock = options.pop("clock", None) or Clock(lambda: True)
    options = {"max_size": 2**30, "keep": 7 * 86400.0} | options
    async with Journal(directory, clock, options.pop("boot", BOOT), **options) as journal:
        running = asyncio.create_task(journal.run())
        try:
            yield journal
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
