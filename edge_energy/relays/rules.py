"""What forces a relay, and what forbids to switch it: all rules in one order. No I/O.

1. cut-outs: overload, too hot, two of an interlock on at once, on for longer than `max_on`.
2. the safe state, while the meter is lost or the thermometer is silent.
3. a budget that is exceeded.
4. frost.

The first two heed no `min_on`. What is wished counts where none of them says otherwise. `now` is our uptime in
seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edge_energy.relays.budget import Budget, Member
from edge_energy.relays.command import Origin
from edge_energy.relays.state import RelayState, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge_energy import config


class Demand(NamedTuple):
    """What a relay is to be; an urgent demand heeds no `min_on`."""

    on: bool
    reason: str
    origin: Origin
    urgent: bool = False


class Rules:
    """The relays of the house, and what binds them together."""

    def __init__(self, settings: config.Settings, now: float) -> None:
        """Begin with the wish that every relay is in its safe state."""
        self.relays = {relay.id: RelayState(relay, now) for relay in settings.relay}
        rated = {relay.id: relay.power or 0.0 for relay in settings.relay}
        self.budgets = [(budget, Budget(budget, rated, now)) for budget in settings.budget]
        self._interlocks = [interlock.relays for interlock in settings.interlock]
        self._shed: dict[str, str] = {}
        """Why a relay was switched off by its budget."""

    def balance(self, now: float) -> None:
        """Let every budget decide; to be asked whenever something was told."""
        for budget, ledger in self.budgets:
            decision = ledger.decide(self.members(budget.relays, now), now)
            if decision.shed is not None:
                self._shed[decision.shed] = decision.reason

    def demand(self, relay: str, now: float) -> Demand | None:
        """Return what a relay is to be, by a rule or by what is wished."""
        return self.forced(relay, now) or self._wished(relay, now)

    def refusal(self, relay: str, on: bool, now: float, *, manual: bool = False, urgent: bool = False) -> str:  # noqa: FBT001
        """Return why a relay may not be switched now, nothing where it may; a person may end a cut-out."""
        state = self.relays[relay]
        if state.output is on:
            return ""
        forced = self.forced(relay, now, latched=not (manual and on)) or self._frost(relay, now)
        if forced is not None and forced.on is not on:
            return forced.reason
        if on:
            return self._unsafe(state, now) or self._resting(state, now) or self._outdone(relay, now)
        rest = state.runs(now)
        return f"min_on: it has to stay on for {seconds(rest)} more" if rest and not urgent else ""

    # -- what forces ------------------------------------------------------------------------------------------

    def forced(self, relay: str, now: float, *, latched: bool = True) -> Demand | None:
        """Return what a rule demands, whatever is wished; without `latched`, not what a person may end."""
        state = self.relays[relay]
        if cut_out := self._cut_out(relay, state, now, latched=latched):
            return Demand(False, cut_out, Origin.SAFETY, urgent=True)
        if (blind := _blind(state, now)) and state.safe is not None:
            return Demand(state.safe, f"safe state: {blind}", Origin.SAFETY, urgent=True)
        for _, ledger in self.budgets:
            if relay in ledger.shed:
                return Demand(False, f"budget: {self._shed.get(relay, '')}", Origin.SAFETY)
        return None

    def _cut_out(self, relay: str, state: RelayState, now: float, *, latched: bool) -> str:
        if state.latched and latched:
            return state.latched
        heating = state.heating.verdict(now)
        if heating.must is False:
            return heating.reason
        if state.output is True and (other := self._rival(relay, state)):
            return f"interlock: {other} is on as well"
        if state.on_too_long(now):
            return f"max_on: it was on for {seconds(now - state.since)}"
        return ""

    def _rival(self, relay: str, state: RelayState) -> str:
        """Return who of an interlock is on as well and was so before; that one may stay."""
        order = list(self.relays)
        for other in self.interlocked(relay):
            rival = self.relays[other]
            earlier = (rival.since, order.index(other)) < (state.since, order.index(relay))
            if (rival.output is True or rival.watch.draws) and rival.switching is not False and earlier:
                return other
        return ""

    def _frost(self, relay: str, now: float) -> Demand | None:
        heating = self.relays[relay].heating.verdict(now)
        return Demand(True, heating.reason, Origin.SAFETY) if heating.must is True else None

    def _wished(self, relay: str, now: float) -> Demand | None:
        wish = self.relays[relay].wish
        wished = None if wish is None else Demand(wish.on, wish.reason, wish.origin)
        return self._frost(relay, now) or wished

    # -- what forbids to switch on ----------------------------------------------------------------------------

    def _unsafe(self, state: RelayState, now: float) -> str:
        """Return why nothing would cut it out."""
        return "" if state.safe is True else _blind(state, now)

    def _resting(self, state: RelayState, now: float) -> str:
        rest = state.rests(now)
        return f"min_off: it has to stay off for {seconds(rest)} more" if rest else ""

    def _outdone(self, relay: str, now: float) -> str:
        """Return which other relay, or what all of them draw, is in the way."""
        reasons: list[str | None] = [self._excluded(relay)]
        for budget, ledger in self.budgets:
            if relay in budget.relays:
                reasons.append(ledger.admits(relay, self.members(budget.relays, now), now))
        return next(filter(None, reasons), "")

    def _excluded(self, relay: str) -> str:
        for other in self.interlocked(relay):
            state = self.relays[other]
            if state.presumed is not False or state.output is not False or state.watch.draws:
                return f"interlock: {other} is {'on' if state.presumed else 'not known to be off'}"
        return ""

    def barred(self, relay: str, now: float) -> str:
        """Return what forbids a relay even where on is its safe state."""
        return self._cut_out(relay, self.relays[relay], now, latched=True) or self._excluded(relay)

    # -- what binds them together -----------------------------------------------------------------------------

    def interlocked(self, relay: str) -> Iterator[str]:
        """Yield the relays of which none may be on beside this one."""
        for group in self._interlocks:
            if relay in group:
                yield from (other for other in group if other != relay)

    def members(self, relays: Iterable[str], now: float) -> dict[str, Member]:
        """Return how the relays of a budget stand."""
        return {relay: self._member(relay, self.relays[relay], now) for relay in relays}

    def _member(self, relay: str, state: RelayState, now: float) -> Member:
        wished = self._wished(relay, now)
        on = state.presumed is not False or state.watch.draws
        known = state.switching is None and (state.output is True or state.watch.draws)
        return Member(
            on=on,
            power=state.power if known else None,
            may_off=on and state.switching is None and not state.runs(now) and not state.watch.draws,
            wanted=wished is not None and wished.on,
            pending=state.switching is True and state.output is not True,
            may_on=not (state.latched or state.rests(now) or self._unsafe(state, now) or self._excluded(relay)),
        )


def _blind(state: RelayState, now: float) -> str:
    """Return why nobody knows what a relay does to its load: its thermometer or its meter says nothing."""
    heating = state.heating.verdict(now)
    return heating.reason if heating.stale else state.meter_lost(now)
