"""The closed loop in a whole simulated house: no false alarm in thirty days of bad reception, and every defect found.

Its devices report by the tables of their products: through Zigbee2MQTT, with and without a cache, and as Shelly
devices.
"""

from __future__ import annotations

from random import Random

import pytest

from edge_energy.relays.watch import DRAWS_NOTHING, STILL_DRAWS, SWITCHED_ELSEWHERE, WITHIN
from tests.unit.relays.reception import NONE, Troubles
from tests.unit.relays.watched_house import HEATER, WatchedHouse

DAYS = 30
DAY, HOUR, MINUTE = 86400.0, 3600.0, 60.0
LATER = 10.0  # s, for what is on the way
# Plugs that are polled (two of them draw the same for ever), and one that reports what changes, at both bridges; one
# whose power another meter tells, a minute and a half late; a Shelly of either generation.
WELDED = ["prise/003", "prise/006", "prise/009", "prise/007", "prise/004", "pro1pm", "gen1"]
BROKEN = ["prise/003", "prise/006", "prise/009", "prise/004", "gen1"]
PRESSED = ["prise/002", "prise/004", "prise/006", "bureau", "pro1pm", "gen1"]


def live_a_day(house: WatchedHouse, rng: Random) -> int:
    """Switch about half of the relays, every few hours; put a device out of reach now and then; count commands."""
    commands, end = 0, house.now + DAY
    while house.now < end:
        house.live(rng.uniform(0.5, 1.5) * 6 * HOUR)
        house.attend()
        house.live(90)  # what is on the way when the command comes was measured often
        for name in house.relays:
            if rng.random() < 0.5:
                house.switch(name, on=rng.random() < 0.5)
                commands += 1
        if rng.random() < 0.4:
            house.lose(rng.choice(list(house.relays)), rng.uniform(MINUTE, HOUR))
    return commands


def test_thirty_days_in_a_healthy_house_raise_no_alarm() -> None:
    """Whatever is late, lost, said again or held up for up to 90 s, and whoever is out of reach for an hour."""
    house, rng = WatchedHouse(1, Troubles()), Random(1)
    commands = sum(live_a_day(house, rng) for _ in range(DAYS))
    house.live(2 * HOUR)
    assert house.findings == []
    assert commands > 1.5 * DAYS * len(house.relays)
    for relay in house.relays.values():  # they were heard, and obeyed: the silence above means something
        assert relay.wanted is None
        assert relay.outlet.edges > DAYS / 2
        assert relay.state.output is relay.outlet.output


def test_slow_days_raise_no_alarm() -> None:
    """Every hour is a slow one, in which each way has its own delay."""
    house, rng = WatchedHouse(2, Troubles(slow=1)), Random(2)
    for _ in range(3):
        live_a_day(house, rng)
    assert house.findings == []


@pytest.fixture
def house() -> WatchedHouse:
    """Give a house with good reception, in which everything is on for ten minutes."""
    house = WatchedHouse(3, NONE)
    for name in house.relays:
        house.switch(name, on=True)
    house.live(10 * MINUTE)
    assert house.findings == []
    return house


def found_within(house: WatchedHouse, seconds: float, name: str, key: str) -> None:
    """Live until something is found, which must be that and nothing else."""
    end = house.now + seconds + LATER
    while not house.findings and house.now < end:
        house.attend()
        house.live(5)
    assert [(finding.relay, finding.key) for finding in house.findings] == [(name, key)]


@pytest.mark.parametrize("name", WELDED)
def test_a_welded_contact_is_found(house: WatchedHouse, name: str) -> None:
    """Switched off, it is never said to be off; freed, it is."""
    relay = house.relays[name]
    if not relay.settings.always_draws:
        relay.outlet.force(HEATER)
        house.live(2 * MINUTE)
    relay.outlet.weld(on=True)
    house.switch(name, on=False)
    found_within(house, WITHIN, name, STILL_DRAWS)
    assert not relay.outlet.output
    assert relay.state.watch.draws
    relay.outlet.weld(on=False)
    house.live(5 * MINUTE)
    assert not relay.state.watch.draws


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_heater_is_found(house: WatchedHouse, name: str) -> None:
    """It is on and nothing flows."""
    house.relays[name].outlet.force(0)
    found_within(house, WITHIN, name, DRAWS_NOTHING)
    house.switch(name, on=False)
    house.live(10 * MINUTE)
    assert house.relays[name].state.watch.findings(house.now) == {}


@pytest.mark.parametrize("name", PRESSED)
@pytest.mark.parametrize("on", [True, False])
def test_a_hand_at_the_button_is_found(house: WatchedHouse, name: str, on: bool) -> None:  # noqa: FBT001
    """Either way; a command of ours ends it."""
    house.switch(name, on=not on)
    house.live(10 * MINUTE)
    house.press(name)
    found_within(house, WITHIN, name, SWITCHED_ELSEWHERE)
    house.switch(name, on=True)
    house.live(2 * MINUTE)
    assert house.relays[name].state.watch.findings(house.now) == {}
