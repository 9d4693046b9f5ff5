"""Sums energy that devices send in increments into lifetime counters that survive restarts. No I/O."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from edge_energy.reading import INCREMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_energy.interfaces import Durable
    from edge_energy.reading import Values

PREFIX = "counter/"
"""Of the keys in the journal's state: `counter/<device>` for energy, `counter/<device>/energy_returned`."""
_DECIMALS = 6  # of Wh: so that sums of 0.1 stay what they are


class Increments:
    """The totals (Wh) of all devices. Shared by all sources, so that there is one counter of a device.

    What is summed is written in the same transaction as the entries: hand `state()` to the recorder and tell
    `recorded` what it promised. A commit that fails takes its increments back.
    """

    def __init__(self, totals: Mapping[str, float]) -> None:
        """Begin with what the journal's state has under `PREFIX`."""
        self._totals = dict(totals)
        self._unsaved: dict[str, float] = {}
        self._pending: deque[tuple[Durable, dict[str, float]]] = deque()

    def sum(self, device: str, values: Values) -> Values:
        """Return the values with the counters that their increments lead to."""
        if INCREMENTS.keys().isdisjoint(values):
            return values
        self._settle()
        summed = dict(values)
        for name in INCREMENTS.keys() & values.keys():
            counter = INCREMENTS[name]
            key = f"{PREFIX}{device}" if counter == "energy" else f"{PREFIX}{device}/{counter}"
            self._totals[key] = summed[counter] = round(self._totals.get(key, 0.0) + values[name], _DECIMALS)
            self._unsaved[key] = self._unsaved.get(key, 0.0) + values[name]
        return summed

    def state(self) -> dict[str, float]:
        """Return what was summed since the last `recorded`, for the journal's state."""
        return {key: self._totals[key] for key in self._unsaved}

    def recorded(self, durable: Durable | None) -> None:
        """Note what `state` went with; None where the journal refused it at once."""
        added, self._unsaved = self._unsaved, {}
        if durable is None:
            self._take_back(added)
        elif added:
            self._pending.append((durable, added))

    def _settle(self) -> None:
        """Take back what was not written. No sum is made between a failed commit and this."""
        while self._pending and self._pending[0][0].done():
            durable, added = self._pending.popleft()
            if durable.failed():
                self._take_back(added)

    def _take_back(self, added: Mapping[str, float]) -> None:
        for key, amount in added.items():
            self._totals[key] = round(self._totals[key] - amount, _DECIMALS)
