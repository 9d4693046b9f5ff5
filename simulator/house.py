"""The house: which circuits and places it has, and its time step. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.climate import Climate
from simulator.grid import Grid
from simulator.heavy_loads import ChargingPost, HeatPump, Overload, SolarPanels, WaterHeater
from simulator.loads import Fridge, Kettle, Load, Scheduled, Standby, WashingMachine
from simulator.noise import generator
from simulator.outlet import Outlet
from simulator.scenario import Scenario
from simulator.supply import Supply
from simulator.weather import Weather

if TYPE_CHECKING:
    from random import Random

EXTRA = "prise/{:03}"

FRIDGE, KETTLE, WASHING_MACHINE = "cuisine/frigo", "cuisine/bouilloire", "buanderie/lave-linge"
TELEVISION, DESK, WORKSHOP = "salon/télévision", "bureau", "atelier"
WATER_HEATER, HEAT_PUMP = "chauffe-eau", "Pompe à chaleur"
CHARGING_POST, SOLAR_PANELS = "borne de recharge", "Panneaux solaires"

LIVING_ROOM, BEDROOM, GARDEN, CABINET = "salon/climat", "chambre/climat", "Extérieur", "armoire technique"

PHASES = {HEAT_PUMP: 0, CHARGING_POST: 1, SOLAR_PANELS: 2}
"""Phase of the circuits whose place matters; the others are dealt out in turn."""


class House:
    """Loads behind outlets, places with a climate, one grid and one weather; names are the friendly names."""

    def __init__(self, seed: int, start: float, scenario: Scenario = Scenario.NORMAL, extra: int = 0) -> None:
        self.now = start
        self.scenario = scenario
        self.weather = Weather(seed, heatwave=scenario is Scenario.HEATWAVE)
        self.grid = Grid(seed)
        self.outlets = {name: self._outlet(seed, name, load) for name, load in _loads(seed, scenario).items()}
        for number in range(1, extra + 1):
            name = EXTRA.format(number)
            self.outlets[name] = self._outlet(seed, name, _generic(generator(seed, name), number))
        self.supply = Supply(self._phases())
        self.climates = _climates(seed)
        self.step(1.0)  # so that nothing is ever read before it was measured

    @staticmethod
    def _outlet(seed: int, name: str, load: Load) -> Outlet:
        rng = generator(seed, f"{name} counter")
        returned = rng.uniform(1e5, 5e6) if isinstance(load, SolarPanels) else 0.0
        return Outlet(load, energy=rng.uniform(1e4, 9e5), energy_returned=returned)

    def _phases(self) -> list[list[Outlet]]:
        """Spread the circuits over the three phases; the sun is on one that the heavy loads are not on."""
        phases: list[list[Outlet]] = [[], [], []]
        for number, (name, outlet) in enumerate(self.outlets.items()):
            phases[PHASES.get(name, number % 3)].append(outlet)
        return phases

    def step(self, dt: float) -> None:
        """Advance everything by dt seconds; the voltage follows the current of the step before."""
        self.now += dt
        conditions = self.weather.step(self.now, dt)
        self.grid.step(self.now, dt, sum(outlet.active_current for outlet in self.outlets.values()))
        for outlet in self.outlets.values():
            outlet.step(conditions, self.grid)
        self.supply.step(dt, self.grid)
        for climate in self.climates.values():
            climate.step(conditions)


def _loads(seed: int, scenario: Scenario) -> dict[str, Load]:
    def rng(name: str) -> Random:
        return generator(seed, name)

    overloaded = scenario is Scenario.OVERLOAD
    return {
        FRIDGE: Fridge(rng(FRIDGE)),
        KETTLE: Kettle(rng(KETTLE)),
        WASHING_MACHINE: WashingMachine(rng(WASHING_MACHINE)),
        TELEVISION: Scheduled(rng(TELEVISION), 115, (12.5, 13.5), (18.5, 23.0)),
        DESK: Scheduled(rng(DESK), 85, (8.75, 12.25), (14.0, 18.0)),
        WORKSHOP: Overload() if overloaded else Scheduled(rng(WORKSHOP), 350, (10.0, 11.5), (15.0, 16.5)),
        WATER_HEATER: WaterHeater(rng(WATER_HEATER)),
        HEAT_PUMP: HeatPump(rng(HEAT_PUMP)),
        CHARGING_POST: ChargingPost(rng(CHARGING_POST), 3700),
        SOLAR_PANELS: SolarPanels(peak=3000),
    }


def _generic(rng: Random, number: int) -> Load:
    """Give an extra plug one of four kinds of load, in turn."""
    kinds = (Standby(rng, rng.uniform(2, 25)), Scheduled(rng, rng.uniform(20, 150), (7, 9), (18, 23)))
    return (*kinds, Fridge(rng), Kettle(rng))[number % 4]


def _climates(seed: int) -> dict[str, Climate]:
    return {
        LIVING_ROOM: Climate(generator(seed, LIVING_ROOM)),
        BEDROOM: Climate(generator(seed, BEDROOM), heated_to=18.5),
        GARDEN: Climate(generator(seed, GARDEN), heated_to=12, outdoors=True),
        CABINET: Climate(generator(seed, CABINET), heated_to=25.5, damping=0.9),
    }
