"""A load runs on what the house would otherwise export, and does not go to and fro with every cloud."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_energy.config import Schedule
from edge_energy.relays.surplus import SILENT, Surplus


def surplus(delay: float = 120.0, margin: float = 300.0) -> Surplus:
    return Surplus(Schedule(relay="boiler", surplus=1500, meter="house", delay=delay, margin=margin))


def test_it_goes_on_when_enough_is_exported_for_the_delay() -> None:
    rule = surplus()
    assert rule.wish(0.0) is None
    assert rule.due(0.0) == inf
    rule.measured(-1500, 0.0, 10.0)
    assert rule.wish(129.9) is None
    assert rule.due(10.0) == 130.0
    assert rule.wish(130.0) is True


def test_it_is_known_to_be_too_little_after_the_delay_as_well() -> None:
    rule = surplus()
    rule.measured(-1499, 0.0, 10.0)
    assert rule.wish(129.9) is None
    assert rule.wish(130.0) is False


def test_what_the_load_itself_draws_is_not_missing() -> None:
    """While it runs the house may import; what counts is what it would export without it."""
    rule = surplus(delay=0.0)
    rule.measured(-1500, 0.0, 0.0)
    rule.measured(800, 2000.0, 1.0)
    assert rule.wish(1.0) is True
    rule.measured(801, 2000.0, 2.0)
    assert rule.wish(2.0) is False
    rule.measured(-1499, 0.0, 3.0)
    assert rule.wish(3.0) is False


def test_a_cloud_that_is_shorter_than_the_delay_changes_nothing() -> None:
    rule = surplus()
    rule.measured(-2000, 0.0, 0.0)
    for now in range(200, 1000, 100):
        rule.measured(3000 if now % 200 else -2000, 0.0, float(now))
        assert rule.wish(float(now)) is True
    assert rule.wish(1019.0) is True
    assert rule.due(900.0) == 1020.0
    assert rule.wish(1020.0) is False


def test_a_silent_meter_wishes_nothing_and_is_learnt_anew() -> None:
    rule = surplus()
    rule.measured(-2000, 0.0, 0.0)
    assert rule.wish(SILENT - 0.1) is True
    assert rule.due(120.0) == SILENT
    assert rule.wish(SILENT) is None
    assert rule.due(SILENT) == inf
    rule.measured(-2000, 0.0, 1000.0)
    assert rule.wish(1119.0) is None
    assert rule.wish(1120.0) is True


@dataclass
class Held:
    """Since when something has held without a break; inf where it does not."""

    since: float = inf

    def told(self, now: float, *, holds: bool) -> None:
        """Take whether it holds from now on."""
        self.since = min(self.since, now) if holds else inf


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**64), delay=st.integers(0, 200), margin=st.integers(0, 1500))
def test_it_agrees_with_what_was_measured_and_changes_only_when_it_said_so(
    seed: int, delay: int, margin: int
) -> None:
    """On after `delay` of enough, off after `delay` of too little, and else as before: every second of an hour."""
    random, rule = Random(seed), surplus(float(delay), float(margin))
    enough, less, little, heard = Held(), Held(), Held(), -inf
    wish: bool | None = None
    due = inf
    for now in range(3600):
        found = rule.wish(now)
        assert found is wish or now >= due, "it changed without a word"
        if now - heard >= SILENT:
            assert found is None
            enough, less, little = Held(), Held(), Held()
        elif now - enough.since >= delay:
            assert found is True
        elif now - little.since >= delay:
            assert found is False
        elif found is not wish:
            assert (wish, found) == (None, False)
            assert now - less.since >= delay
        if random.random() < 0.02:
            own, heard = random.choice((0.0, 2000.0)), now
            available = random.choice((0.0, 1200.0, 1300.0, 1499.0, 1500.0, 3000.0))
            enough.told(now, holds=available >= 1500)
            less.told(now, holds=available < 1500)
            little.told(now, holds=available < 1500 - margin)
            rule.measured(own - available, own, now)
        wish, due = rule.wish(now), rule.due(now)
        assert due > now
