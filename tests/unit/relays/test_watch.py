"""A welded contact, a dead load and a hand at the switch are found; a healthy house raises no alarm."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_energy.config import Relay
from edge_energy.relays.watch import (
    DRAWS_NOTHING,
    LAGGING,
    LASTING,
    OVERTAKEN,
    REPEATED,
    STILL_DRAWS,
    SWITCHED_ELSEWHERE,
    WITHIN,
    Watch,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUG = "zigbee-0x00158d0001020304"
DAY = 86400


def watch(meter: str | None = None, *, always_draws: bool = True, power: float | None = 2000.0) -> Watch:
    return Watch(Relay(device=PLUG, safe_state="off", meter=meter, always_draws=always_draws, power=power))


def after_off(rule: Watch, *readings: tuple[float, float]) -> dict[str, str]:
    """Switch off at 1000 s what drew 2000 W, tell the readings (seconds later, W), return what is found then."""
    rule.commanded(True, 0.0)
    rule.measured(2000.0, 990.0)
    rule.commanded(False, 1000.0)
    for later, power in readings:
        rule.measured(power, 1000.0 + later)
    return rule.findings(1000.0 + readings[-1][0])


def test_current_that_goes_on_flowing_is_found_by_two_readings() -> None:
    rule = watch()
    assert after_off(rule, (LAGGING, 1998.0), (LAGGING + LASTING - 0.1, 1999.0)) == {}
    assert not rule.draws
    rule.measured(2001.0, 1115.0)
    assert rule.findings(1115.0) == {STILL_DRAWS: "still draws 2,001 W, 115 s after it was switched off"}
    assert rule.draws
    rule.measured(1950.0, 1150.0)  # the sentence stays what it was
    assert rule.findings(1150.0) == {STILL_DRAWS: "still draws 2,001 W, 115 s after it was switched off"}
    rule.measured(0.0, 1200.0)
    assert rule.findings(1200.0) == {}
    assert not rule.draws


def test_a_finding_lasts_while_it_is_switched_off_again_and_ends_when_it_is_switched_on() -> None:
    rule = watch()
    assert STILL_DRAWS in after_off(rule, (100.0, 1998.0), (120.0, 1999.0))
    rule.commanded(False, 1150.0)
    assert rule.draws
    rule.commanded(True, 1160.0)
    assert not rule.draws
    assert rule.findings(1160.0) == {}


def test_two_readings_belong_to_one_switching_and_have_no_silence_between_them() -> None:
    rule = watch()
    assert after_off(rule, (100.0, 1998.0)) == {}
    rule.commanded(False, 1110.0)
    rule.measured(1999.0, 1230.0)
    assert rule.findings(1230.0) == {}
    rule.measured(1998.0, 2000.0)
    assert rule.findings(2000.0) == {}
    rule.measured(1999.0, 2000.0 + LASTING)
    assert STILL_DRAWS in rule.findings(2015.0)


def test_a_number_that_is_repeated_counts_after_three_minutes() -> None:
    """An honest heater repeats its power, and so does a message that only carries the last one again."""
    assert after_off(watch(), *((float(later), 2000.0) for later in range(5, 180, 5))) == {}
    polls = (60.0, 2000.0), (120.0, 2000.0)
    assert after_off(watch(), *polls, (REPEATED, 2000.0), (REPEATED + 14.0, 2000.0)) == {}
    assert STILL_DRAWS in after_off(watch(), *polls, (REPEATED, 2000.0), (REPEATED + LASTING, 2000.0))


def test_after_a_silence_what_is_repeated_has_to_be_repeated_for_three_minutes_again() -> None:
    """Nobody was asked meanwhile: it is the power from before the switching, until the next poll."""
    assert after_off(watch(), (1000.0, 2000.0), (1060.0, 2000.0), (1120.0, 2000.0)) == {}
    again = tuple((float(later), 2000.0) for later in range(1000, 1201, 20))
    assert STILL_DRAWS in after_off(watch(), *again)


def test_a_late_number_and_its_repetition_are_not_two() -> None:
    """The meter's mean of the last moments, told once more with every message of the device."""
    assert after_off(watch(), (LAGGING + 1, 700.0), (150.0, 700.0), (170.0, 700.0)) == {}


def test_one_reading_in_between_that_says_off_is_enough_for_peace() -> None:
    assert after_off(watch(), (100.0, 1990.0), (110.0, 0.0), (120.0, 1990.0)) == {}


def test_another_device_may_lag_by_a_minute_and_a_half() -> None:
    lagging = [(float(later), 2000.0 + later) for later in range(1, int(LAGGING))]
    assert after_off(watch("submeter"), *lagging, (LAGGING, 0.0)) == {}
    assert STILL_DRAWS in after_off(watch("submeter"), (LAGGING, 1990.0), (LAGGING + LASTING, 1991.0))


@pytest.mark.parametrize(
    ("rated", "idle", "draws"), [(2000.0, 100.0, 100.1), (None, 100.0, 100.1), (100.0, 5.0, 5.1)]
)
def test_a_little_may_flow_through_an_open_contact(rated: float | None, idle: float, draws: float) -> None:
    """A twentieth of what the load is rated at, or drew."""
    assert after_off(watch(power=rated), (100.0, idle), (120.0, idle - 1)) == {}
    assert STILL_DRAWS in after_off(watch(power=rated), (100.0, draws), (120.0, draws + 1))


def test_a_load_that_draws_nothing_is_found_where_it_always_draws() -> None:
    for always_draws in (True, False):
        rule = watch(always_draws=always_draws)
        rule.commanded(True, 0.0)
        for now, power in ((0.0, 0.0), (90.0, 1.0), (REPEATED - 1, 2.0), (REPEATED, 1.0), (REPEATED + LASTING, 3.0)):
            assert rule.findings(now) == {}
            rule.measured(power, now)
        expected = {DRAWS_NOTHING: "draws only 3 W of its 2,000 W, 195 s after it was switched on"}
        assert rule.findings(200.0) == (expected if always_draws else {})
        assert not rule.draws
        rule.measured(1900.0, 300.0)
        assert rule.findings(300.0) == {}


def test_a_hand_at_the_switch_is_found_and_accepted_with_our_next_command() -> None:
    rule = watch()
    rule.reported(False, 0.0)
    rule.reported(True, 1000.0)
    assert rule.findings(1000.0) == {}
    assert rule.due(1000.0) == 1000.0 + LASTING
    words = "was switched on without us: at the device, or by another program"
    assert rule.findings(1000.0 + LASTING) == {SWITCHED_ELSEWHERE: words}
    assert rule.due(1000.0 + LASTING) == inf
    rule.commanded(True, 2000.0)
    assert rule.findings(3000.0) == {}
    rule.reported(False, 5000.0)
    assert SWITCHED_ELSEWHERE in rule.findings(5000.0 + LASTING)
    rule.reported(True, 6000.0)
    assert rule.findings(6000.0) == {}


def test_our_own_command_may_be_seen_before_it_is_confirmed() -> None:
    rule = watch()
    rule.reported(False, 0.0)
    rule.reported(True, 1000.0)
    rule.commanded(True, 1010.0)
    assert rule.findings(2000.0) == {}


def test_a_state_from_before_the_command_is_no_hand() -> None:
    """Unless nothing else is heard for so long that it must have been true."""
    rule = watch()
    rule.commanded(True, 0.0)
    rule.commanded(False, 1000.0)
    rule.reported(True, 1060.0)
    assert rule.findings(1000.0 + OVERTAKEN - 1) == {}
    assert SWITCHED_ELSEWHERE in rule.findings(1000.0 + OVERTAKEN)
    rule.commanded(False, 2000.0)
    rule.reported(True, 2060.0)
    rule.reported(False, 2120.0)
    assert rule.findings(3000.0) == {}


def test_as_long_as_its_state_is_not_known_nothing_contradicts_it() -> None:
    rule = watch()
    for now in range(0, 1000, 10):
        rule.measured(1500.0 + now, float(now))
    assert rule.findings(1000.0) == {}


# -- whole days ---------------------------------------------------------------------------------------------------


@dataclass
class Plug:
    """A plug and its load, told of the way that devices do; `watch` hears it in the order of arrival."""

    random: Random
    watch: Watch
    lag: float
    """Seconds by which its power is late at most."""
    every: float
    """Seconds between its messages."""
    loss: float
    """The share of messages that get lost."""
    caches: bool
    """Whether messages repeat the power of the last measurement, which is made once a minute."""
    noise: float
    on: bool = False
    welded: bool = False
    dead: bool = False
    since: float = -inf
    power: float = 0.0
    """As it was last measured."""
    polled: float = -inf
    missed: int = 0
    """Polls in a row that got no answer."""
    found: list[tuple[float, str]] = field(default_factory=list)
    history: list[tuple[float, bool]] = field(default_factory=lambda: [(-inf, False)])

    def flows(self, at: float) -> float:
        """Return what flowed at an instant (W)."""
        on = next(on for since, on in reversed(self.history) if since <= at)
        if self.dead or not (on or self.welded):
            return 0.0
        return round(1990.0 + self.random.uniform(-self.noise, self.noise), 1)

    def turn(self, now: float, *, on: bool) -> None:
        """Let its contact close or open."""
        self.on, self.since = on, now
        self.history.append((now, on))

    def command(self, now: float, *, on: bool) -> None:
        """Switch it; the report may come before its confirmation."""
        self.turn(now, on=on)
        if self.random.random() < 0.5:
            self.watch.reported(on, now)
        self.watch.commanded(on, now + self.random.random())

    def message(self, now: float) -> None:
        """Tell what it is, late and maybe not at all."""
        if self.caches and now - self.polled >= 60:
            self.polled = now
            self.missed += 1
            if self.random.random() >= self.loss or (self.missed > 1 and self.loss < 1):
                self.power, self.missed = self.flows(now), 0
        elif not self.caches:
            self.power = self.flows(now - self.random.uniform(0, self.lag))
        if self.random.random() >= self.loss:
            self.watch.reported(self.on, now)
            self.watch.measured(self.power, now)
        self.found += [(now, key) for key in self.watch.findings(now)]

    def run(self, begin: float, seconds: float) -> Iterator[float]:
        """Yield the time before each message."""
        now = begin
        while now < begin + seconds:
            now += self.every * self.random.uniform(0.5, 1.5)
            yield now
            self.message(now)


def plug(seed: int, *, loss: float | None = None) -> Plug:
    """Return one of the kinds: pushing, polled and cached, or measured by another device that lags."""
    random = Random(seed)
    kind = random.choice(("pushing", "cached", "lagging"))
    return Plug(
        random,
        watch("submeter" if kind == "lagging" else None, power=random.choice((None, 2000.0))),
        lag={"pushing": 10.0, "cached": 0.0, "lagging": 90.0}[kind],
        every=random.choice((1.0, 10.0, 60.0)) if kind != "cached" else random.choice((5.0, 15.0)),
        loss=random.choice((0.0, 0.1)) if loss is None else loss,
        caches=kind == "cached",
        noise=random.choice((0.0, 20.0)),
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**64))
def test_days_of_a_healthy_house_raise_no_alarm(seed: int) -> None:
    """With late, repeated and lost readings, hours of silence, and switching every few seconds to every few hours."""
    healthy = plug(seed)
    random, next_command, silent_until = healthy.random, 0.0, 0.0
    for now in healthy.run(0.0, min(30 * DAY, 5000 * healthy.every)):
        if now >= next_command:
            healthy.command(now, on=not healthy.on)
            next_command = now + random.choice((5.0, 40.0, 200.0, 1000.0, 5000.0, 20000.0)) * random.random()
        if random.random() < 0.0005:
            silent_until = now + random.uniform(0, 7200)
        healthy.loss = 1.0 if now < silent_until else 0.1
        assert healthy.found == []


def test_thirty_days_of_a_healthy_plug_raise_no_alarm() -> None:
    """One of each kind."""
    for seed in range(3):
        healthy = plug(seed)
        healthy.every = 60.0
        next_command = 0.0
        for now in healthy.run(0.0, 30 * DAY):
            if now >= next_command:
                healthy.command(now, on=not healthy.on)
                next_command = now + healthy.random.uniform(0, 7200)
            assert healthy.found == []


FAULTS = {"welded": STILL_DRAWS, "dead": DRAWS_NOTHING, "hand": SWITCHED_ELSEWHERE}


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**64), fault=st.sampled_from(sorted(FAULTS)))
def test_each_fault_is_found_in_time(seed: int, fault: str) -> None:
    """Whatever kind of plug it is, where every reading arrives, every minute or more often."""
    faulty = plug(seed, loss=0.0)
    faulty.every = min(faulty.every, 40.0)  # up to half more between two
    faulty.command(0.0, on=fault != "dead" and faulty.random.random() < 0.7)
    *_, last = faulty.run(1.0, faulty.random.uniform(1, 1000))
    assert faulty.found == []
    begin = last + 0.1
    faulty.dead, faulty.welded = fault == "dead", fault == "welded"
    if fault == "hand":
        faulty.turn(begin, on=not faulty.on)
    else:
        if not faulty.on and fault == "welded":
            faulty.command(begin - 0.05, on=True)
        faulty.command(begin, on=fault == "dead")
    for _ in faulty.run(begin + 1, WITHIN - 61):
        pass
    assert {key for _, key in faulty.found} == {FAULTS[fault]}
    assert faulty.watch.draws == (fault == "welded")
