"""Who is switched off when a group of relays draws too much, and when each comes back. No I/O.

What is promised. Let a meter show after at most L seconds what the house draws, and let REACTION be L + `delay` +
SETTLE. If the house has been above the limit for REACTION, and meanwhile nothing began to draw more and nothing was
switched, then no relay that is on may be switched off. Where the relays' own meters are right, all that have to go do
so at once. No relay is let on that would exceed the limit, and none at all while the meter is silent.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from edge_energy.relays.total import Total

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_energy import config

AGAIN = 600.0
"""Seconds within which a relay that is shed again has come back too early: it waits twice as long from then on."""
LONGEST = 3600.0
"""Seconds that a relay waits for its restoring at most, however often it was shed again."""


class Member(NamedTuple):
    """One relay of the group now.

    One that draws although it is said to be off is `on` and not `may_off`; so is one that nobody can reach.
    """

    on: bool
    """Known or presumed."""
    power: float | None
    """Measured now, in W; None where that is not known."""
    may_off: bool
    """Its min_on is over, and nothing else keeps it on."""
    wanted: bool
    """Somebody wants it on, so that it is to be restored once it was shed."""
    may_on: bool
    """Its min_off is over, and no other rule keeps it off."""
    pending: bool = False
    """It is being switched on."""


class Decision(NamedTuple):
    """What is to be switched now: at most one relay, and why."""

    shed: str | None = None
    restore: str | None = None
    reason: str = ""


class Budget:
    """One `[[budget]]`; its relays are listed with the highest priority first.

    `decide` is to be asked after every reading and switching, and when `due` says so. `shed` holds the relays which
    this budget keeps off. Every question comes with all relays of the group.
    """

    def __init__(self, settings: config.Budget, rated: Mapping[str, float], start: float) -> None:
        """Take the rated powers (W) by relay, and the uptime now."""
        self.shed: set[str] = set()
        self._settings = settings
        self._rated = rated
        self._total = Total(settings, start)
        self._exceeded: float | None = None
        """Since when the limit is exceeded."""
        self._drew: dict[str, float] = {}
        """What relays drew when they were shed."""
        self._waits: dict[str, float] = {}
        """How long there has to be room for a relay, where that is not `restore_after`."""
        self._room: dict[str, float] = {}
        """Since when there has been room for a relay that is shed."""
        self._back: dict[str, float] = {}
        """When a relay that was shed came back."""
        self._restored = -math.inf
        """When the last one was restored."""
        self._acted = False
        """Whether the last decision switched something, so that the next may be due at once."""

    def measured(self, total: float, now: float) -> None:
        """Take a live reading (W) of the house's meter; not called where there is none."""
        self._total.measured(total, now)

    def switched(self, relay: str, on: bool, power: float, now: float) -> None:  # noqa: FBT001 - what happened to it
        """Note that a relay of the group went on or off, whoever did it.

        `power` (W): off, what it drew, rather too little; on, what it will draw, rather too much.
        """
        if on:
            self._returned(relay, now)
        elif relay in self.shed:
            power = self._drew[relay]
        self._total.switched(relay, power if on else -power, now)

    def lost(self, now: float) -> bool:
        """Tell whether the house has a meter that has been silent for too long."""
        return self._settings.meter is not None and now >= self._total.silent_from

    def total(self, members: Mapping[str, Member], now: float) -> float | None:
        """Return what is drawn at most (W), None while nobody knows."""
        return None if self._total.silent(now) else self._total.most(self._draws(members), now)

    def admits(self, relay: str, members: Mapping[str, Member], now: float) -> str | None:
        """Return why a relay that is off may not go on now; None if it may."""
        limit, needs = self._settings.limit, self._rated[relay]
        if silent := self._total.silent(now):
            return silent
        if relay in self.shed:
            return f"the budget of {limit:,.0f} W keeps it off until there is room for it"
        most = self._total.most(self._draws(members), now, without=relay)
        if self._settings.meter is not None:  # which cannot show what was begun a moment ago
            most += sum(self._rated[other] for other, each in members.items() if each.pending and other != relay)
        if most + needs > limit:
            return f"{most:,.0f} W are drawn, and its {needs:,.0f} W would exceed the budget of {limit:,.0f} W"
        return None

    def decide(self, members: Mapping[str, Member], now: float) -> Decision:
        """Return which relay is to be shed or restored now, if any; what it returns counts as begun."""
        self.shed -= {relay for relay in self.shed if not members[relay].on and not members[relay].wanted}
        decision = self._decision(members, now)
        self._acted = decision is not None
        return decision or Decision()

    def due(self, now: float) -> float:
        """Return when `decide` must be asked again if nothing happens before; inf for never."""
        if self._acted:
            return now
        times = [self._total.silent_from] if self._settings.meter is not None else []
        if self._exceeded is not None:
            times.append(self._exceeded + self._settings.delay)
        times += [max(since + self._wait(relay), self._next) for relay, since in self._room.items()]
        return min((time for time in times if time > now), default=math.inf)

    def _decision(self, members: Mapping[str, Member], now: float) -> Decision | None:
        if self._total.silent(now):
            self._exceeded = None
            self._room.clear()
            return None
        draws = self._draws(members)
        least, most = self._total.least(draws, now), self._total.most(draws, now)
        self._look_for_room(members, most, now)
        if least <= self._settings.limit:
            self._exceeded = None
            return self._restore(most, now)
        if self._exceeded is None:
            self._exceeded = now
        if now < self._exceeded + self._settings.delay:
            return None
        return self._shed(members, draws, f"{least:,.0f} W have been drawn for {now - self._exceeded:,.0f} s", now)

    def _draws(self, members: Mapping[str, Member]) -> dict[str, float]:
        draws = {}
        for relay in self._settings.relays:
            on, power = members[relay].on, members[relay].power
            draws[relay] = 0.0 if not on else self._rated[relay] if power is None else power
        return draws

    def _shed(
        self, members: Mapping[str, Member], draws: Mapping[str, float], cause: str, now: float
    ) -> Decision | None:
        for relay in reversed(self._settings.relays):
            if members[relay].on and members[relay].may_off and relay not in self.shed:
                break
        else:
            return None
        again = now < self._back.get(relay, -math.inf) + AGAIN
        wait = self._settings.restore_after
        self._waits[relay] = max(wait, min(2 * self._wait(relay), LONGEST)) if again else wait
        self._drew[relay] = draws[relay]
        self._total.switched(relay, -draws[relay], now)
        self.shed.add(relay)
        return Decision(shed=relay, reason=f"{cause}, more than the budget of {self._settings.limit:,.0f} W")

    def _look_for_room(self, members: Mapping[str, Member], most: float, now: float) -> None:
        """Note since when there is room for whom. Nobody gets the room that one of higher priority waits for."""
        free = self._settings.limit - self._settings.margin - most
        for relay in self._settings.relays:
            waiting = relay in self.shed and members[relay].wanted and members[relay].may_on
            if waiting:
                free -= self._needs(relay)
            if waiting and free >= 0:
                self._room.setdefault(relay, now)
            else:
                self._room.pop(relay, None)

    def _restore(self, most: float, now: float) -> Decision | None:
        for relay in self._settings.relays:
            if relay in self._room and now >= max(self._room[relay] + self._wait(relay), self._next):
                break
        else:
            return None
        needs, since = self._needs(relay), self._room[relay]
        self._total.switched(relay, needs, now)
        self._restored = now
        self._returned(relay, now)
        room = f"there has been room for its {needs:,.0f} W for {now - since:,.0f} s"
        return Decision(restore=relay, reason=f"{room}: {most:,.0f} W of {self._settings.limit:,.0f} W are drawn")

    def _returned(self, relay: str, now: float) -> None:
        if relay in self.shed:
            self.shed.remove(relay)
            self._room.pop(relay, None)
            self._back[relay] = now

    @property
    def _next(self) -> float:
        """When the next relay may be restored."""
        return self._restored + self._settings.restore_after

    def _needs(self, relay: str) -> float:
        return max(self._rated[relay], self._drew.get(relay, 0.0))

    def _wait(self, relay: str) -> float:
        return self._waits.get(relay, self._settings.restore_after)
