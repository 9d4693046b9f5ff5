"""Load curves of heating, charging, production and a load beyond its limit. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.house_time import DAY, HOUR, MINUTE, day_number, within
from simulator.loads import Demand
from simulator.noise import Wander

if TYPE_CHECKING:
    from random import Random

    from simulator.weather import Conditions

NIGHT_TARIFF = (22.5, 6.5)  # hours of day; "heures creuses"


class WaterHeater:
    """200 litres, 2.4 kW, heated in the night tariff until the thermostat opens; showers cool the tank."""

    POWER = 2400.0
    HEAT_CAPACITY = 232.0 * HOUR  # J/K of 200 litres
    SHOWERS = ((6.9, 7.15), (20.0, 20.2))
    SHOWER_POWER = 14000.0

    def __init__(self, rng: Random) -> None:
        self._tank = rng.uniform(45, 58)
        self._heating = False

    def step(self, conditions: Conditions, *, live: bool) -> Demand:
        """Balance element, showers and the losses of the insulation; the thermostat has 5 K of hysteresis."""
        wanted = self._tank < (62.0 if self._heating else 57.0)
        self._heating = live and wanted and within(conditions.now, *NIGHT_TARIFF)
        heat = self.POWER if self._heating else 0.0
        heat -= 2.0 * (self._tank - 19)
        if any(within(conditions.now, *shower) for shower in self.SHOWERS) and self._tank > 20:
            heat -= self.SHOWER_POWER
        self._tank += heat * conditions.dt / self.HEAT_CAPACITY
        return Demand(self.POWER, 1.0) if self._heating else Demand(0.4, 0.4)


class HeatPump:
    """An inverter that follows the outside temperature: heats below 15 °C, cools above 26 °C, else waits."""

    HEAT_LOSS = 260.0  # W per kelvin between inside and outside
    SMALLEST, LARGEST = 450.0, 3200.0  # electrical watts between which the compressor can modulate
    WAITING = Demand(14.0, 0.45)

    def __init__(self, rng: Random) -> None:
        self._wander = Wander(rng, 0.05, 90)
        self._power = 0.0
        self._cycle = rng.uniform(0, HOUR)

    def step(self, conditions: Conditions, *, live: bool) -> Demand:
        """Approach the wanted power within a minute; below the smallest one, run for a part of each half hour."""
        wanted = self._wanted(conditions.outside) if live else 0.0
        self._cycle = (self._cycle + conditions.dt) % (HOUR / 2)
        if 0 < wanted < self.SMALLEST:
            wanted = self.SMALLEST if self._cycle < wanted / self.SMALLEST * HOUR / 2 else 0.0
        wanted = min(wanted * (1 + self._wander.step(conditions.dt)), self.LARGEST)
        self._power += (wanted - self._power) * min(1.0, conditions.dt / 20)
        return Demand(self._power, 0.94) if self._power > self.WAITING.power else self.WAITING

    def _wanted(self, outside: float) -> float:
        if outside < 15:
            return self.HEAT_LOSS * (20 - outside) / max(1.8, 3.4 + 0.08 * outside)  # coefficient of performance
        return 110.0 * (outside - 24) if outside > 26 else 0.0


class ChargingPost:
    """An electric car on most evenings, at one of the given powers: ramps up, holds, tapers off when nearly full."""

    RAMP = 45.0  # seconds from nothing to full current
    TAPER = 900.0  # Wh before the end from which the car asks for less

    def __init__(self, rng: Random, *powers: float) -> None:
        self._rng = rng
        self._powers = powers
        self._day = -1
        self._plugged = 0.0
        self._missing = 0.0
        self._limit = 0.0
        self._power = 0.0

    def step(self, conditions: Conditions, *, live: bool) -> Demand:
        """Charge what is missing; after a cut the car starts again with a ramp."""
        self._plan(conditions.now)
        wanted = 0.0
        if live and conditions.now >= self._plugged and self._missing > 0:
            wanted = self._limit * min(1.0, max(0.2, self._missing / self.TAPER))
        rise = self._limit * conditions.dt / self.RAMP
        self._power = min(wanted, self._power + rise)
        self._missing -= self._power * conditions.dt / HOUR
        return Demand(self._power, 0.99) if self._power > 0 else Demand(3.5, 0.5)

    def _plan(self, now: float) -> None:
        noon_to_noon = day_number(now - DAY / 2)  # a session may reach over midnight
        if noon_to_noon == self._day:
            return
        self._day = noon_to_noon
        self._plugged = noon_to_noon * DAY + DAY / 2 + self._rng.uniform(5.5, 9) * HOUR
        self._missing = self._rng.uniform(5000, 18000) if self._rng.random() < 0.85 else 0.0
        self._limit = self._rng.choice(self._powers)


class SolarPanels:
    """A string inverter: produces what the sky gives, and draws a little at night."""

    def __init__(self, peak: float) -> None:
        self._peak = peak

    def step(self, conditions: Conditions, *, live: bool) -> Demand:  # noqa: ARG002
        """Follow the sky at once; the inverter starts above a small threshold."""
        produced = self._peak * conditions.sunshine
        return Demand(-produced, 0.99) if produced > 12 else Demand(1.5, 0.4)


class Overload:
    """A fan heater and a steam cleaner on one socket strip: 4.1 kW for eight of every ten minutes."""

    def __init__(self) -> None:
        self._running = 0.0

    def step(self, conditions: Conditions, *, live: bool) -> Demand:
        """Begin after half a minute of voltage, so that whoever watches sees the normal draw first."""
        self._running = self._running + conditions.dt if live else 0.0
        over = self._running > 30 and (self._running - 30) % (10 * MINUTE) < 8 * MINUTE
        return Demand(4100, 1.0) if over else Demand(180, 0.9)
