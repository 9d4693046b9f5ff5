"""What is switched when, and what forbids it: every rule by an example, and which of two wins."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from edge_energy.relays.command import Origin
from edge_energy.relays.planner import Planner
from edge_energy.relays.state import GRACE, INTRODUCTION, OFFLINE, Wish
from tests.unit.relays.house import HEATER, PUMP, settings

if TYPE_CHECKING:
    from edge_energy.relays.planner import Action

METER = "shelly-bbbbbb000001"
THERMOMETER = "zigbee-0x01"
PARIS = ZoneInfo("Europe/Paris")
NIGHT = datetime(2026, 11, 20, 22, 0, tzinfo=UTC).timestamp()  # 23:00 in Paris


class House:
    """A planner whose actions are carried out at once, on a clock that the test sets."""

    def __init__(self, *relays: dict[str, Any], **more: Any) -> None:
        self.planner = Planner(settings(*relays, **more), PARIS, 0.0)
        self.now = 0.0
        self.utc: float | None = None
        self.done: list[tuple[float, str, bool]] = []
        for relay in relays:
            self.tell(relay["device"], output=False)
        self.pass_(INTRODUCTION)

    def tell(self, device: str, **values: float | bool) -> None:
        """Let a device report."""
        self.planner.reading(device, dict(values), self.now)

    def act(self) -> list[Action]:
        """Do what is to be done now."""
        actions = self.planner.actions(self.now, self.utc)
        for action in actions:
            self.planner.confirmed(action.relay, action.on, self.now)
            self.done.append((self.now, action.relay, action.on))
        return actions

    def pass_(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass, second by second."""
        end = self.now + seconds
        while True:
            while self.act():  # what is done may let something else be done
                pass
            if self.now >= end:
                return
            passed = min(step, end - self.now)
            self.now += passed
            self.utc = None if self.utc is None else self.utc + passed

    def wish(self, relay: str, on: bool, until: float | None = None) -> str:  # noqa: FBT001
        """Want something as a person does; return why that is refused."""
        refusal = self.planner.refusal(relay, on, self.now)
        if not refusal:
            self.planner.wish(relay, Wish(on, Origin.CLI, self.now, until))
            self.pass_(0)
        return refusal

    def on(self, relay: str) -> bool | None:
        """Tell whether a relay is on."""
        return self.planner.relays[relay].output


def test_min_times_bind_everybody() -> None:
    """A compressor that was just switched is left alone, whoever wants otherwise."""
    house = House({"device": PUMP, "min_on": "3m", "min_off": "5m"})
    assert "min_off" in house.wish(PUMP, True)
    house.pass_(300)
    assert not house.wish(PUMP, True)
    assert house.on(PUMP)
    assert "min_on" in house.wish(PUMP, False)
    house.pass_(180)
    assert not house.wish(PUMP, False)


def test_a_wish_that_waits_is_done_when_it_may_be() -> None:
    """A schedule that begins within min_off is not forgotten, and `status` says why it waits."""
    house = House({"device": PUMP, "min_off": "5m"}, schedule=[{"relay": PUMP, "start": "22:30", "end": "06:30"}])
    house.utc = NIGHT
    house.pass_(1)
    assert "min_off" in house.planner.relays[PUMP].blocked
    house.pass_(300)
    assert house.on(PUMP)
    assert not house.planner.relays[PUMP].blocked


def test_max_on_ends_it_and_it_stays_off() -> None:
    house = House({"device": HEATER, "max_on": "1h"})
    house.wish(HEATER, True)
    house.pass_(3599)
    assert house.on(HEATER)
    house.pass_(1)
    assert not house.on(HEATER)
    house.pass_(7200, 60)
    assert not house.on(HEATER)


def test_an_overload_may_last_for_its_delay() -> None:
    """A motor starts with an inrush; readings below the limit begin the delay anew."""
    house = House({"device": HEATER, "max_power": 2000, "max_power_delay": "5s"})
    house.wish(HEATER, True)
    for power in (2500.0, 2500.0, 1900.0, 2500.0, 2500.0):
        house.tell(HEATER, power=power)
        house.pass_(2)
    assert house.on(HEATER)
    house.tell(HEATER, power=2500.0)
    house.pass_(2)
    assert not house.on(HEATER)


def test_a_cut_out_heeds_no_min_on_and_no_schedule() -> None:
    """Only a person ends it."""
    house = House(
        {"device": HEATER, "max_power": 2000, "min_on": "1h"},
        schedule=[{"relay": HEATER, "start": "22:30", "end": "06:30"}],
    )
    house.utc = NIGHT
    house.pass_(1)
    house.tell(HEATER, power=2500.0)
    house.pass_(0)
    assert not house.on(HEATER)
    house.tell(HEATER, power=0.0)
    house.pass_(86_400, 600)
    assert not house.on(HEATER)
    assert not house.wish(HEATER, True)


def test_too_hot_wins_over_everything_and_frost_over_wishes() -> None:
    """In the middle it is as people want it."""
    table = {"device": HEATER, "temperature": THERMOMETER, "max_temperature": 60, "frost": 5}
    house = House(table)
    house.tell(THERMOMETER, temperature=20.0)
    house.wish(HEATER, True)
    house.tell(THERMOMETER, temperature=60.5)
    house.pass_(0)
    assert not house.on(HEATER)
    assert "60.5" in house.wish(HEATER, True)
    house.tell(THERMOMETER, temperature=4.0)
    house.pass_(0)
    assert house.on(HEATER)
    assert "4.0" in house.wish(HEATER, False)  # it would go on again at once
    house.tell(THERMOMETER, temperature=10.0)
    assert not house.wish(HEATER, False)


def test_a_silent_thermometer_means_the_safe_state() -> None:
    """Heating on would be blind; a heater that keeps pipes from freezing is on by its safe state."""
    table = {"temperature": THERMOMETER, "max_temperature": 60, "temperature_timeout": "10m"}
    house = House({"device": HEATER, **table}, {"device": PUMP, **table, "safe_state": "on"})
    house.tell(THERMOMETER, temperature=20.0)
    house.wish(HEATER, True)
    house.wish(PUMP, False)
    house.pass_(599)
    assert (house.on(HEATER), house.on(PUMP)) == (True, False)
    house.pass_(1)
    assert (house.on(HEATER), house.on(PUMP)) == (False, True)
    assert "temperature" in house.wish(HEATER, True)
    house.tell(THERMOMETER, temperature=20.0)
    house.pass_(0)
    assert (house.on(HEATER), house.on(PUMP)) == (True, False)  # what was wished counts again


def test_a_lost_meter_means_the_safe_state() -> None:
    """By silence where a timeout is set, and when it is offline for a minute; not by a gap in the radio."""
    house = House({"device": HEATER, "max_power": 2000, "meter": METER, "meter_timeout": "5m", "min_on": "6m"})
    house.tell(METER, power=0.0)
    house.wish(HEATER, True)
    house.planner.available(METER, False, house.now)
    house.pass_(OFFLINE - 1)
    house.planner.available(METER, True, house.now)
    house.pass_(10)
    assert house.on(HEATER)
    house.planner.available(METER, False, house.now)
    house.pass_(OFFLINE)
    assert not house.on(HEATER)
    house.planner.available(METER, True, house.now)
    house.tell(METER, power=0.0)
    house.pass_(0)
    assert house.on(HEATER)
    house.pass_(300)
    assert not house.on(HEATER)


def test_silence_alone_is_not_loss() -> None:
    """A steady load may say nothing for hours."""
    house = House({"device": HEATER, "max_power": 2000})
    house.tell(HEATER, power=1000.0)
    house.wish(HEATER, True)
    house.pass_(4 * 3600, 60)
    assert house.on(HEATER)


def test_never_two_of_an_interlock() -> None:
    """Not while the other is on, not while it is being switched, not while nobody knows."""
    house = House({"device": HEATER}, {"device": PUMP}, interlock=[{"relays": [HEATER, PUMP]}])
    house.wish(HEATER, True)
    assert house.wish(PUMP, True) == f"interlock: {HEATER} is on"
    house.wish(HEATER, False)
    house.planner.begin(HEATER, True)
    assert HEATER in house.wish(PUMP, True)
    house.planner.relays[HEATER].forget(house.now)
    assert "not known" in house.wish(PUMP, True)
    house.planner.begin(HEATER, False)
    assert house.wish(PUMP, True)  # not before it is confirmed
    house.planner.confirmed(HEATER, False, house.now)
    assert not house.wish(PUMP, True)


def test_a_hand_that_breaks_an_interlock_is_answered_at_once() -> None:
    """The one that came later goes off, whatever its min_on."""
    table = {"min_on": "1h"}
    house = House({"device": HEATER, **table}, {"device": PUMP, **table}, interlock=[{"relays": [HEATER, PUMP]}])
    house.pass_(3600, 60)
    house.wish(HEATER, True)
    house.pass_(10)
    house.tell(PUMP, output=True)
    house.pass_(0)
    assert (house.on(HEATER), house.on(PUMP)) == (True, False)


def test_two_schedules_of_an_interlock_in_one_moment() -> None:
    """The first of the configuration gets it; the other waits, and follows."""
    window = {"start": "22:30", "end": "06:30"}
    house = House(
        {"device": HEATER, "max_on": "1h"},
        {"device": PUMP},
        interlock=[{"relays": [HEATER, PUMP]}],
        schedule=[{"relay": HEATER, **window}, {"relay": PUMP, **window}],
    )
    house.utc = NIGHT
    house.pass_(1)
    assert (house.on(HEATER), house.on(PUMP)) == (True, False)
    house.pass_(3600, 60)
    assert (house.on(HEATER), house.on(PUMP)) == (False, True)


def test_a_budget_sheds_the_last_and_brings_it_back() -> None:
    house = House(
        {"device": HEATER, "power": 2000},
        {"device": PUMP, "power": 1000},
        budget=[{"limit": 4000, "meter": METER, "relays": [HEATER, PUMP], "delay": "5s", "restore_after": "60s"}],
    )

    def base(power: float, seconds: int) -> None:
        for _ in range(seconds):
            house.tell(METER, power=power + 2000.0 * bool(house.on(HEATER)) + 1000.0 * bool(house.on(PUMP)))
            house.pass_(1)

    base(500, 5)
    assert not house.wish(HEATER, True)
    base(500, 5)
    assert not house.wish(PUMP, True)
    base(500, 5)
    base(1500, 12)
    assert (house.on(HEATER), house.on(PUMP)) == (True, False)
    assert "budget" in house.wish(PUMP, True)
    base(500, 55)
    assert not house.on(PUMP)
    base(500, 20)
    assert house.on(PUMP)


def test_a_schedule_begins_and_ends_and_a_person_overrides_it_until_the_next() -> None:
    house = House({"device": HEATER}, schedule=[{"relay": HEATER, "start": "23:30", "end": "06:30"}])
    house.utc = NIGHT
    house.pass_(1800, 10)
    assert [action[1:] for action in house.done[-1:]] == [(HEATER, True)]
    house.wish(HEATER, False)
    house.pass_(3 * 3600, 60)
    assert not house.on(HEATER)
    house.pass_(20 * 3600, 60)  # 22:30 of the next day
    assert not house.on(HEATER)
    house.pass_(3600, 60)
    assert house.on(HEATER)


def test_without_the_date_a_schedule_does_nothing() -> None:
    """A Pi without the time at its start; then it does what belongs to that time."""
    house = House({"device": HEATER}, schedule=[{"relay": HEATER, "start": "22:30", "end": "06:30"}])
    house.pass_(3600, 60)
    assert not house.done or not any(on for _, _, on in house.done)
    house.utc = NIGHT
    house.pass_(0)
    assert house.on(HEATER)


def test_the_end_of_a_time_is_the_schedule_or_the_opposite() -> None:
    house = House({"device": HEATER}, {"device": PUMP}, schedule=[{"relay": PUMP, "start": "22:30", "end": "06:30"}])
    house.utc = NIGHT
    house.pass_(0)
    house.wish(HEATER, True, house.now + 60)
    house.wish(PUMP, False, house.now + 60)
    assert (house.on(HEATER), house.on(PUMP)) == (True, False)
    house.pass_(60)
    assert (house.on(HEATER), house.on(PUMP)) == (False, True)


def test_surplus_switches_on_what_the_house_would_export() -> None:
    """Its own draw is not taken for an end of the surplus; a meter that falls silent ends it."""
    house = House(
        {"device": HEATER, "power": 2000},
        schedule=[{"relay": HEATER, "surplus": 1800, "meter": METER, "delay": "30s"}],
    )

    def sun(exported: float, seconds: int) -> None:
        for _ in range(seconds):
            drawn = 2000.0 * bool(house.on(HEATER))
            house.tell(HEATER, power=drawn)
            house.tell(METER, power=drawn - exported)
            house.pass_(1)

    sun(1000, 60)
    assert not house.on(HEATER)
    sun(1900, 35)
    assert house.on(HEATER)
    sun(1900, 600)
    sun(1600, 300)  # within the margin
    assert len([1 for _, _, on in house.done if on]) == 1
    sun(1400, 35)
    assert not house.on(HEATER)
    sun(1900, 35)
    house.pass_(400)
    assert not house.on(HEATER)


def test_a_hand_at_the_switch_counts_as_a_wish() -> None:
    """Unless it only seems so: a report from before our own command, or the end of a lease."""
    house = House({"device": HEATER})
    house.wish(HEATER, True)
    house.now += GRACE / 2
    house.tell(HEATER, output=False)  # it was under way
    assert house.on(HEATER)
    house.tell(HEATER, output=True)
    house.now += GRACE
    house.tell(HEATER, output=False)
    house.pass_(600)
    assert not house.on(HEATER)
    wish = house.planner.relays[HEATER].wish
    assert wish is not None
    assert wish.origin is Origin.DEVICE
    house.wish(HEATER, True)
    house.now += GRACE
    house.planner.relays[HEATER].leased_until = house.now
    house.tell(HEATER, output=False)  # by its timer: we were away
    house.pass_(0)
    assert house.on(HEATER)


def test_a_hand_right_after_our_own_switching_is_noticed_too() -> None:
    """A device tells its output once, when it changes: what was doubtful is true if nothing else is said."""
    house = House({"device": HEATER})
    house.wish(HEATER, True)
    house.wish(HEATER, False)
    house.now += 0.05
    house.tell(HEATER, output=True)
    assert house.on(HEATER) is False
    assert house.planner.due(house.now, None) <= house.now + GRACE
    house.pass_(GRACE)
    assert house.on(HEATER)


def test_a_command_without_an_answer_may_have_worked() -> None:
    """Then nobody else has switched it, and what failed is undone: nobody expects it any more."""
    house = House({"device": HEATER})
    house.planner.begin(HEATER, True)
    house.planner.relays[HEATER].failed(house.now, "away")
    house.pass_(30)
    house.tell(HEATER, output=True)
    house.pass_(300)
    assert not house.on(HEATER)
    assert not house.planner.findings(HEATER, house.now)


def test_a_lease_that_ran_out_is_nobodys_hand() -> None:
    house = House({"device": HEATER})
    house.wish(HEATER, True)
    house.planner.relays[HEATER].leased_until = house.now + 10
    house.now += 300
    house.tell(HEATER, output=False)
    house.now += 300
    assert not house.planner.findings(HEATER, house.now)


def test_a_contact_that_is_stuck_uses_up_the_budget() -> None:
    """What it draws is there, although the relay is said to be off; shedding it again would help nobody."""
    house = House(
        {"device": HEATER, "power": 2000},
        {"device": PUMP, "power": 1000},
        budget=[{"limit": 3100, "relays": [HEATER, PUMP], "margin": 0}],
    )
    house.wish(HEATER, True)
    house.tell(HEATER, power=2000.0)
    house.wish(HEATER, False)
    house.tell(HEATER, output=False, power=2200.0)
    for power in (2210.0, 2220.0, 2230.0, 2240.0):
        house.pass_(60)
        house.tell(HEATER, power=power)
    assert house.planner.relays[HEATER].watch.draws
    assert "3,100 W" in house.wish(PUMP, True)


def test_it_is_asked_again_when_something_is_due() -> None:
    """Whoever sleeps until `due` misses nothing."""
    house = House(
        {"device": HEATER, "max_on": "1h", "temperature": THERMOMETER, "frost": 5, "temperature_timeout": "30m"},
        schedule=[{"relay": HEATER, "start": "23:10", "end": "06:30"}],
    )
    house.utc = NIGHT
    house.tell(THERMOMETER, temperature=20.0)
    house.act()
    changes = []
    for _ in range(8):
        due = house.planner.due(house.now, house.utc)
        if due > 1e6:
            break
        step = max(due - house.now, 0.001)
        house.now, house.utc = house.now + step, house.utc + step
        changes += [(round(house.now - INTRODUCTION), action.on) for action in house.act()]
    assert (600, True) in changes
    assert (1800, False) in changes  # nobody told a temperature


@pytest.mark.parametrize("origin", list(Origin))
def test_who_wants_it_is_known(origin: Origin) -> None:
    assert origin.manual == (origin in {Origin.CLI, Origin.HTTP, Origin.MQTT, Origin.CLOUD})
