"""One Zigbee device as the coordinator knows it: address, values, and which of them are due. No I/O."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from simulator.noise import Wander
from simulator.outlet import Outlet
from simulator.zigbee_model import AT_ONCE, Reporting

if TYPE_CHECKING:
    from random import Random

    from simulator.climate import Climate
    from simulator.zigbee_model import Model

Values = dict[str, Any]
TICK = timedelta(milliseconds=1)
CLOCK_SET_BACK = timedelta(seconds=1)
EPSILON = 1e-9  # 12.36 - 12.35 is a change of 0.01


class _Reported(NamedTuple):
    value: float | str
    time: float


class ZigbeeDevice:
    """Reports what its outlet or its place measures, by the reporting table of its model.

    A `deaf` one takes commands and does nothing; a `mute` one is out of reach, in both directions.
    """

    def __init__(self, name: str, model: Model, source: Outlet | Climate, rng: Random) -> None:
        self.name = name
        self.model = model
        self.source = source
        digest = hashlib.sha256(name.encode()).hexdigest()  # not the seed: a device is the same one in every run
        self.ieee_address = model.oui + digest[:10]
        self.network_address = int(digest[10:14], 16) or 1
        self.cache: Values = dict(model.settings)
        self.deaf = False
        self.mute = False
        self._last_seen = datetime.min.replace(tzinfo=UTC)
        self._rng = rng
        self._link = Wander(rng, 14, 1800)
        self._link_mean = rng.uniform(90, 230)
        self._reported: dict[str, _Reported] = {}

    @property
    def outlet(self) -> Outlet | None:
        """The circuit that it meters, if it is a meter."""
        return self.source if isinstance(self.source, Outlet) else None

    @property
    def relay(self) -> Outlet | None:
        """The circuit that it can switch, if it can."""
        return self.outlet if self.model.relay else None

    def seen(self, moment: datetime) -> str:
        """Note that it was heard, and give `last_seen`; two messages never share their millisecond."""
        later = self._last_seen + TICK
        self._last_seen = later if moment < later < moment + CLOCK_SET_BACK else moment
        return self._last_seen.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def link_quality(self) -> int:
        """Give the quality of the radio link at the newest message, 0 to 255."""
        return round(min(max(self._link_mean + self._link.step(10), 20), 255))

    def values(self) -> Values:
        """Give all its properties as they are now, rounded as its firmware does."""
        values: Values = {a.name: a.rounded(self._measured(a.name)) for a in self.model.attributes}
        if self.relay:
            values["state"] = "ON" if self.relay.output else "OFF"
        return values

    def due(self, now: float) -> list[Values]:
        """Give what is to be reported at this house time: everything at first, then one message for each cluster."""
        if self.mute:
            return []
        values = self.values()
        if not self._reported:
            self._introduce(values, now)
            return [values]
        clusters: dict[str, Values] = {}
        if self.relay and self._is_due("state", values["state"], AT_ONCE, now):
            clusters["genOnOff"] = {"state": values["state"]}
        for attribute in self.model.attributes:
            if self._is_due(attribute.name, values[attribute.name], attribute.reporting, now):
                clusters.setdefault(attribute.cluster, {})[attribute.name] = values[attribute.name]
        for fresh in clusters.values():
            self._reported.update((name, _Reported(value, now)) for name, value in fresh.items())
        return list(clusters.values())

    def _introduce(self, values: Values, now: float) -> None:
        """Back-date the first reports by up to a minute, so that devices started together do not stay in step."""
        earlier = self._rng.uniform(0, 60)
        self._reported = {name: _Reported(value, now - earlier) for name, value in values.items()}

    def _measured(self, name: str) -> float:
        if isinstance(self.source, Outlet):
            sample = self.source.sample
            counters = {"energy": sample.energy / 1e3, "produced_energy": sample.energy_returned / 1e3}
            return counters[name] if name in counters else float(getattr(sample, name))
        return float(getattr(self.source, name))

    def _is_due(self, name: str, value: float | str, reporting: Reporting, now: float) -> bool:
        last = self._reported[name]
        if now - last.time >= reporting.longest:
            return True
        if now - last.time < reporting.shortest:
            return False
        if isinstance(value, str) or isinstance(last.value, str):
            return value != last.value
        return abs(value - last.value) >= reporting.change - EPSILON
