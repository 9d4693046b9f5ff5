"""A simulated house in which every relay is watched as the daemon does it. Time is the uptime in seconds."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, NamedTuple

from edge_energy.config.relays import Relay
from edge_energy.relays.state import RelayState
from simulator import house as rooms
from simulator.house import House
from simulator.house_time import from_datetime
from simulator.installation import SHELLY, zigbee_devices
from simulator.loads import Demand
from simulator.shelly.moment import Moment
from simulator.zigbee_device import ZigbeeDevice
from simulator.zigbee_products import SPM01
from tests.unit.relays.reception import DATE, LONGEST_DELAY, Line, ShellySide, Troubles, ZigbeeSide

if TYPE_CHECKING:
    from edge_energy.reading import Values
    from simulator.outlet import Outlet
    from simulator.weather import Conditions

HEATER = 1500.0  # W
HEATERS = 9
RETRY = 10.0  # s until a command without an answer is sent again
QUICK, MIDDLING, SLOW = 5.0, 20.0, 60.0  # s of a step: around a command, the minutes after that, else
METERED = (rooms.WATER_HEATER, rooms.EXTRA.format(4))
"""Circuits whose power another device tells."""


class Heater:
    """Draws as soon as there is voltage; a resistive one follows the voltage, another draws the same for ever."""

    def __init__(self, *, resistive: bool) -> None:
        self._demand = Demand(HEATER, 1.0 if resistive else 0.95)

    def step(self, conditions: Conditions, *, live: bool) -> Demand:  # noqa: ARG002 - no memory
        """Draw."""
        return self._demand


class Iron:
    """Draws another power every half a minute, as a regulated load does."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._left = 0.0
        self._power = 0.0

    def step(self, conditions: Conditions, *, live: bool) -> Demand:  # noqa: ARG002
        """Draw."""
        self._left -= conditions.dt
        if self._left <= 0:
            self._left, self._power = self._rng.uniform(10, 60), self._rng.uniform(200, 2000)
        return Demand(self._power, 0.95)


class Finding(NamedTuple):
    """Something that was found: when, of which relay, under which key, in which words."""

    at: float
    relay: str
    key: str
    text: str


class Watched:
    """One relay: what is wanted of it, and what the daemon knows of it."""

    def __init__(self, name: str, outlet: Outlet, settings: Relay) -> None:
        self.name = name
        self.outlet = outlet
        self.settings = settings
        self.state = RelayState(settings, 0.0)
        self.wanted: bool | None = None
        """What it is being switched to."""
        self.tried = 0.0
        self.findings: list[Finding] = []
        self._open: set[str] = set()

    def hear(self, device: str, values: Values, now: float) -> None:
        """Take a live reading, as the planner does."""
        output = values.get("output")
        if device == self.settings.device and output is not None:
            self.state.reported(bool(output), now)
        if device == self.settings.metered_by and "power" in values:
            self.state.measured(values["power"], now)
        if device == self.settings.device and output is self.wanted is not None:
            self.confirm(now)
        self.look(now)

    def attempt(self, on: bool, now: float) -> None:  # noqa: FBT001
        """Note that a command goes out; if it is not the first, that the one before had no answer."""
        if self.state.switching is not None:
            self.state.failed(now, "no answer")
        self.state.begin(on)
        self.tried = now

    def confirm(self, now: float) -> None:
        """Note that the device confirmed what is wanted."""
        if self.wanted is not None:
            self.state.confirmed(self.wanted, now)
            self.wanted = None

    def look(self, now: float) -> None:
        """Note what is found now and was not before."""
        found = self.state.watch.findings(now)
        if found or self._open:
            self.findings += [
                Finding(now, self.name, key, text) for key, text in found.items() if key not in self._open
            ]
            self._open = set(found)


class WatchedHouse:
    """All of it; a heater's plug goes by the circuit's name, a Shelly by that of its product."""

    def __init__(self, seed: int, troubles: Troubles) -> None:
        self.now = 0.0
        self.relays: dict[str, Watched] = {}
        self._heard_from: dict[str, list[Watched]] = {}
        rng = Random(seed)
        self._house = house = House(seed, from_datetime(DATE), extra=HEATERS)
        self._gaps: dict[str, float] = {}
        self._quick_until = 0.0
        for number in range(1, HEATERS + 1):  # three products in turn
            house.outlets[rooms.EXTRA.format(number)].load = Heater(resistive=number > HEATERS - 3)
        house.outlets[SHELLY["plus1pm"]].load = Iron(rng)
        house.outlets[SHELLY["gen1"]].load = Heater(resistive=True)
        devices = [device for device in zigbee_devices(house, seed, SHELLY) if device.relay]
        in_turn = sorted(devices, key=lambda device: (device.model.model, device.name))
        cached, plain = in_turn[::2], in_turn[1::2]  # some of each product at both bridges
        self._shelly = {
            name: ShellySide(name, house.outlets[circuit], Line(rng, troubles), rng)
            for name, circuit in SHELLY.items()
        }
        meters = {name: ZigbeeDevice(f"compteur {name}", SPM01, house.outlets[name], rng) for name in METERED}
        lagging = Line(rng, troubles, LONGEST_DELAY)
        bare = {"cache_state": False, "last_seen": False}
        self._zigbee = [
            ZigbeeSide(house, cached, Line(rng, troubles), rng, troubles),
            ZigbeeSide(house, plain, Line(rng, troubles), rng, troubles, **bare),
            ZigbeeSide(house, list(meters.values()), lagging, rng, troubles, **bare),
        ]
        for device in devices:
            name = device.name
            self._watch(name, f"zigbee-{device.ieee_address}", house.outlets[name], meters.get(name))
        for name, shelly in self._shelly.items():
            shelly.boot(self._moment())
            self._watch(name, shelly.id, house.outlets[SHELLY[name]], None)

    def _watch(self, name: str, device: str, outlet: Outlet, meter: ZigbeeDevice | None) -> None:
        heater = isinstance(outlet.load, Heater)
        settings = Relay(
            device=device,
            safe_state="off",
            power=HEATER if heater else None,
            always_draws=heater,
            meter=f"zigbee-{meter.ieee_address}" if meter else None,
        )
        self.relays[name] = Watched(name, outlet, settings)
        for each in {device, settings.metered_by}:
            self._heard_from.setdefault(each, []).append(self.relays[name])

    @property
    def findings(self) -> list[Finding]:
        """All that was found."""
        return sorted(finding for relay in self.relays.values() for finding in relay.findings)

    def live(self, seconds: float) -> None:
        """Let time pass, in small steps around a command."""
        end = self.now + seconds
        while self.now < end:
            quick = (
                QUICK if self.now < self._quick_until else MIDDLING if self.now < self._quick_until + 240 else SLOW
            )
            self._step(min(quick, end - self.now))

    def switch(self, name: str, on: bool) -> None:  # noqa: FBT001
        """Command a relay, again and again until it is confirmed."""
        self.relays[name].wanted, self.relays[name].tried = on, -RETRY
        self.attend()

    def attend(self) -> None:
        """Look more closely for a while."""
        self._quick_until = self.now + LONGEST_DELAY

    def press(self, name: str) -> None:
        """Press the button on the device."""
        if name in self._shelly:
            self._shelly[name].press()
        else:
            outlet = self.relays[name].outlet
            outlet.switch(on=not outlet.output)

    def lose(self, name: str, seconds: float) -> None:
        """Put a device out of reach for so long."""
        self._gaps[name] = self.now + seconds
        self._reach(name, reachable=False)

    def _reach(self, name: str, *, reachable: bool) -> None:
        if name in self._shelly:
            self._shelly[name].reachable = reachable
        for side in self._zigbee:
            if name in side.devices:
                side.devices[name].mute = not reachable

    def _step(self, dt: float) -> None:
        self._house.step(dt)
        self.now += dt
        for name in [name for name, until in self._gaps.items() if self.now >= until]:
            del self._gaps[name]
            self._reach(name, reachable=True)
        for side in self._zigbee:
            side.step(self._house.now, self.now)
        for shelly in self._shelly.values():
            shelly.step(self._moment(), self.now)
        for relay in self.relays.values():
            if relay.wanted is not None and self.now - relay.tried >= RETRY:
                self._send(relay, relay.wanted)
        self._hear()

    def _send(self, relay: Watched, on: bool) -> None:  # noqa: FBT001
        relay.attempt(on, self.now)
        if relay.name in self._shelly and self._shelly[relay.name].switch(on, self.now):
            relay.confirm(self.now)
        for side in self._zigbee:
            if relay.name in side.devices:
                side.switch(relay.name, on)

    def _hear(self) -> None:
        sides: list[ZigbeeSide | ShellySide] = [*self._zigbee, *self._shelly.values()]
        for side in sides:
            for at, device, values in side.readings(self.now):
                for relay in self._heard_from.get(device, ()):
                    relay.hear(device, values, at)
        for relay in self.relays.values():
            relay.look(self.now)

    def _moment(self) -> Moment:
        return Moment(self.now, DATE.timestamp() + self.now, self._house.now)
