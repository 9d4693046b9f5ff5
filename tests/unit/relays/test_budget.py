"""The budget keeps a house below its limit, sheds what matters least, and brings it back without going to and fro."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log2
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_energy.config.relays import Budget as Settings
from edge_energy.relays.budget import AGAIN, LONGEST, Budget, Decision, Member
from edge_energy.relays.total import SETTLE

RATED = {"car": 3700.0, "boiler": 2400.0, "towels": 500.0}
ON = Member(on=True, power=None, may_off=True, wanted=True, may_on=True)
OFF = ON._replace(on=False)


def budget(limit: float = 6000.0, meter: str | None = "house", **more: float) -> Budget:
    """Return a budget over the three, the car first, at uptime 0."""
    table = Settings(limit=limit, meter=meter, relays=tuple(RATED), **more)
    return Budget(table, RATED, 0.0)


def members(**which: Member) -> dict[str, Member]:
    return dict.fromkeys(RATED, ON) | which


def test_the_least_important_goes_when_the_limit_is_exceeded_for_the_delay() -> None:
    rule = budget(delay=5.0)
    rule.measured(6001, 10.0)
    assert rule.decide(members(), 10.0) == Decision()
    assert rule.due(10.0) == 15.0
    assert rule.decide(members(), 14.9) == Decision()
    decision = rule.decide(members(), 15.0)
    assert decision.shed == "towels"
    assert decision.reason == "6,001 W have been drawn for 5 s, more than the budget of 6,000 W"
    assert rule.shed == {"towels"}


def test_a_peak_that_is_shorter_than_the_delay_sheds_nobody() -> None:
    rule = budget(delay=5.0)
    for now, total in ((0.0, 9000), (4.0, 6000), (5.0, 9000), (9.0, 9000)):
        rule.measured(total, now)
        assert rule.decide(members(), now) == Decision()


def test_all_that_have_to_go_do_so_at_once_and_no_more() -> None:
    """What was shed is reckoned as gone before the meter shows it."""
    rule = budget(delay=0.0)
    rule.measured(8500, 10.0)
    assert rule.decide(members(), 10.0).shed == "towels"
    assert rule.due(10.0) == 10.0
    assert rule.decide(members(), 10.0).shed == "boiler"
    assert rule.decide(members(), 10.0) == Decision()
    rule.measured(8500, 12.9)  # still of before
    assert rule.decide(members(), 12.9) == Decision()
    rule.measured(8500, 10 + SETTLE)
    assert rule.decide(members(), 10 + SETTLE).shed == "car"


def test_a_relay_that_does_not_obey_holds_nobody_up() -> None:
    """The next one goes where the meter shows that nothing has changed."""
    rule = budget(delay=0.0)
    rule.measured(6100, 0.0)
    assert rule.decide(members(), 0.0).shed == "towels"
    rule.measured(6100, 4.0)
    assert rule.decide(members(), 4.0).shed == "boiler"


def test_what_nobody_wants_any_more_is_not_restored() -> None:
    """Even if it never went off."""
    rule = budget(delay=0.0, restore_after=1.0)
    rule.measured(6100, 0.0)
    assert rule.decide(members(), 0.0).shed == "towels"
    for now in (4.0, 8.0):
        rule.measured(100, now)
        assert rule.decide(members(towels=ON._replace(wanted=False)), now) == Decision()
    assert rule.shed == {"towels"}


def test_only_what_it_drew_is_reckoned_as_gone() -> None:
    """Whatever whoever switches it off says of it: the boiler was warm."""
    rule = budget(delay=0.0)
    rule.measured(6100, 0.0)
    warm = members(towels=OFF, boiler=ON._replace(power=0.0))
    assert rule.decide(warm, 0.0).shed == "boiler"
    rule.switched("boiler", False, 2400.0, 0.5)
    assert rule.decide(warm | {"boiler": OFF}, 0.5).shed == "car"


def test_after_a_silence_the_limit_has_to_be_exceeded_for_the_delay_again() -> None:
    rule = budget(delay=5.0, meter_timeout=60.0)
    for now in (0.0, 70.0):
        rule.measured(6100, now)
        assert rule.decide(members(), now) == Decision()
        assert rule.due(now) == now + 5.0
        assert rule.decide(members(), now + 60.0) == Decision()


def test_who_may_not_go_off_is_passed_over() -> None:
    rule = budget(delay=0.0)
    rule.measured(6100, 0.0)
    which = members(towels=ON._replace(may_off=False), boiler=OFF)
    assert rule.decide(which, 0.0).shed == "car"


def test_a_load_just_switched_on_does_not_count_twice_against_the_others() -> None:
    """The meter may show it already: what is rated is no reason to shed, only to let nobody else on."""
    rule = budget(delay=0.0)
    rule.switched("boiler", True, 2400.0, 10.0)
    rule.measured(5000, 11.0)
    assert rule.decide(members(towels=OFF), 11.0) == Decision()
    refusal = rule.admits("towels", members(towels=OFF), 11.0)
    assert refusal == "7,400 W are drawn, and its 500 W would exceed the budget of 6,000 W"
    rule.measured(5000, 10 + SETTLE)
    assert rule.admits("towels", members(towels=OFF), 13.0) is None


def test_what_was_switched_off_makes_room_at_once_but_not_twice() -> None:
    rule = budget()
    rule.measured(5900, 10.0)
    assert rule.admits("boiler", members(boiler=OFF), 10.0) is not None
    rule.switched("car", False, 3700.0, 10.5)
    assert rule.admits("boiler", members(car=OFF, boiler=OFF), 10.5) is None
    rule.measured(4000, 11.0)  # which may show it already
    assert rule.admits("boiler", members(car=OFF, boiler=OFF), 11.0) is not None


def test_the_limit_itself_is_allowed() -> None:
    rule = budget()
    rule.measured(6000 - 500, 0.0)
    assert rule.admits("towels", members(towels=OFF), 0.0) is None
    rule.measured(6000 - 499, 1.0)
    assert rule.admits("towels", members(towels=OFF), 1.0) is not None


def test_it_comes_back_when_there_has_been_room_for_a_while() -> None:
    """With the margin, and for what it drew when it was shed if that is more than what it is rated at."""
    rule = budget(delay=0.0, margin=200.0, restore_after=120.0)
    heavy = ON._replace(power=800.0)
    rule.measured(6100, 0.0)
    assert rule.decide(members(towels=heavy), 0.0).shed == "towels"
    off = members(towels=OFF)
    rule.switched("towels", False, 800.0, 0.0)
    rule.measured(5001, 10.0)
    assert rule.decide(off, 10.0) == Decision()
    rule.measured(5000, 20.0)
    assert rule.decide(off, 20.0) == Decision()
    rule.measured(5000, 130.0)
    assert rule.due(130.0) == 140.0
    assert rule.admits("towels", off, 130.0) is not None
    assert rule.decide(off, 139.9) == Decision()
    decision = rule.decide(off, 140.0)
    assert decision.restore == "towels"
    assert decision.reason == "there has been room for its 800 W for 120 s: 5,000 W of 6,000 W are drawn"
    assert rule.shed == set()
    assert rule.admits("towels", off, 140.0) is None  # what was decided is not in its own way
    assert rule.total(off, 140.0) == 5800.0  # but in that of others


def test_room_has_to_last() -> None:
    rule = budget(delay=0.0, restore_after=60.0)
    rule.measured(6100, 0.0)
    rule.decide(members(), 0.0)
    for now in range(10, 300, 10):
        rule.measured(5900 if now % 60 == 0 else 4000, float(now))
        assert rule.decide(members(towels=OFF), float(now)) == Decision()


def test_nobody_takes_the_room_that_a_more_important_one_waits_for() -> None:
    """A small load that came back first would keep the car waiting all night."""
    rule = budget(delay=0.0, margin=0.0, restore_after=10.0)
    rule.measured(9000, 0.0)
    for _ in range(3):
        rule.decide(members(), 0.0)
    off = dict.fromkeys(RATED, OFF)
    rule.measured(2400, 5.0)
    rule.decide(off, 5.0)
    assert rule.decide(off, 20.0) == Decision()  # 3,600 W are free, and the car needs 3,700
    rule.measured(2000, 21.0)
    rule.decide(off, 21.0)
    rule.measured(2000, 30.0)
    assert rule.decide(off, 31.0).restore == "car"
    without = off | {"car": ON}
    rule.measured(3000, 40.0)
    rule.decide(without, 40.0)
    assert rule.decide(without | {"boiler": OFF._replace(wanted=False)}, 45.0) == Decision()
    assert rule.decide(without | {"boiler": OFF._replace(wanted=False)}, 55.0).restore == "towels"
    assert rule.shed == set()  # nobody wants the boiler any more


def test_a_silent_meter_lets_nobody_on() -> None:
    rule = budget(delay=0.0, restore_after=10.0, meter_timeout=60.0)
    assert rule.admits("towels", members(towels=OFF), 0.0) == "the meter house has not told anything yet"
    rule.measured(6100, 0.0)
    assert rule.decide(members(), 0.0).shed == "towels"
    rule.measured(1000, 1.0)
    rule.measured(1000, 5.0)
    rule.decide(members(towels=OFF), 5.0)
    assert rule.due(5.0) == 15.0
    assert not rule.lost(64.9)
    assert rule.lost(65.0)
    assert rule.decide(members(towels=OFF), 65.0) == Decision()
    assert rule.total(members(), 65.0) is None
    assert rule.admits("boiler", members(boiler=OFF), 65.0) == "the meter house has been silent for 60 s"
    rule.measured(1000, 70.0)
    assert rule.decide(members(towels=OFF), 70.0) == Decision()  # it begins to wait anew
    assert rule.decide(members(towels=OFF), 80.0).restore == "towels"


def test_without_a_meter_the_relays_own_powers_are_the_total() -> None:
    rule = budget(meter=None, delay=0.0)
    assert rule.total(members(towels=OFF), 0.0) == 6100.0
    lower = members(car=ON._replace(power=3000.0), towels=OFF)
    assert rule.total(lower, 0.0) == 5400.0
    assert rule.decide(lower, 0.0) == Decision()
    assert rule.admits("towels", lower, 0.0) is None
    assert not rule.lost(1e9)
    assert rule.decide(members(), 0.0).shed == "towels"
    assert rule.decide(members(), 0.0).shed == "boiler"
    assert rule.decide(members(), SETTLE - 0.1) == Decision()  # both are on their way
    assert rule.decide(members(), SETTLE).shed == "car"


def test_without_a_meter_one_of_which_nothing_is_known_is_not_in_its_own_way() -> None:
    """It is presumed to be on, and is to be switched on to be sure."""
    rule = budget(limit=3800.0, meter=None)
    assert rule.admits("car", members(boiler=OFF, towels=OFF), 0.0) is None


def test_without_a_meter_one_just_switched_on_counts_as_rated_until_it_can_have_been_measured() -> None:
    rule = budget(meter=None, meter_timeout=60.0)
    idle = members(car=ON._replace(power=0.0), boiler=OFF, towels=OFF)
    rule.switched("car", True, 3700.0, 10.0)
    assert rule.admits("boiler", idle, 69.0) is not None
    assert rule.admits("boiler", idle, 70.0) is None


def test_what_somebody_switches_on_by_hand_is_not_kept_off_any_more() -> None:
    """It is shed again if it is too much, and waits longer then."""
    rule = budget(delay=1.0, restore_after=100.0)
    rule.measured(6100, 0.0)
    rule.decide(members(), 0.0)
    assert rule.decide(members(), 1.0).shed == "towels"
    rule.switched("towels", False, 500.0, 1.0)
    rule.measured(5600, 40.0)
    rule.decide(members(towels=OFF), 40.0)
    rule.switched("towels", True, 500.0, 50.0)
    assert rule.shed == set()
    rule.measured(6100, 60.0)
    rule.decide(members(), 60.0)
    assert rule.decide(members(), 61.0).shed == "towels"
    rule.measured(1000, 70.0)
    rule.decide(members(towels=OFF), 70.0)
    assert rule.due(70.0) == 70.0 + 60.0  # the meter
    rule.measured(1000, 120.0)
    assert rule.decide(members(towels=OFF), 170.0) == Decision()
    rule.measured(1000, 170.0)
    rule.measured(1000, 220.0)
    assert rule.decide(members(towels=OFF), 270.0).restore == "towels"


# -- random houses ------------------------------------------------------------------------------------------------


@dataclass
class Load:
    """One relay and its load in a simulated house."""

    rated: float
    draw: float
    min_on: int
    min_off: int
    on: bool = False
    wanted: bool = False
    since: int = -(10**6)
    powers: list[float] = field(default_factory=list)
    """What it drew in each second."""

    @property
    def drawn(self) -> float:
        """What it draws now."""
        return self.draw if self.on else 0.0


@dataclass
class House:
    """A house second by second: what it draws, what its meter says of it, and what the budget does with it."""

    seed: int
    settings: Settings
    loads: dict[str, Load]
    lag: int
    """Seconds by which readings are late, at most; some are missing."""
    steady: bool = False
    """Whether nothing changes by itself."""
    exact: bool = True
    """Whether the relays' own meters lag not at all."""
    base: float = 1000.0
    now: int = 0
    disturbed: int = 0
    """When something last began to draw more, or was switched."""
    exceeded: int | None = None
    switchings: list[tuple[int, str, str]] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    shown: int = 0
    """Of which second the newest reading was."""
    heard: int = 0
    silent_until: int = 0

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.rule = Budget(self.settings, {name: load.rated for name, load in self.loads.items()}, 0.0)

    def members(self) -> dict[str, Member]:
        """Return what the budget is told."""
        return {name: self._member(load) for name, load in self.loads.items()}

    def _member(self, load: Load) -> Member:
        age = self.now - load.since
        late = 0 if self.exact else self.random.randint(0, 10)
        power = load.drawn if self.exact else load.powers[-1 - min(late, len(load.powers) - 1)]
        return Member(
            load.on,
            power if self.exact or self.random.random() < 0.8 else None,
            load.on and age >= load.min_on,
            load.wanted,
            age >= load.min_off,
        )

    def second(self) -> None:
        """Let a second pass."""
        self.now += 1
        self._live()
        self._measure()
        self._decide()
        self._wish()
        self._check()

    def total(self) -> float:
        """Return what the house really draws."""
        return self.base + sum(load.drawn for load in self.loads.values())

    def _live(self) -> None:
        before = self.total()
        if not self.steady:
            if self.random.random() < 0.03 and self.settings.meter is not None:
                self.base = self.random.uniform(0, 1.2) * self.settings.limit
            for load in self.loads.values():
                if self.random.random() < 0.03:  # its thermostat
                    load.draw = self.random.choice((0.0, load.rated, load.rated * self.random.random()))
                if self.random.random() < 0.01:
                    load.wanted = not load.wanted
                if self.random.random() < 0.002:  # a hand at the switch
                    self._switch(load, on=not load.on)
        if self.total() > before:
            self.disturbed = self.now
        for load in self.loads.values():
            load.powers.append(load.drawn)
        self.totals.append(self.total())

    def _measure(self) -> None:
        if self.settings.meter is None:
            return
        if self.random.random() < 0.003 and not self.steady:
            self.silent_until = self.now + self.random.randint(1, 100)
        late = self.now - self.shown >= self.lag
        if self.now >= self.silent_until and (late or self.random.random() < 0.6):
            self.shown = self.random.randint(max(self.shown, self.now - self.lag, 1), self.now)
            self.rule.measured(self.totals[self.shown - 1], float(self.now))
            self.heard = self.now
        if self.now - self.shown > self.lag:
            self.disturbed = self.now  # nothing is promised

    def _decide(self) -> None:
        for _ in range(len(self.loads) + 1):
            members, now = self.members(), float(self.now)
            most = self.rule.total(members, now)
            waiting = {name for name in self.rule.shed if members[name].wanted and members[name].may_on}
            decision = self.rule.decide(members, now)
            if decision.shed is not None:
                self._shed(decision.shed, members)
            elif decision.restore is not None:
                assert most is not None
                self._restore(decision.restore, waiting, most)
            else:
                assert self.rule.due(now) > now
                return
            assert self.rule.due(now) == now  # there may be more
        raise AssertionError("it never ends")

    def _shed(self, name: str, members: dict[str, Member]) -> None:
        assert members[name].on
        assert members[name].may_off
        later = list(self.loads)[list(self.loads).index(name) + 1 :]
        assert not any(members[other].on and members[other].may_off for other in later), "a less important one was on"
        self._switch(self.loads[name], on=False)
        self.switchings.append((self.now, "shed", name))

    def _restore(self, name: str, waiting: set[str], most: float) -> None:
        load = self.loads[name]
        assert name in waiting
        wait = self.settings.restore_after
        before = [at for at, what, _ in self.switchings if what == "restore"]
        assert not before or self.now - before[-1] >= wait, "not one at a time"
        shed = [at for at, what, which in self.switchings if (what, which) == ("shed", name)]
        assert self.now - shed[-1] >= wait, "too soon"
        order = list(self.loads)
        ahead = sum(self.loads[other].rated for other in waiting if order.index(other) <= order.index(name))
        assert most + ahead + self.settings.margin <= self.settings.limit + 1e-6, "it took the room of another"
        self._switch(load, on=True)
        self.switchings.append((self.now, "restore", name))

    def _wish(self) -> None:
        for name, load in self.loads.items():
            age = self.now - load.since
            if load.on and not load.wanted and age >= load.min_on:
                self._switch(load, on=False)
            elif not load.on and load.wanted and age >= load.min_off:
                refusal = self.rule.admits(name, self.members(), float(self.now))
                if self.settings.meter is not None and self.now - self.heard >= self.settings.meter_timeout:
                    assert refusal, "admitted blindly"
                if not refusal:
                    self._switch(load, on=True)

    def _switch(self, load: Load, *, on: bool) -> None:
        name = next(name for name, other in self.loads.items() if other is load)
        self.rule.switched(name, on, load.rated if on else load.drawn, float(self.now))
        load.on, load.since = on, self.now
        self.disturbed = self.now

    def _check(self) -> None:
        """Hold the promise of the module's first lines."""
        if self.total() <= self.settings.limit:
            self.exceeded = None
        elif self.exceeded is None:
            self.exceeded = self.now
        if self.exceeded is None:
            return
        reaction = self.lag + self.settings.delay + SETTLE
        if self.now - max(self.exceeded, self.disturbed) >= reaction:
            assert not any(member.on and member.may_off for member in self.members().values())


def house(seed: int, *, steady: bool = False, exact: bool = True) -> House:
    """Return a random house in which nothing is on yet."""
    random = Random(seed)
    shares = (0.5, 1.0, 1.7) if steady else (0.0, 0.5, 1.0)
    loads = {}
    for number in range(random.randint(1, 5)):
        rated = float(random.randint(100, 4000))
        rest = random.choice((0, random.randint(0, 120)))
        loads[f"r{number}"] = Load(rated, rated * random.choice(shares), rest, random.choice((0, 60)), wanted=True)
    table = Settings(
        limit=max(500.0, random.uniform(0.5, 1.2) * sum(load.rated for load in loads.values())),
        meter=random.choice(("house", "house", None)),
        relays=tuple(loads),
        delay=random.choice((0, 1, 5, 20)),
        margin=random.choice((0, 200)),
        restore_after=random.choice((1, 10, 120)),
        meter_timeout=random.choice((15, 60)),
    )
    base = 0.0 if table.meter is None else random.uniform(0, table.limit)
    return House(seed, table, loads, random.choice((0, 1, 4, 10)) if table.meter else 0, steady, exact, base)


SEEDS = st.integers(0, 2**64)


@settings(max_examples=150, deadline=None)
@given(seed=SEEDS)
def test_a_random_house_is_above_its_limit_no_longer_than_promised(seed: int) -> None:
    """And the order of shedding and restoring, and all waiting times, are kept: see `House`."""
    random_house = house(seed)
    for _ in range(900):
        random_house.second()


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS)
def test_the_promise_holds_where_the_relays_own_meters_lag(seed: int) -> None:
    random_house = house(seed, exact=False)
    if random_house.settings.meter is not None:  # where there is none, they are what lags
        for _ in range(900):
            random_house.second()


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_in_a_house_that_does_not_change_nothing_goes_to_and_fro(seed: int) -> None:
    """Also where loads draw more than they are rated at, so that each return is a mistake."""
    steady = house(seed, steady=True)
    for _ in range(3600):
        steady.second()
    for name in steady.loads:
        shed = [at for at, what, which in steady.switchings if (what, which) == ("shed", name)]
        assert len(shed) <= 1 + log2(3600 / steady.settings.restore_after)


@pytest.mark.parametrize("restore_after", [1.0, 120.0, 3000.0])
def test_the_waiting_doubles_up_to_an_hour_and_is_forgotten_when_it_went_well(restore_after: float) -> None:
    rule, now, waits = budget(delay=0.0, restore_after=restore_after, meter_timeout=86400.0), 0.0, []
    for number in range(20):
        rule.measured(6100, now)
        assert rule.decide(members(), now).shed == "towels"
        rule.measured(1000, now + SETTLE)
        assert rule.decide(members(towels=OFF), now + SETTLE) == Decision()
        back = rule.due(now + SETTLE)
        assert rule.decide(members(towels=OFF), back).restore == "towels"
        waits.append(back - now - SETTLE)
        now = back + (AGAIN if number == 18 else SETTLE)
    assert waits[:3] == [restore_after, *(min(restore_after * 2**n, LONGEST) for n in (1, 2))]
    assert waits[18] == LONGEST
    assert waits[19] == restore_after
