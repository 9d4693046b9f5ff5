"""A Gen1 relay with a meter: switching, counting, and what it tells over MQTT. No I/O.

Its counters are in Watt-minutes and begin at 0 at each boot.
"""

from __future__ import annotations

import base64
import hmac
import math
from typing import TYPE_CHECKING, NamedTuple

from simulator.shelly.energy import Counter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.outlet import Outlet
    from simulator.shelly.moment import Clock, Moment
    from simulator.shelly.product import Identity

USER = "admin"
MAX_POWER = 3500
UPDATE_PERIOD = 30.0  # seconds between two reports of everything over MQTT
POWER_STEP, POWER_SHARE = 3.0, 0.05
TEMPERATURE = 33.5


class Timer(NamedTuple):
    """A running timer: Unix time of its start (uptime without a date), its seconds, its monotonic end."""

    started: int
    duration: float
    ends: float


class Gen1Device:
    """What the device knows and does; `take_topics` gives what changed, as parts of topics with their values."""

    def __init__(self, identity: Identity, outlet: Outlet, clock: Clock, password: str | None) -> None:
        self.identity = identity
        self.outlet = outlet
        self.clock = clock
        self.reboot_at = math.inf
        self.mqtt_connected = False
        self.mqtt_server: str | None = None
        self._password = password
        self.source_of_state = "init"
        self.timer: Timer | None = None
        self.overpower = False
        self._now = 0.0
        self.counter = Counter(outlet.sample.energy, keep=False)
        self._told: dict[str, str] = {}
        self._told_all = -math.inf
        self._topics: dict[str, str] = {}

    def boot(self, now: Moment) -> None:
        """Start anew, the counter at 0."""
        self.clock.boot(now)
        self._now, self.reboot_at, self.source_of_state = now.monotonic, math.inf, "init"
        self.counter = Counter(self.outlet.sample.energy, keep=False)
        self.timer, self.overpower = None, False
        self._told, self._topics, self._told_all = {}, {}, -math.inf

    @property
    def meter(self) -> Gen1Device:
        """What counts: the device itself."""
        return self

    @property
    def source(self) -> Outlet:
        """What it measures."""
        return self.outlet

    def reset_counters(self) -> None:
        """Begin again at 0, as each boot does anyway."""
        self.counter = Counter(self.outlet.sample.energy, keep=False)

    def advance(self, now: Moment) -> None:
        """Let time pass; what is to be told over MQTT waits in the topics."""
        self._now = now.monotonic
        if self.clock.advance(now):
            self.minute()
        if self.timer and now.monotonic >= self.timer.ends:
            self._switch(on=not self.outlet.output, source="timer")
        if self.outlet.output and self.outlet.sample.power > MAX_POWER:
            self._switch(on=False, source="overpower")
            self.overpower = True
        self.report(everything=now.monotonic - self._told_all >= UPDATE_PERIOD)

    def minute(self) -> None:
        """Close a full minute."""
        self.counter.close_minute(self.outlet.sample.energy)

    def report(self, *, everything: bool = False) -> None:
        """Note what is to be told: relay and power when they change, all of it now and then."""
        current = self.topics()
        if everything:
            self._told_all = self._now
            self._told, self._topics = dict(current), dict(current)
            return
        for topic in ("relay/0", "relay/0/power"):
            if self._differs(topic, current[topic]):
                self._told[topic] = self._topics[topic] = current[topic]

    def take_topics(self) -> dict[str, str]:
        """Give what changed since the last call: the part of the topic behind shellies/<id>/, and the payload."""
        topics, self._topics = self._topics, {}
        return topics

    @property
    def total(self) -> int:
        """Watt-minutes since the boot."""
        return int(self.counter.total(self.outlet.sample.energy) * 60)

    @property
    def remaining(self) -> int:
        """Seconds until the timer ends, 0 for none."""
        return round(max(self.timer.ends - self._now, 0.0)) if self.timer else 0

    @property
    def protected(self) -> bool:
        """Whether there is a password."""
        return self._password is not None

    def topics(self) -> dict[str, str]:
        """Give all that MQTT tells."""
        return {
            "relay/0": "overpower" if self.overpower else "on" if self.outlet.output else "off",
            "relay/0/power": f"{abs(self.outlet.sample.power):.2f}",
            "relay/0/energy": str(self.total),
            "input/0": "0",
            "temperature": f"{TEMPERATURE:.2f}",
            "overtemperature": "0",
        }

    def command(self, payload: str) -> None:
        """Carry out what came to relay/0/command."""
        wanted = {"on": True, "off": False, "toggle": not self.outlet.output}
        if payload in wanted:
            self._switch(on=wanted[payload], source="mqtt")
            self.report()

    def admits(self, header: str | None) -> bool:
        """Check the Authorization header."""
        if self._password is None:
            return True
        expected = "Basic " + base64.b64encode(f"{USER}:{self._password}".encode()).decode()
        return hmac.compare_digest((header or "").encode(), expected.encode())

    def turn(self, query: Mapping[str, str]) -> None:
        """Switch as `turn` of /relay/0 says, back again after `timer` seconds."""
        turn = query.get("turn")
        wanted = {"on": True, "off": False, "toggle": not self.outlet.output}
        if turn in wanted:
            self._switch(on=wanted[turn], source="http", timer=_number(query.get("timer")))
            self.report()

    def _switch(self, *, on: bool, source: str, timer: float = 0.0) -> None:
        self.timer, self.source_of_state = None, source
        self.overpower = self.overpower and not on
        if on != self.outlet.output:
            self.outlet.switch(on=on)
        if timer > 0:
            started = self.clock.unixtime or int(self.clock.uptime)
            self.timer = Timer(started, timer, self._now + timer)

    def _differs(self, topic: str, value: str) -> bool:
        told = self._told.get(topic)
        if told is None or topic == "relay/0":
            return value != told
        return abs(float(value) - float(told)) >= max(POWER_STEP, POWER_SHARE * float(told))


def _number(text: str | None) -> float:
    try:
        number = float(text or 0)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0
