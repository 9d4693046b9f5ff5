"""Shelly devices of the first generation: asked for their pages, since they push nothing by HTTP."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from edge_energy.devices import shelly_gen1
from edge_energy.sources.shelly import identity
from edge_energy.sources.shelly.session import Garbled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_energy.reading import Values
    from edge_energy.sources.shelly.http_rpc import HttpRpc
    from edge_energy.sources.shelly.identity import Identity
    from edge_energy.sources.shelly.recording import Counters


async def identify(rpc: HttpRpc, info: Mapping[str, Any]) -> Identity:
    """Ask for the settings, where its id is; `info` is the answer to `GET /shelly`. Raises `Unavailable`."""
    rpc.basic = True
    found = identity.of_gen1(info, await rpc.get("/settings"))
    if found is None:
        raise Garbled(rpc.peer, "/settings: no device.hostname like shelly1pm-A1B2C3")
    return found


async def read(rpc: HttpRpc, counters: Counters) -> Values:
    """Return the values of `GET /status`. Raises `Unavailable`."""
    status = await rpc.get("/status")
    counted: Counter[str] = Counter()
    values = shelly_gen1.status_values(status, counted)
    counters.implausible += counted[shelly_gen1.IMPLAUSIBLE]
    if not values:
        raise Garbled(rpc.peer, "/status: nothing that can be measured")
    return values
