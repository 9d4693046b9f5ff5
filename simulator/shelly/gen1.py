"""A Gen1 relay with a meter: switching, counting, and what it tells over MQTT. No I/O.

Its counters are in Watt-minutes and begin at 0 at each boot.
"""

from __future__ import annotations

import base64
import hmac
import math
from typing import TYPE_CHECKING

from simulator.shelly.energy import Counter
from simulator.shelly.timed_relay import TimedRelay

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.outlet import Outlet
    from simulator.shelly.moment import Clock, Moment
    from simulator.shelly.product import Identity
    from simulator.shelly.rpc import Json

USER = "admin"
MAX_POWER = 3500
UPDATE_PERIOD = 30.0  # seconds between two reports of everything over MQTT
POWER_STEP, POWER_SHARE = 3.0, 0.05
TEMPERATURE = 33.5
TURNS = ("on", "off", "toggle")


class Gen1Device:
    """What the device knows and does; `take_topics` gives what changed, as parts of topics with their values."""

    def __init__(self, identity: Identity, outlet: Outlet, clock: Clock, password: str | None) -> None:
        self.identity = identity
        self.outlet = outlet
        self.relay = TimedRelay(outlet, clock)
        self.clock = clock
        self.reboot_at = math.inf
        self.mqtt_connected = False
        self.mqtt_server: str | None = None
        self._password = password
        self.overpower = False
        self._now = 0.0
        self.counter = Counter(outlet.sample.energy, keep=False)
        self._told: dict[str, str] = {}
        self._told_all = -math.inf
        self._topics: dict[str, str] = {}

    def boot(self, now: Moment) -> None:
        """Start anew, the counter at 0."""
        self.clock.boot(now)
        self._now, self.reboot_at = now.monotonic, math.inf
        self.relay.boot(now.monotonic)
        self.counter = Counter(self.outlet.sample.energy, keep=False)
        self.overpower = False
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
        if self.relay.advance(now.monotonic):
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
        if payload in TURNS and not self.relay.deaf:
            self._switch(on=self._wanted(payload), source="mqtt")
            self.report()

    def press(self) -> None:
        """Press the button on the device."""
        self._switch(on=not self.outlet.output, source="button")

    def admits(self, header: str | None) -> bool:
        """Check the Authorization header."""
        if self._password is None:
            return True
        expected = "Basic " + base64.b64encode(f"{USER}:{self._password}".encode()).decode()
        return hmac.compare_digest((header or "").encode(), expected.encode())

    def turn(self, query: Mapping[str, str]) -> Json:
        """Switch as `turn` of /relay/0 says, back again after `timer` seconds; a deaf device only claims that it did.

        Gives what it claims, as a part of the answer.
        """
        turn, seconds = query.get("turn"), _number(query.get("timer"))
        if turn not in TURNS:
            return {}
        on = self._wanted(turn)
        if self.relay.deaf:
            timer = {"has_timer": seconds > 0, "timer_duration": seconds, "timer_remaining": round(seconds)}
            return {"ison": on, **timer}
        self._switch(on=on, source="http", timer=seconds)
        self.report()
        return {}

    def _wanted(self, turn: str) -> bool:
        return turn == "on" or (turn == "toggle" and not self.outlet.output)

    def _switch(self, *, on: bool, source: str, timer: float = 0.0) -> None:
        self.overpower = self.overpower and not on
        self.relay.switch(on=on, source=source, after=timer if timer > 0 else None)

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
