"""What is to be switched now. No I/O.

Fed with live readings and with what became of commands. Schedules wish, as people do, and what was wished last
counts; rules.py says what no wish can do. `now` is our uptime in seconds, `utc` seconds since 1970 or None while the
date is unknown.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_energy.relays import schedule as windows
from edge_energy.relays.command import Origin
from edge_energy.relays.rules import Rules
from edge_energy.relays.state import TROUBLE, RelayState, Wish
from edge_energy.relays.surplus import Surplus

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from edge_energy.config import Schedule, Settings
    from edge_energy.reading import Values


OVER = "the time it was switched for is over"


class Action(NamedTuple):
    """A relay that is to be switched now."""

    relay: str
    on: bool
    reason: str
    origin: Origin


class _Scheduled(NamedTuple):
    """What a schedule wants; `since` is UTC seconds where it is a time that began."""

    relay: str
    on: bool
    origin: Origin
    reason: str
    since: float = inf


class Planner:
    """Decides for all relays of the house."""

    def __init__(self, settings: Settings, zone: ZoneInfo, now: float) -> None:
        self.rules = Rules(settings, now)
        self.relays = self.rules.relays
        self._zone = zone
        self._windows = [schedule for schedule in settings.schedule if schedule.surplus is None]
        self._surplus = [(each, Surplus(each)) for each in settings.schedule if each.surplus is not None]
        self._scheduled: dict[str, tuple[bool, Origin]] = {}
        """What the schedules of a relay want, once that is known."""
        self.switched_off: dict[str, float] = {}
        """By relay: UTC seconds at which somebody switched it off before a restart."""
        self._until = inf
        """UTC seconds until which the windows of schedules stay as they are."""
        relays = [relay for each in settings.relay for relay in (each.device, each.metered_by, each.temperature)]
        meters = [budget.meter for budget in settings.budget] + [schedule.meter for schedule in settings.schedule]
        self.devices = {device for device in (*relays, *meters) if device is not None}
        """The devices whose readings count."""

    # -- what is told -----------------------------------------------------------------------------------------

    def reading(self, device: str, values: Values, now: float) -> None:
        """Take a live reading of a device."""
        for relay, state in self.relays.items():
            self._read(relay, state, device, values, now)
        power = values.get("power")
        if power is None:
            return
        for budget, ledger in self.rules.budgets:
            if budget.meter == device:
                ledger.measured(power, now)
        for schedule, surplus in self._surplus:
            if schedule.meter == device:
                surplus.measured(power, self._drawn(schedule.relay), now)

    def _read(self, relay: str, state: RelayState, device: str, values: Values, now: float) -> None:
        settings = state.settings
        if settings.device == device and (output := values.get(settings.output)) is not None:
            self._reported(relay, state, bool(output), now)
        if settings.metered_by == device and (power := values.get(settings.power_name)) is not None:
            state.measured(power, now)
        if settings.temperature == device and (warmth := values.get("temperature")) is not None:
            state.heating.measured(warmth, now)

    def _reported(self, relay: str, state: RelayState, output: bool, now: float) -> None:  # noqa: FBT001 - a value
        before, changed = state.output, state.reported(output, now)
        if changed and (output or before):
            self._switched(relay, output, now)

    def available(self, device: str, available: bool | None, now: float) -> None:  # noqa: FBT001 - a value
        """Take whether a device can be reached."""
        for state in self.relays.values():
            if state.settings.metered_by == device:
                state.available(available, now)

    def begin(self, relay: str, on: bool) -> None:  # noqa: FBT001 - a value
        """Note that a relay is being switched."""
        self.relays[relay].begin(on)

    def confirmed(self, relay: str, on: bool, now: float) -> None:  # noqa: FBT001 - a value
        """Note that the device has confirmed it."""
        before = self.relays[relay].output
        self.relays[relay].confirmed(on, now)
        if before is not on and (on or before):  # what was never known to be on makes no room by being off
            self._switched(relay, on, now)

    def wish(self, relay: str, wish: Wish) -> None:
        """Take what a person wants; it counts until something newer is wanted."""
        state = self.relays[relay]
        state.wish, state.ends = wish, None
        state.retry_at, state.failures = -inf, 0
        if wish.on:
            state.latched, state.over_since = "", None

    def _switched(self, relay: str, on: bool, now: float) -> None:  # noqa: FBT001 - a value
        state = self.relays[relay]
        load = state.settings.power or 0.0
        if not on and state.power is not None:  # an idle one makes no room
            load = state.power
        for budget, ledger in self.rules.budgets:
            if relay in budget.relays:
                ledger.switched(relay, on, load, now)

    def _drawn(self, relay: str) -> float:
        """Return what a relay draws now (W), as far as is known."""
        state = self.relays[relay]
        if state.output is not True:
            return 0.0
        return state.power if state.power is not None else state.settings.power or 0.0

    # -- what is to be done -----------------------------------------------------------------------------------

    def refusal(self, relay: str, on: bool, now: float) -> str:  # noqa: FBT001 - a value
        """Return why a person may not switch a relay now, nothing where that may be."""
        return self.rules.refusal(relay, on, now, manual=True)

    def actions(self, now: float, utc: float | None) -> list[Action]:
        """Return what is to be switched now, and take it as begun."""
        for relay, state in self.relays.items():
            if (output := state.doubt_over(now)) is not None:
                self._reported(relay, state, output, now)
        self._follow_schedules(now, utc)
        self.rules.balance(now)
        for relay, state in self.relays.items():
            state.latch(now)
            self._end_wish(relay, state, now)
        return [action for relay, state in self.relays.items() if (action := self._action(relay, state, now))]

    def _action(self, relay: str, state: RelayState, now: float) -> Action | None:
        state.blocked = ""
        demand = self.rules.demand(relay, now)
        if demand is None or not demand.urgent:
            state.urgent = False
        elif not state.urgent:  # it waits for no earlier failure
            state.urgent, state.retry_at, state.failures = True, -inf, 0
        if demand is None or demand.on is state.presumed or (state.switching is not None and not demand.urgent):
            return None
        state.blocked = self.rules.refusal(relay, demand.on, now, urgent=demand.urgent)
        if state.blocked or now < state.retry_at:
            return None
        state.begin(demand.on)
        return Action(relay, demand.on, demand.reason, demand.origin)

    def due(self, now: float, utc: float | None) -> float:
        """Return when (uptime, s) to ask for actions again, if nothing is told before that."""
        moments = [state.due(now) for state in self.relays.values()]
        moments += [ledger.due(now) for _, ledger in self.rules.budgets]
        moments += [surplus.due(now) for _, surplus in self._surplus]
        if utc is not None:
            moments.append(now + self._until - utc)
        return min(moments, default=inf)

    def _end_wish(self, relay: str, state: RelayState, now: float) -> None:
        """Let a wish that has had its time give way to the schedule, or to its opposite."""
        wish = state.wish
        if wish is not None and wish.until is not None and now >= wish.until:
            on, origin = self._scheduled.get(relay, (not wish.on, wish.origin))
            state.wish = Wish(on, origin, now, reason=OVER)
        if state.ends is not None and now >= state.ends[0] and state.output is not None:
            (_, on), state.ends = state.ends, None
            state.wish = Wish(not on, Origin.SAFETY, now, reason=OVER) if state.output is on else state.wish

    # -- schedules --------------------------------------------------------------------------------------------

    def _follow_schedules(self, now: float, utc: float | None) -> None:
        """Make a wish of every beginning and end; what a person wishes after it counts until the next."""
        wanted: dict[str, _Scheduled] = {}
        for scheduled in (*self._by_time(utc), *self._by_surplus(now)):
            if scheduled.on or scheduled.relay not in wanted:
                wanted[scheduled.relay] = scheduled
        for relay, (_, on, origin, reason, since) in wanted.items():
            state = self.relays[relay]
            if state.settled and self._scheduled.get(relay, (None,))[0] is not on:
                self._scheduled[relay] = (on, origin)
                if not on or since > self.switched_off.pop(relay, -inf):
                    state.wish = Wish(on, origin, now, reason=reason)

    def _by_time(self, utc: float | None) -> list[_Scheduled]:
        self._until, found = inf, []
        for schedule in self._windows if utc is not None else ():
            inside, since, until = windows.active(schedule, self._zone, utc or 0.0)
            self._until = min(self._until, until)
            found.append(_Scheduled(schedule.relay, inside, Origin.SCHEDULE, _times(schedule), since))
        return found

    def _by_surplus(self, now: float) -> list[_Scheduled]:
        found = []
        for schedule, surplus in self._surplus:
            wish = surplus.wish(now)
            if wish is not None or schedule.relay in self._scheduled:  # a silent meter ends it, and begins nothing
                reason = f"surplus of {schedule.surplus:.0f} W" if wish else "no surplus"
                found.append(_Scheduled(schedule.relay, bool(wish), Origin.SURPLUS, reason))
        return found

    # -- for people -------------------------------------------------------------------------------------------

    def findings(self, relay: str, now: float) -> dict[str, str]:
        """Return what is wrong with a relay, by a key that stays the same as long as it is."""
        state = self.relays[relay]
        heating = state.heating.verdict(now)
        found = {
            **state.watch.findings(now),
            "cut out": state.latched,
            "too hot": heating.reason if heating.must is False else "",
            "thermometer silent": heating.reason if heating.stale and now - state.started >= TROUBLE else "",
            "meter lost": state.meter_lost(now),
            "not switched": self._not_switched(relay, state, now),
        }
        return {key: text for key, text in found.items() if text}

    def _not_switched(self, relay: str, state: RelayState, now: float) -> str:
        """Return what cannot be done, and why, where that lasts."""
        demand = self.rules.demand(relay, now)
        if demand is None or demand.on is state.output or state.trouble is None:
            return ""
        reason, since = state.trouble
        return f"cannot be switched {'on' if demand.on else 'off'}: {reason}" if now - since >= TROUBLE else ""

    def inputs(self, relay: str, now: float) -> dict[str, Any]:
        """Return what decisions about a relay are based on."""
        found = self.relays[relay].inputs(now)
        for budget, ledger in self.rules.budgets:
            if relay in budget.relays:
                found["budget limit"] = budget.limit
                found["budget total"] = ledger.total(self.rules.members(budget.relays, now), now)
        return found | {other: self.relays[other].output for other in self.rules.interlocked(relay)}


def _times(schedule: Schedule) -> str:
    return f"schedule {schedule.start:%H:%M} to {schedule.end:%H:%M}"
