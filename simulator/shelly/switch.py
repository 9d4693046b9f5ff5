"""A relay with a meter: switching, timers, the power limit, and what is pushed about it. No I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from simulator.shelly.component import Component, HookEvent
from simulator.shelly.energy import Counter
from simulator.shelly.services import relay
from simulator.shelly.timed_relay import TimedRelay

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.outlet import Outlet
    from simulator.shelly.moment import Clock, Moment
    from simulator.shelly.rpc import Json

POWER_STEP, POWER_SHARE = 3.0, 0.05  # W, and of the power last told: smaller changes are not pushed
VOLTAGE_STEP = 3.0
TEMPERATURE_STEP = 2.0
PUSH_INTERVAL = 1.0  # seconds between two pushes of measurements
MEASUREMENT_PERIOD = 60.0  # seconds between two switch.active_power_measurement events
AMBIENT, HEATING = 31.0, 0.0035  # °C, and K per watt through the relay


class Switch(Component):
    """`switch:0` on an outlet of the house; a full meter has frequency, power factor and returned energy."""

    def __init__(self, outlet: Outlet, clock: Clock, *, returned: bool) -> None:
        super().__init__("Switch", relay(returned=returned), number=0)
        self.outlet = outlet
        self.relay = TimedRelay(outlet, clock)
        self._clock = clock
        self._returned = returned
        self._errors: list[str] = []
        self._now = 0.0
        self.imported = Counter(outlet.sample.energy)
        self.exported = Counter(outlet.sample.energy_returned)
        self._told: Json = {}
        self._told_at = -math.inf
        self._measured_at = -math.inf
        self._hooks: list[HookEvent] = []

    def boot(self, now: Moment) -> None:
        """Come up in the configured state, with no timer and nothing told."""
        super().boot(now)
        self.relay.boot(now.monotonic)
        self._errors, self._told, self._told_at = [], {}, -math.inf
        self._now, self._measured_at = now.monotonic, now.house
        initial = self.config["initial_state"]
        if initial in {"on", "off"}:
            self.outlet.switch(on=initial == "on")

    def set(self, *, on: bool, source: str, toggle_after: float | None = None) -> bool:
        """Carry out a command: switch, and back again after so many seconds; give the state before."""
        before = self.outlet.output
        if not self.relay.deaf:
            self._switch(on=on, source=source, toggle_after=toggle_after)
        return before

    def press(self) -> None:
        """Press the button on the device."""
        self._switch(on=not self.outlet.output, source="button")

    def reset_counters(self) -> None:
        """Begin again at 0 Wh."""
        self.imported.reset(self.outlet.sample.energy)
        self.exported.reset(self.outlet.sample.energy_returned)

    def counters(self) -> Json:
        """Give import and return apart, in Wh, unrounded."""
        sample = self.outlet.sample
        energy, returned = self.imported.total(sample.energy), self.exported.total(sample.energy_returned)
        return {"energy": energy, "energy_returned": returned}

    def advance(self, now: Moment) -> None:
        """End a timer that is due; open the relay at too much power; note when to tell the power again."""
        self._now = now.monotonic
        if self.relay.advance(now.monotonic):
            self._switch(on=not self.outlet.output, source="timer")
        if self.outlet.output and self.outlet.sample.power > self.config["power_limit"]:
            self._switch(on=False, source="overpower")
            self._errors = ["overpower"]
        if now.house - self._measured_at >= MEASUREMENT_PERIOD:
            self._measured_at = now.house
            self._hooks.append(HookEvent("switch.active_power_measurement", 0, self._power_event()))

    def status(self) -> Json:
        """Give the whole status."""
        status = {"id": 0, **self._state(), **self._measured(), **self._energy()}
        if not self._errors:
            del status["errors"]
        return {name: value for name, value in status.items() if value is not None}

    def changes(self) -> Json:
        """Give what differs from what was told, if it is the relay or a big enough change of a measurement."""
        current = {**self._state(), **self._measured()}
        if not self._told:
            self._told = current
            return {}
        switched = any(current[name] != self._told[name] for name in ("output", "errors", "timer_started_at"))
        big = self._is_big(current)
        if not switched and not (big and self._now - self._told_at >= PUSH_INTERVAL):
            return {}
        if big:
            self._told_at = self._now
        if current["output"] != self._told["output"]:
            self._hooks.append(HookEvent("switch.on" if current["output"] else "switch.off", 0, {}))
        if self._power_differs(current):
            self._hooks.append(HookEvent("switch.active_power_change", 0, self._power_event()))
        fresh = {name: value for name, value in current.items() if value != self._told[name]}
        self._told = current
        return {"id": 0, **fresh}

    def minute(self) -> Json:
        """Give the counters."""
        sample = self.outlet.sample
        self.imported.close_minute(sample.energy)
        self.exported.close_minute(sample.energy_returned)
        return {"id": 0, **self._energy()}

    def hooks(self) -> Iterable[HookEvent]:
        """Give the events since the last call."""
        events, self._hooks = self._hooks, []
        return events

    def _switch(self, *, on: bool, source: str, toggle_after: float | None = None) -> None:
        self._errors = [] if on else self._errors
        after = self._automatic(on=on) if toggle_after is None else toggle_after
        self.relay.switch(on=on, source=source, after=after)

    def _automatic(self, *, on: bool) -> float | None:
        name = "auto_off" if on else "auto_on"
        return float(self.config[f"{name}_delay"]) if self.config[name] else None

    def _state(self) -> Json:
        timer = self.relay.timer
        return {
            "source": self.relay.source,
            "output": self.outlet.output,
            "timer_started_at": timer.started if timer else None,
            "timer_duration": timer.duration if timer else None,
            "errors": list(self._errors),
        }

    def _measured(self) -> Json:
        sample = self.outlet.sample
        celsius = round(AMBIENT + HEATING * abs(sample.power), 1)
        full = {"freq": round(sample.frequency, 1), "pf": round(sample.power_factor, 2)} if self._returned else {}
        return {
            "apower": round(sample.power, 1),
            "voltage": round(sample.voltage, 1),
            **full,
            "current": round(sample.current, 3),
            "temperature": {"tC": celsius, "tF": round(celsius * 1.8 + 32, 1)},
        }

    def _energy(self) -> Json:
        """Give the counters; returned energy is contained in `aenergy`, as in real devices."""
        sample = self.outlet.sample
        imported, exported = self.imported.total(sample.energy), self.exported.total(sample.energy_returned)
        minutes = [list(self.imported.by_minute), list(self.exported.by_minute)]
        both = [one + other for one, other in zip(*minutes, strict=True)]
        energy = {"aenergy": self._counter(imported + exported, both)}
        return energy | ({"ret_aenergy": self._counter(exported, minutes[1])} if self._returned else {})

    def _counter(self, total: float, minutes: list[float]) -> Json:
        counter: Json = {"total": round(total, 3)}
        if self._clock.is_set:  # without a date there are no minutes
            counter |= {"by_minute": [round(m * 1000, 3) for m in minutes], "minute_ts": self._clock.minute_began}
        return counter

    def _power_event(self) -> Json:
        return {"apower": round(self.outlet.sample.power, 1)}

    def _is_big(self, current: Json) -> bool:
        told = self._told
        return (
            self._power_differs(current)
            or abs(current["voltage"] - told["voltage"]) >= VOLTAGE_STEP
            or abs(current["temperature"]["tC"] - told["temperature"]["tC"]) >= TEMPERATURE_STEP
        )

    def _power_differs(self, current: Json) -> bool:
        told = self._told["apower"]
        return bool(abs(current["apower"] - told) >= max(POWER_STEP, POWER_SHARE * abs(told)))
