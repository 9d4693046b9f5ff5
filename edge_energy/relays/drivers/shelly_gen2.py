"""Shelly Gen2 and later: `Switch.Set`, and `Switch.GetStatus` to see whether it did, over any connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from edge_energy.devices.shelly_rpc import RpcError
from edge_energy.errors import NotSwitched, Unavailable
from edge_energy.relays.drivers.way import State

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_ERRORS = 5
_LONGEST_ERROR = 40  # characters


class Calls(Protocol):
    """One connection over which a device's methods can be called."""

    @property
    def peer(self) -> str:
        """Where the device is."""
        ...

    async def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Return the result of a method. Raises `RpcError` and `Unavailable`."""
        ...


class ShellyGen2:
    """One output of a device, over one connection.

    A command without `toggle_after` ends a timer that runs; where the owner has set up `auto_off` or `auto_on`, the
    device then starts that one, and with `toggle_after` it does not (Shelly's documentation of Switch).
    """

    timer = True

    def __init__(self, calls: Calls, output: int) -> None:
        self.peer = calls.peer
        self._calls = calls
        self._output = output

    async def tell(self, on: bool, for_: float | None) -> None:  # noqa: FBT001 - see `Way`, as the others
        """Set it; an error of the device is its refusal."""
        params: dict[str, Any] = {"id": self._output, "on": on}
        if for_ is not None:
            params["toggle_after"] = round(for_, 1)
        await self._call("Switch.Set", params)

    async def look(self) -> State:
        """Get its status."""
        status = await self._call("Switch.GetStatus", {"id": self._output})
        output = status.get("output") if type(status) is dict else None
        if type(output) is not bool:
            raise Unavailable(f"{self.peer} does not say whether its output {self._output} is on")
        return State(output, _trouble(status))

    async def _call(self, method: str, params: dict[str, Any]) -> Any:
        try:
            return await self._calls.call(method, params)
        except RpcError as error:
            raise NotSwitched(f"{self.peer}: {error}") from None


def _trouble(status: Mapping[str, Any]) -> str:
    """Return the errors that a status lists: overpower, overtemp and so on."""
    errors = status.get("errors")
    words = [word[:_LONGEST_ERROR] for word in errors if type(word) is str] if type(errors) is list else []
    return ", ".join(words[:_MOST_ERRORS])
