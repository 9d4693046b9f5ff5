"""One device on a scripted outlet, at times that the test decides."""

from __future__ import annotations

from random import Random
from typing import Any

from simulator.grid import Grid
from simulator.loads import Demand
from simulator.outlet import Outlet
from simulator.shelly.digest import Digest
from simulator.shelly.gen1 import Gen1Device
from simulator.shelly.gen2 import Gen2Device
from simulator.shelly.methods import Methods
from simulator.shelly.moment import Clock, Moment
from simulator.shelly.product import PRODUCTS, Identity
from simulator.supply import Supply
from simulator.weather import Conditions

UTC = HOUSE = 1_795_000_040.0  # 40 s before a full minute


class Scripted:
    """A load that does what the test says."""

    demand = Demand(0, 0.9)

    def step(self, conditions: Conditions, *, live: bool) -> Demand:  # noqa: ARG002
        """Draw what the script says."""
        return self.demand


class Bench:
    """A device, the house around it and the time."""

    def __init__(
        self, product: str, *, ntp_delay: float = 0.0, firmware: int = 1, password: str | None = None
    ) -> None:
        self.load = Scripted()
        self.outlet = Outlet(self.load, energy=1000.0, energy_returned=100.0)
        self.supply = Supply([[self.outlet], [], []])
        self.grid = Grid(1)
        self.seconds = 0.0
        identity, clock = Identity(product, PRODUCTS[product]), Clock(ntp_delay)
        self.gen1 = Gen1Device(identity, self.outlet, clock, password)
        source = self.outlet if PRODUCTS[product].relay else self.supply
        self.gen2 = Gen2Device(identity, source, clock, Digest(identity.id, firmware, Random(1)), firmware)
        self.methods = Methods(self.gen2)
        self.device: Any = self.gen1 if product == "gen1" else self.gen2
        self.device.boot(self.now)

    @property
    def now(self) -> Moment:
        """The present."""
        return Moment(100.0 + self.seconds, UTC + self.seconds, HOUSE + self.seconds)

    def run(self, seconds: float, power: float | None = None, step: float = 1.0) -> list[Any]:
        """Let time pass, with another load if one is given, and give a Gen2 device's notifications."""
        if power is not None:
            self.load.demand = Demand(power, 0.9)
        news: list[Any] = []
        end = self.seconds + seconds
        while self.seconds < end - 1e-9:
            self.seconds += step
            self.outlet.step(Conditions(HOUSE + self.seconds, step, 15, 0), self.grid)
            self.supply.step(step, self.grid)
            self.device.advance(self.now)
            if self.device is self.gen2:
                news += self.gen2.take_news()
        return news

    def reboot(self) -> None:
        """Boot again at once."""
        self.device.boot(self.now)

    def call(self, method: str, **params: Any) -> Any:
        """Call an RPC method."""
        return self.methods.call(method, params, "HTTP_in")

    def switch(self) -> dict[str, Any]:
        """Give the status of switch:0."""
        status: dict[str, Any] = self.call("Switch.GetStatus", id=0)
        return status
