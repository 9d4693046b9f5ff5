"""Shelly Gen1 by HTTP: `GET /relay/0?turn=on&timer=60`, and `GET /relay/0` to see whether it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from edge_energy.errors import Unavailable
from edge_energy.relays.drivers.way import State

if TYPE_CHECKING:
    from collections.abc import Mapping


class Pages(Protocol):
    """The pages of one device."""

    @property
    def peer(self) -> str:
        """Where the device is."""
        ...

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the JSON object at a path. Raises `Unavailable`."""
        ...


class ShellyGen1:
    """One output of a device. A command without `timer` ends a timer that runs."""

    timer = True

    def __init__(self, pages: Pages, output: int) -> None:
        self.peer = pages.peer
        self._pages = pages
        self._path = f"/relay/{output}"

    async def tell(self, on: bool, for_: float | None) -> None:  # noqa: FBT001 - see `Way`, as the others
        """Turn it; the timer has whole seconds, and is never longer than asked for."""
        query = {"turn": "on" if on else "off"}
        if for_ is not None:
            query["timer"] = str(max(1, int(for_)))
        await self._pages.get(self._path, query)

    async def look(self) -> State:
        """Get its page."""
        page = await self._pages.get(self._path)
        if type(page.get("ison")) is not bool:
            raise Unavailable(f"{self.peer}{self._path} does not say whether it is on")
        return State(page["ison"], "overpower" if page.get("overpower") is True else "")
