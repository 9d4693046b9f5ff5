"""Load curves of household appliances, and what every load is. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from simulator.house_time import DAY, HOUR, MINUTE, day_number, hour_of_day, within
from simulator.noise import Wander

if TYPE_CHECKING:
    from random import Random

    from simulator.weather import Conditions


class Demand(NamedTuple):
    """Active power at the nominal voltage, in W, negative for a producer, and the magnitude of its power factor.

    A power factor of exactly 1 marks a heating element, whose power follows the square of the voltage; power
    electronics and motors hold their power.
    """

    power: float
    power_factor: float


class Load(Protocol):
    """Something that draws or produces power."""

    def step(self, conditions: Conditions, *, live: bool) -> Demand:
        """Advance by one time step; `live` says whether there was voltage. Without it the answer is ignored."""


NOTHING = Demand(0.0, 0.0)


class Standby:
    """A router, a set-top box, an idle charger: a steady draw that wanders a little."""

    def __init__(self, rng: Random, power: float, power_factor: float = 0.55) -> None:
        self._power = power
        self._power_factor = power_factor
        self._wander = Wander(rng, 0.03 * power, 40)

    def step(self, conditions: Conditions, *, live: bool) -> Demand:  # noqa: ARG002
        """Draw the same with or without voltage: nothing inside has a memory."""
        return Demand(max(0.3, self._power + self._wander.step(conditions.dt)), self._power_factor)


class Scheduled:
    """A television, a desk, lamps: a working draw in given hours of the day, standby otherwise."""

    def __init__(self, rng: Random, working: float, *hours: tuple[float, float]) -> None:
        self._hours = hours
        self._shift = rng.uniform(-0.4, 0.4)  # nobody sits down on the minute
        self._working = Standby(rng, working, 0.92)
        self._idle = Standby(rng, 0.9, 0.4)

    def step(self, conditions: Conditions, *, live: bool) -> Demand:
        """Advance both draws, so that the hours alone decide which one counts."""
        working, idle = self._working.step(conditions, live=live), self._idle.step(conditions, live=live)
        now = conditions.now + self._shift * HOUR
        return working if any(within(now, *window) for window in self._hours) else idle


class Fridge:
    """A compressor switched by a thermostat between 3 and 6 °C; unpowered, the inside warms up."""

    LOW, HIGH, ROOM = 3.0, 6.0, 21.0

    def __init__(self, rng: Random) -> None:
        self._inside = rng.uniform(self.LOW, self.HIGH)
        self._leak = 1 / (4 * HOUR * rng.uniform(0.8, 1.2))
        self._power = rng.uniform(75, 110)
        self._running = rng.random() < 0.5
        self._ran = 0.0

    def step(self, conditions: Conditions, *, live: bool) -> Demand:
        """Cool at 10 K/h while the compressor runs; it starts with an inrush and needs less as the box cools."""
        wanted = self._inside > self.LOW if self._running else self._inside >= self.HIGH
        self._running = wanted and live
        self._ran = self._ran + conditions.dt if self._running else 0.0
        self._inside += (self.ROOM - self._inside) * self._leak * conditions.dt
        if not self._running:
            return Demand(1.1, 0.35)
        self._inside -= 10 / HOUR * conditions.dt
        inrush = 2.6 if self._ran <= 2 else 1.0
        return Demand(self._power * inrush * (0.85 + 0.05 * self._inside), 0.68)


class Kettle:
    """2.2 kW for two to four minutes, most often at breakfast and tea time."""

    CUPS_PER_HOUR = ((6.5, 9.0, 1.6), (9.0, 16.0, 0.25), (16.0, 18.0, 0.9), (18.0, 23.0, 0.2))

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._left = 0.0

    def step(self, conditions: Conditions, *, live: bool) -> Demand:
        """Boil when somebody pressed the button; a cut of the current ends it, as the button springs back."""
        hour = hour_of_day(conditions.now)
        rate = next((rate for begin, end, rate in self.CUPS_PER_HOUR if begin <= hour < end), 0.02)
        pressed = self._rng.random() < rate * conditions.dt / HOUR
        if pressed and self._left <= 0:
            self._left = self._rng.uniform(2 * MINUTE, 4 * MINUTE)
        self._left = max(0.0, self._left - conditions.dt) if live else 0.0
        return Demand(2200, 1.0) if self._left > 0 else NOTHING


class WashingMachine:
    """One 40 °C programme on most days; without voltage it pauses and then goes on where it was."""

    # seconds, watts, watts between two turns of the drum, power factor
    PROGRAMME = (
        (90, 9, 9, 0.5),  # fill
        (1100, 2050, 2050, 1.0),  # heat
        (1800, 210, 25, 0.62),  # wash
        (60, 38, 38, 0.6),  # drain
        (900, 180, 20, 0.62),  # rinse
        (420, 430, 430, 0.72),  # spin
    )
    TURN = 14.0

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._day = -1
        self._start = 0.0
        self._progress: float | None = None

    def step(self, conditions: Conditions, *, live: bool) -> Demand:
        """Follow the programme from the hour that this day's laundry is put on."""
        day = day_number(conditions.now)
        if day != self._day:
            self._day = day
            self._start = day * DAY + self._rng.uniform(8, 24) * HOUR  # after 20 h: not today
        if self._progress is None and self._starts_in(conditions) and hour_of_day(conditions.now) < 20:
            self._progress = 0.0
        if self._progress is not None and live:
            self._progress += conditions.dt
        return self._demand()

    def _starts_in(self, conditions: Conditions) -> bool:
        return conditions.now - conditions.dt < self._start <= conditions.now

    def _demand(self) -> Demand:
        into = self._progress
        if into is not None:
            for seconds, turning, resting, power_factor in self.PROGRAMME:
                if into < seconds:
                    return Demand(turning if into // self.TURN % 2 else resting, power_factor)
                into -= seconds
        self._progress = None
        return Demand(0.8, 0.4)
