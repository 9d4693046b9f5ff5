"""Asks one device for everything, again and again, at a pace that it bears."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol

from edge_energy.sources.shelly.session import Garbled, NoAnswer, Throttled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_energy.sources.shelly.pace import Pace
    from edge_energy.sources.shelly.recording import Counters

MOST_MISSED = 2  # in a row without an answer that can be read
_AGAIN = 1.0  # seconds after one that was missed


class Asks(Protocol):
    """Whoever can call a device's methods."""

    @property
    def peer(self) -> str:
        """Where the device is."""
        ...

    async def call(self, method: str) -> Any:
        """Return the result. Raises `shelly_rpc.RpcError` and `Unavailable`."""
        ...


async def ask_status(device: Asks) -> dict[str, Any]:
    """Return everything that a device tells of itself. Raises `RpcError` and `Unavailable`."""
    status = await device.call("Shelly.GetStatus")
    if type(status) is not dict:
        raise Garbled(device.peer, "Shelly.GetStatus: the result is no object")
    return status


async def keep_asking(
    ask: Callable[[], Awaitable[None]], pace: Pace, counters: Counters, seconds: float = float("inf")
) -> None:
    """Await `ask` at the pace, for so many seconds. Raises `Unavailable` when no answers come any more."""
    missed, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            await ask()
        except Throttled as error:
            counters.throttled += 1
            wait = pace.throttled(error.retry_after)
        except (NoAnswer, Garbled) as error:
            missed += 1
            if missed >= MOST_MISSED:
                raise
            if isinstance(error, Garbled):
                counters.unreadable(error.detail)
            wait = _AGAIN
        else:
            missed = 0
            pace.answered()
            wait = pace.interval
        await asyncio.sleep(wait)
