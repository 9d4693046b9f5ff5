"""The energy meter of a Pro 3EM: three phases as `em:0`, their counters as `emdata:0`. No I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from simulator.shelly.component import Component
from simulator.shelly.energy import Counter
from simulator.shelly.switch import POWER_SHARE, POWER_STEP, PUSH_INTERVAL, VOLTAGE_STEP

if TYPE_CHECKING:
    from simulator.outlet import Sample
    from simulator.shelly.moment import Moment
    from simulator.shelly.rpc import Json
    from simulator.supply import Supply

PHASES = "abc"
CONFIG: Json = {
    "id": 0,
    "name": None,
    "blink_mode_selector": "active_energy",
    "phase_selector": "all",
    "monitor_phase_sequence": False,
    "reverse": {},
    "ct_type": "120A",
}


class EnergyMeter(Component):
    """`em:0`: what flows, phase by phase; import is positive."""

    def __init__(self, supply: Supply) -> None:
        super().__init__("EM", dict(CONFIG), number=0)
        self._supply = supply
        self._now = 0.0
        self._told: Json = {}
        self._told_at = -math.inf

    def boot(self, now: Moment) -> None:
        """Nothing was told yet."""
        super().boot(now)
        self._now, self._told, self._told_at = now.monotonic, {}, -math.inf

    def advance(self, now: Moment) -> None:
        """Note the time, for the smallest interval between pushes."""
        self._now = now.monotonic

    def status(self) -> Json:
        """Give the whole status; there is no clamp on the neutral conductor."""
        samples = self._supply.samples
        status: Json = {"id": 0}
        for phase, sample in zip(PHASES, samples, strict=True):
            status |= {f"{phase}_{name}": value for name, value in _measured(sample).items()}
        return status | {
            "n_current": None,
            "total_current": round(sum(sample.current for sample in samples), 3),
            "total_act_power": round(sum(sample.power for sample in samples), 3),
            "total_aprt_power": round(sum(sample.voltage * sample.current for sample in samples), 3),
            "user_calibrated_phase": [],
        }

    def changes(self) -> Json:
        """Give everything when one phase changed enough."""
        current = self.status()
        if not self._told:
            self._told = current
        due = self._now - self._told_at >= PUSH_INTERVAL
        if not due or not any(self._differs(phase, current) for phase in PHASES):
            return {}
        self._told, self._told_at = current, self._now
        return current

    def _differs(self, phase: str, current: Json) -> bool:
        told = self._told[f"{phase}_act_power"]
        power = abs(current[f"{phase}_act_power"] - told) >= max(POWER_STEP, POWER_SHARE * abs(told))
        voltage = abs(current[f"{phase}_voltage"] - self._told[f"{phase}_voltage"]) >= VOLTAGE_STEP
        return bool(power or voltage)


class EnergyData(Component):
    """`emdata:0`: import and export of each phase since the last reset, each by itself, in Wh."""

    def __init__(self, supply: Supply) -> None:
        super().__init__("EMData", {}, number=0)
        self.supply = supply
        self._imported = [Counter(sample.energy) for sample in supply.samples]
        self._exported = [Counter(sample.energy_returned) for sample in supply.samples]

    def reset_counters(self) -> None:
        """Begin again at 0 Wh."""
        for imported, exported, sample in zip(self._imported, self._exported, self.supply.samples, strict=True):
            imported.reset(sample.energy)
            exported.reset(sample.energy_returned)

    def status(self) -> Json:
        """Give all counters."""
        imported, exported = self._totals()
        status: Json = {"id": 0}
        for phase, energy, returned in zip(PHASES, imported, exported, strict=True):
            status[f"{phase}_total_act_energy"] = round(energy, 2)
            status[f"{phase}_total_act_ret_energy"] = round(returned, 2)
        return status | {"total_act": round(sum(imported), 2), "total_act_ret": round(sum(exported), 2)}

    def counters(self) -> Json:
        """Give import and return of all phases together, in Wh, unrounded."""
        imported, exported = self._totals()
        return {"energy": sum(imported), "energy_returned": sum(exported)}

    def minute(self) -> Json:
        """Give all counters."""
        return self.status()

    def _totals(self) -> tuple[list[float], list[float]]:
        samples = self.supply.samples
        imported = [counter.total(s.energy) for counter, s in zip(self._imported, samples, strict=True)]
        exported = [counter.total(s.energy_returned) for counter, s in zip(self._exported, samples, strict=True)]
        return imported, exported


def _measured(sample: Sample) -> Json:
    return {
        "current": round(sample.current, 3),
        "voltage": round(sample.voltage, 1),
        "act_power": round(sample.power, 1),
        "aprt_power": round(sample.voltage * sample.current, 1),
        "pf": round(abs(sample.power_factor), 2),
        "freq": round(sample.frequency, 1),
    }
