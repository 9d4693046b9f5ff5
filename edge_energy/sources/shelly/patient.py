"""Waits where a device has too many requests to answer: firmware 2 says 429 after some twenty in a row."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from edge_energy.sources.shelly.session import Throttled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_energy.sources.shelly.wish import Rpc

PAUSES = (1.0, 3.0, 6.0)  # seconds; whoever else asks the device has its share, too
LONGEST_PAUSE = 10.0  # seconds, whatever the device wishes: somebody waits for the answer


class Patient:
    """Remote procedures that are tried again after a pause. Raises what `rpc` does in the end."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    async def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Return the result of a method."""
        return await patiently(lambda: self._rpc.call(method, params))

    async def get(self, path: str) -> Any:
        """Return the JSON behind a path."""
        return await patiently(lambda: self._rpc.get(path))


async def patiently(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Ask, and again after a pause where that is one question too many. Raises what it raises in the end."""
    for pause in PAUSES:
        try:
            return await ask()
        except Throttled as error:
            wish = pause if error.retry_after is None else error.retry_after
            await asyncio.sleep(min(wish, LONGEST_PAUSE))
    return await ask()
