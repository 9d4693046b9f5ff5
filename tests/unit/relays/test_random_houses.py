"""Random houses, second by second: no budget is exceeded for long, no min time violated, nothing goes to and fro."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, note
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from edge_energy.relays.command import Origin
from edge_energy.relays.planner import Planner
from edge_energy.relays.state import Wish
from edge_energy.relays.total import SETTLE
from tests.unit.relays.house import settings

METER = "shelly-bbbbbb000001"
LONGEST_LAG = 5  # seconds that the house's meter is behind
LONGEST_SWITCHING = 3  # seconds that a device takes to confirm
DELAY = 5.0
RESTORE_AFTER = 60.0
REACTION = DELAY + LONGEST_LAG + SETTLE + LONGEST_SWITCHING
MINUTES = 45
ZONE = ZoneInfo("Europe/Paris")
CHANGES_OF_CLOCK = [datetime(2026, 3, 29, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)]
MOST_SWITCHINGS = 16
"""Of a relay in `MINUTES`: one pair for each wish (at most 4), beginning or end (at most 3), and restoring that is
taken back, whose waits double from a minute on (1 + 2 + 4 + 8 + 16 > 30)."""


@dataclass
class Load:
    """A relay as it really is: on or off, a thermostat that may rest, and a device that takes its time."""

    relay: str
    power: float
    min_on: float
    min_off: float
    on: bool = False
    resting: bool = False
    since: float = 0.0
    pending: tuple[float, bool] | None = None
    switched: list[tuple[float, bool]] = field(default_factory=list)

    @property
    def draws(self) -> float:
        """What it really draws (W)."""
        return self.power if self.on and not self.resting else 0.0


class House:
    """Real loads, a meter that is behind, people who want something now and then, and the planner."""

    def __init__(self, seed: int, interlocked: bool, start: float) -> None:  # noqa: FBT001
        self.chance = Random(seed)
        self.loads = {f"shelly-aaaaaa00000{n}": self._load(n) for n in range(self.chance.randint(2, 4))}
        names = list(self.loads)
        tables = [
            {"device": load.relay, "power": load.power, "min_on": load.min_on, "min_off": load.min_off}
            for load in self.loads.values()
        ]
        self.limit = max(max(load.power for load in self.loads.values()) + 300, self.chance.uniform(3000, 8000))
        more: dict[str, Any] = {
            "budget": [
                {
                    "limit": self.limit,
                    "meter": METER,
                    "relays": names,
                    "delay": DELAY,
                    "restore_after": RESTORE_AFTER,
                    "margin": 100,
                }
            ],
            "schedule": [
                {"relay": names[0], "start": "01:45", "end": "02:10"},
                {"relay": names[0], "start": "02:50", "end": "03:20"},
            ],
        }
        if interlocked:
            more["interlock"] = [{"relays": names[:2]}]
        self.interlocked = names[:2] if interlocked else []
        for name in self.interlocked:
            self.loads[name].on = False  # whoever breaks an interlock by hand is another test
        self.planner = Planner(settings(*tables, **more), ZONE, 0.0)
        self.base = self.chance.uniform(100, 1500)
        self.start = start
        self.totals: list[float] = []
        self.exceeded = 0.0
        self.wanted = 0

    def _load(self, number: int) -> Load:
        chance = self.chance
        load = Load(
            f"shelly-aaaaaa00000{number}",
            float(chance.randrange(500, 3500, 100)),
            float(chance.choice((0, 0, 30, 180))),
            float(chance.choice((0, 0, 60, 300))),
        )
        load.on = chance.random() < 0.3
        return load

    def live(self) -> None:
        """Let the time pass."""
        for second in range(MINUTES * 60):
            now = float(second)
            self._world(now)
            self._people(now)
            self._report(now)
            for action in self.planner.actions(now, self.start + now):
                self.loads[action.relay].pending = (now + self.chance.randint(0, LONGEST_SWITCHING), action.on)
            self._check(now)

    def _world(self, now: float) -> None:
        if self.chance.random() < 0.005:
            self.base = self.chance.uniform(100, self.limit * self.chance.choice((0.5, 0.5, 1.1)))
        for load in self.loads.values():
            if self.chance.random() < 0.003:
                load.resting = not load.resting
            if load.pending is not None and now >= load.pending[0]:
                self._switch(load, load.pending[1], now)
                load.pending = None

    def _switch(self, load: Load, on: bool, now: float) -> None:  # noqa: FBT001
        if on is not load.on:
            rest = load.min_on if load.on else load.min_off
            assert now - load.since >= rest, f"{load.relay} {now - load.since} s after it was switched, not {rest}"
            load.on, load.since = on, now
            load.switched.append((now, on))
        self.planner.confirmed(load.relay, on, now)

    def _people(self, now: float) -> None:
        for load in self.loads.values():
            if self.wanted < 4 * len(self.loads) and self.chance.random() < 0.001 and load.pending is None:
                self.wanted += 1
                on = self.chance.random() < 0.7
                if not self.planner.refusal(load.relay, on, now):
                    self.planner.wish(load.relay, Wish(on, Origin.CLI, now))

    def _report(self, now: float) -> None:
        self.totals.append(self.base + sum(load.draws for load in self.loads.values()))
        if self.chance.random() < 0.9:
            lag = self.chance.randint(0, LONGEST_LAG - 1)
            self.planner.reading(METER, {"power": self.totals[max(0, len(self.totals) - 1 - lag)]}, now)
        for load in self.loads.values():
            if load.pending is None and self.chance.random() < 0.3:
                self.planner.reading(load.relay, {"output": load.on, "power": load.draws}, now)

    def _check(self, now: float) -> None:
        on = [name for name in self.interlocked if self.loads[name].on]
        assert len(on) < 2, f"both of the interlock are on at {now}"
        states = self.planner.relays
        bound = all(
            not load.on or load.pending is not None or states[name].runs(now) for name, load in self.loads.items()
        )
        grew = len(self.totals) > 1 and self.totals[-1] > self.totals[-2]
        over = self.totals[-1] > self.limit and not bound and not grew
        self.exceeded = self.exceeded + 1 if over else 0.0
        # Each relay that is shed while its thermostat rests frees nothing, and costs one more reaction.
        assert self.exceeded <= REACTION * len(self.loads), f"exceeded for {self.exceeded} s at {now}"


@given(st.integers(0, 2**32), st.booleans(), st.sampled_from(CHANGES_OF_CLOCK))
@hypothesis_settings(max_examples=40, deadline=None)
def test_random_houses(seed: int, interlocked: bool, start: datetime) -> None:  # noqa: FBT001
    """On the nights in which the clock is changed, with people, thermostats, and meters that are behind."""
    house = House(seed, interlocked, start.timestamp())
    house.live()
    switchings = {name: len(load.switched) for name, load in house.loads.items()}
    note(f"{house.limit:.0f} W, {switchings}")
    assert max(switchings.values()) <= MOST_SWITCHINGS
