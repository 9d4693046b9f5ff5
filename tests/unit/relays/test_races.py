"""What happens at the same moment, gets lost, or comes too late leaves every load as somebody wants it to be."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from edge_energy.clock import uptime_seconds
from edge_energy.errors import NotSwitched, Unavailable
from edge_energy.relays.command import Origin, Verdict
from edge_energy.relays.planner import Planner
from edge_energy.relays.state import Wish
from tests.unit.relays.house import HEATER, PUMP, Driver, house, settings

if TYPE_CHECKING:
    from pathlib import Path

    from edge_energy.relays.planner import Action
    from edge_energy.relays.state import RelayState
    from tests.unit.relays.house import House

ONE = {"device": HEATER, "lease": "60s"}
BOTH = [{"relays": [HEATER, PUMP]}]


class Mute(Driver):
    """A device that switches on when it is told to, but its answer is late, or gets lost."""

    def __init__(self) -> None:
        super().__init__(timer=False)
        self.answer = asyncio.Event()
        """Cleared: no answer comes."""
        self.answer.set()
        self.lost = False

    async def switch(self, on: bool, for_: float | None = None) -> None:  # noqa: FBT001 - as the contract
        """See `interfaces.Relay`."""
        await super().switch(on, for_)
        if on:
            await self.answer.wait()
        if on and self.lost:
            raise Unavailable("the answer was lost")


async def known(home: House) -> None:
    """Let every relay report that it is off, and wait until the controller knows."""
    for relay in home.drivers:
        home.tell(relay, output=False)
    await home.until(lambda: all(home.controller.state(relay) == "OFF" for relay in home.drivers))


def heater(home: House) -> RelayState:
    """Return what is known of the heater."""
    return home.controller._planner.relays[HEATER]


def later(home: House, seconds: float = 600.0) -> list[Action]:
    """Return what would be switched if nothing happened for so long: the last that a test asks."""
    return home.controller._planner.actions(uptime_seconds() + seconds, None)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again soon what failed."""
    monkeypatch.setattr("edge_energy.relays.state.FIRST_RETRY", 0.02)


# -- what failed does not happen later ------------------------------------------------------------------------


async def test_for_a_time_keeps_its_end_when_it_has_to_be_switched_on_again(tmp_path: Path) -> None:
    """The lease ran out while the Wi-Fi was away; switched on again, it ends when it was to end, and not later."""
    driver = Driver()
    async with house(tmp_path, settings({"device": HEATER, "lease": "2s"}), {HEATER: driver}) as home:
        await known(home)
        began = uptime_seconds()
        assert (await home.switch(HEATER, True, Origin.CLI, for_=3.0)).confirmed
        driver.error = Unavailable("the Wi-Fi is away")
        await home.until(lambda: not driver.output and home.controller.state(HEATER) == "None")
        driver.error = None
        home.tell(HEATER, output=False)
        await home.until(lambda: driver.output)
        what, _, for_ = driver.calls[-1]
        assert what == "switch"
        assert for_ == pytest.approx(began + 3.0 - uptime_seconds(), abs=0.4)
        await home.until(lambda: not driver.output)
        await home.until(lambda: home.controller.state(HEATER) == "OFF")
        assert uptime_seconds() - began >= 2.9


@pytest.mark.usefixtures("impatient")
async def test_two_commands_that_failed_do_not_switch_on_later(tmp_path: Path) -> None:
    """The second ended the first, so what was wished before both counts again, not what the first wished."""
    driver = Driver()
    async with house(tmp_path, settings(ONE), {HEATER: driver}) as home:
        await known(home)
        driver.go_on.clear()
        first = asyncio.create_task(home.switch(HEATER, True, Origin.CLI))
        await home.until(lambda: driver.side_by_side == 1)
        driver.error = Unavailable("away")
        second = asyncio.create_task(home.switch(HEATER, True, Origin.CLI))
        assert (await first).verdict is Verdict.SUPERSEDED
        driver.go_on.set()
        assert (await second).verdict is Verdict.FAILED
        driver.error = None
        await home.until(lambda: home.controller.state(HEATER) == "OFF")  # made sure by OFF
        assert driver.calls[-1][:2] == ("switch", False)
        assert (driver.edges, later(home)) == (0, [])


@pytest.mark.usefixtures("impatient")
async def test_a_command_that_failed_does_not_bring_back_what_a_schedule_has_ended(tmp_path: Path) -> None:
    """The window ends while a person's ON is at work; its failure restores nothing that is older than the end."""
    driver = Driver()
    async with house(tmp_path, settings(ONE), {HEATER: driver}) as home:
        await known(home)
        assert (await home.switch(HEATER, True, Origin.CLI)).confirmed
        driver.go_on.clear()
        again = asyncio.create_task(home.switch(HEATER, True, Origin.CLI))
        await home.until(lambda: driver.side_by_side == 1)
        heater(home).wish = Wish(False, Origin.SCHEDULE, uptime_seconds(), reason="the window's end")
        driver.error = Unavailable("away")
        driver.go_on.set()
        assert (await again).verdict is Verdict.FAILED
        driver.error = None
        await home.until(lambda: home.controller.state(HEATER) == "OFF")
        assert (driver.output, later(home)) == (False, [])


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("heard_at_work", [True, False])
async def test_an_on_whose_answer_was_lost_is_switched_off(tmp_path: Path, *, heard_at_work: bool) -> None:
    """Whoever asked was told that it failed; what the device reports is our late ON, and no hand at the switch."""
    driver = Mute()
    async with house(tmp_path, settings({"device": HEATER}), {HEATER: driver}) as home:
        await known(home)
        driver.answer.clear()
        driver.lost = True
        command = asyncio.create_task(home.switch(HEATER, True, Origin.CLI))
        await home.until(lambda: driver.output)
        if heard_at_work:
            home.tell(HEATER, output=True)
            await home.until(lambda: heater(home)._doubtful is True)
        driver.answer.set()
        assert (await command).verdict is Verdict.FAILED
        home.tell(HEATER, output=True)
        await home.until(lambda: not driver.output and home.controller.state(HEATER) == "OFF")
        assert later(home) == []


@pytest.mark.usefixtures("impatient")
async def test_the_rival_of_an_on_whose_answer_was_lost_has_to_wait(tmp_path: Path) -> None:
    """Nobody knows whether it is on, and two must not be; when it is off for sure, the other may go on."""
    drivers = {HEATER: Driver(), PUMP: Driver()}
    found = settings({"device": HEATER}, {"device": PUMP}, interlock=BOTH)
    async with house(tmp_path, found, drivers) as home:
        await known(home)
        drivers[HEATER].go_on.clear()
        command = asyncio.create_task(home.switch(HEATER, True, Origin.CLI))
        await home.until(lambda: drivers[HEATER].side_by_side == 1)
        drivers[HEATER]._set(True)
        drivers[HEATER].error = Unavailable("the answer was lost")
        drivers[HEATER].go_on.set()
        assert (await command).verdict is Verdict.FAILED
        refused = await home.switch(PUMP, True, Origin.CLI)
        assert (refused.verdict, drivers[PUMP].calls) == (Verdict.REFUSED, [])
        assert refused.reason == f"interlock: {HEATER} is not known to be off"
        drivers[HEATER].error = None
        await home.until(lambda: home.controller.state(HEATER) == "OFF")
        assert (await home.switch(PUMP, True, Origin.CLI)).confirmed
        assert not drivers[HEATER].output


# -- over a stop and a restart --------------------------------------------------------------------------------


async def test_a_stop_while_on_is_at_work_leaves_it_off(tmp_path: Path) -> None:
    """The device has done it already, its answer is still on the way: what is not confirmed is no reason to go."""
    driver = Mute()
    async with house(tmp_path, settings({"device": HEATER}), {HEATER: driver}) as home:
        await known(home)
        driver.answer.clear()
        command = asyncio.create_task(home.switch(HEATER, True, Origin.CLI))
        await home.until(lambda: driver.output)
    assert (await command).verdict is Verdict.FAILED
    assert (driver.output, driver.calls[-1][:2]) == (False, ("switch", False))


async def test_a_stop_never_has_two_of_an_interlock_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On is the safe state of one; it stays off where the other, which is on, cannot be reached."""
    monkeypatch.setattr("edge_energy.relays.controller.STOPPING", 0.5)
    drivers = {HEATER: Driver(), PUMP: Driver()}
    found = settings({"device": HEATER, "safe_state": "on", "lease": "0s"}, {"device": PUMP}, interlock=BOTH)
    async with house(tmp_path, found, drivers) as home:
        for device in drivers:
            home.tell(device, output=device == HEATER)
        await home.until(lambda: home.controller.state(PUMP) == "OFF")
        assert (await home.switch(HEATER, False, Origin.CLI)).confirmed
        assert (await home.switch(PUMP, True, Origin.CLI)).confirmed
        drivers[PUMP].error = Unavailable("away")
    assert (drivers[HEATER].output, drivers[PUMP].output) == (False, True)


async def test_what_a_hand_has_ended_is_not_begun_again_by_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Switched on for an hour, off at the device: the end that was kept for the restart is over as well."""
    monkeypatch.setattr("edge_energy.relays.state.GRACE", 0.1)
    driver, found = Driver(timer=False), settings({"device": HEATER, "safe_state": "leave"})
    async with house(tmp_path, found, {HEATER: driver}) as home:
        await known(home)
        assert (await home.switch(HEATER, True, Origin.CLI, for_=3600.0)).confirmed
        driver.press()
        home.tell(HEATER, output=False)
        await home.until(lambda: home.controller.state(HEATER) == "OFF")
    calls = len(driver.calls)
    async with house(tmp_path, found, {HEATER: driver}) as home:
        await known(home)
        assert (later(home, 7200.0), len(driver.calls), driver.output) == ([], calls, False)


async def test_off_by_a_person_within_a_window_outlives_a_restart(tmp_path: Path) -> None:
    """It counts until the window ends; a reload of the configuration must not begin the window once more."""
    now, driver = datetime.now(ZoneInfo("Europe/Paris")), Driver()
    start, end = (f"{now + timedelta(hours=hours):%H:%M}" for hours in (-3, 3))
    found = settings(ONE, schedule=[{"relay": HEATER, "start": start, "end": end}])
    async with house(tmp_path, found, {HEATER: driver}) as home:
        home.tell(HEATER, output=False)
        await home.until(lambda: driver.output)
        assert (await home.switch(HEATER, False, Origin.CLI)).confirmed
    calls = len(driver.calls)
    async with house(tmp_path, found, {HEATER: driver}) as home:
        await known(home)
        await home.until(lambda: HEATER in home.controller._planner._scheduled)  # it knows of the window
        assert (later(home), driver.output) == ([], False)
        assert not any(on for _, on, _ in driver.calls[calls:])


# -- two at once ----------------------------------------------------------------------------------------------


async def test_the_rival_of_a_welded_contact_stays_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said to be off while current flows: for an interlock it is on."""
    monkeypatch.setattr("edge_energy.relays.watch.LAGGING", 0.05)
    monkeypatch.setattr("edge_energy.relays.watch.LASTING", 0.05)
    wander = iter(range(1000, 9000))
    found = settings({"device": HEATER}, {"device": PUMP}, interlock=BOTH)
    async with house(tmp_path, found) as home:
        await known(home)

        def noticed() -> bool:
            home.tell(HEATER, power=float(next(wander)))
            return heater(home).watch.draws

        await home.until(noticed)
        refused = await home.switch(PUMP, True, Origin.CLI)
        assert refused.verdict is Verdict.REFUSED
        assert "interlock" in refused.reason
        assert not any(on for _, on, _ in home.drivers[PUMP].calls)


async def test_two_at_once_do_not_share_one_place_in_a_metered_budget(tmp_path: Path) -> None:
    """The meter tells of neither yet: the second finds the first, which is still on its way, counted."""
    found = settings(
        {"device": HEATER, "power": 2000},
        {"device": PUMP, "power": 2000},
        budget=[{"limit": 3000, "meter": "grid", "relays": [HEATER, PUMP]}],
    )
    async with house(tmp_path, found) as home:
        await known(home)
        home.tell("grid", power=100.0)
        await home.until(lambda: home.controller.why(HEATER)["inputs"]["budget total"] == 100.0)
        ended = await asyncio.gather(*(home.switch(relay, True, Origin.CLI) for relay in (HEATER, PUMP)))
        assert sorted(outcome.verdict for outcome in ended) == [Verdict.CONFIRMED, Verdict.REFUSED]
        assert [home.drivers[relay].output for relay in (HEATER, PUMP)] == [outcome.confirmed for outcome in ended]


# -- commands that come twice, or from a wrong clock ----------------------------------------------------------


async def test_a_stale_copy_leaves_alone_what_is_remembered_of_its_command(tmp_path: Path) -> None:
    """A broker repeats it, and the door refuses that; sent once more after a restart it is still known."""
    found, ids = settings(ONE), {"id": "order-1", "foreign": True}
    async with house(tmp_path, found) as home:
        await known(home)
        assert (await home.switch(HEATER, True, Origin.MQTT, **ids)).confirmed
        copy = home.command(HEATER, True, Origin.MQTT, **ids)
        assert home.controller.refuse(copy, "repeated by the broker").confirmed  # as it was then
        assert (await home.switch(HEATER, False, Origin.CLI)).confirmed
    async with house(tmp_path, found) as home:
        await known(home)
        assert (await home.switch(HEATER, True, Origin.MQTT, **ids)).confirmed  # as it was then
        assert not any(on for _, on, _ in home.drivers[HEATER].calls)


async def test_a_sender_whose_clock_is_ahead_blocks_nobody(tmp_path: Path) -> None:
    """What was issued tomorrow is refused; it would be newer than every OFF of today."""
    async with house(tmp_path, settings(ONE)) as home:
        await known(home)
        ahead = await home.switch(HEATER, True, Origin.MQTT, issued_at=time.time() + 86400)
        assert (ahead.verdict, home.drivers[HEATER].calls) == (Verdict.REFUSED, [])
        assert "future" in ahead.reason
        assert (await home.switch(HEATER, False, Origin.MQTT, issued_at=time.time())).confirmed


# -- trying again ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
async def test_off_to_a_device_that_is_away_is_tried_more_and_more_slowly(tmp_path: Path) -> None:
    """Also where a person wished it: the radio and the journal are spared, and no try is forgotten."""
    driver, tries = Driver(), list[float]()
    inner = driver.switch

    async def counting(on: bool, for_: float | None = None) -> None:  # noqa: FBT001 - as the contract
        tries.append(uptime_seconds())
        await inner(on, for_)

    async with house(tmp_path, settings(ONE), {HEATER: driver}) as home:
        await known(home)
        assert (await home.switch(HEATER, True, Origin.CLI)).confirmed
        driver.error, driver.switch = Unavailable("away"), counting  # type: ignore[method-assign]
        assert (await home.switch(HEATER, False, Origin.CLI)).verdict is Verdict.FAILED
        await home.until(lambda: len(tries) >= 6)
        waits = [after - before for before, after in pairwise(tries)]
        assert all(wait >= 0.02 * 2**n for n, wait in enumerate(waits)), waits
        driver.error = None
        await home.until(lambda: not driver.output)


def test_the_planner_is_never_due_at_once_again() -> None:
    """`max_on` is over, and OFF fails: the moment that has passed must not be asked for again and again."""
    planner = Planner(settings({"device": HEATER, "max_on": "10s", "lease": "0s"}), ZoneInfo("UTC"), 0.0)
    planner.reading(HEATER, {"output": False}, 1.0)
    planner.wish(HEATER, Wish(True, Origin.CLI, 2.0))
    planner.confirmed(HEATER, True, 2.0)
    assert planner.due(2.0, None) == 12.0
    now, tries = 12.0, 0
    while now < 1000.0:
        for action in planner.actions(now, None):
            assert not action.on
            tries += 1
            planner.relays[HEATER].failed(now, "away")
        due = planner.due(now, None)
        assert due > now
        now = due
    assert 5 <= tries <= 15


async def test_a_lease_is_taken_as_soon_as_the_device_has_a_timer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way by which its timer is set was not there when it was switched on."""
    monkeypatch.setattr("edge_energy.relays.actor.NO_TIMER", 0.05)
    driver = Driver(timer=False)
    async with house(tmp_path, settings(ONE), {HEATER: driver}) as home:
        await known(home)
        assert (await home.switch(HEATER, True, Origin.CLI)).confirmed
        assert driver.calls == [("switch", True, None)]
        driver.timer = True
        await home.until(lambda: driver.calls[1:] == [("renew", True, 60.0)])
        await home.until(lambda: heater(home).leased_until is not None)
        assert driver.edges == 1


async def test_a_cut_out_does_not_wait_for_the_pause_after_an_earlier_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next try would be in half a minute; an overload is cut out at once."""
    monkeypatch.setattr("edge_energy.relays.state.FIRST_RETRY", 300.0)
    monkeypatch.setattr("edge_energy.relays.state.GRACE", 0.1)
    driver = Driver()
    async with house(tmp_path, settings({"device": HEATER, "max_power": 2500}), {HEATER: driver}) as home:
        await known(home)
        assert (await home.switch(HEATER, True, Origin.CLI)).confirmed
        driver.error = Unavailable("away")
        assert (await home.switch(HEATER, False, Origin.CLI)).verdict is Verdict.FAILED
        driver.error = None
        home.tell(HEATER, output=True, power=2400.0)
        await home.until(lambda: home.controller.state(HEATER) == "ON")
        assert heater(home).retry_at > uptime_seconds() + 20
        home.tell(HEATER, output=True, power=9000.0)
        await home.until(lambda: not driver.output, 2)


# -- defects, and the test of a timer -------------------------------------------------------------------------


class Defective(Driver):
    """A driver whose first OFF meets a mistake in its program."""

    async def switch(self, on: bool, for_: float | None = None) -> None:  # noqa: FBT001 - as the contract
        """See `interfaces.Relay`."""
        if not on and not any(not told for _, told, _ in self.calls):
            self.calls.append(("switch", on, for_))
            raise ValueError("a defect")
        await super().switch(on, for_)


async def test_a_defect_in_a_driver_ends_the_controller_in_the_safe_state(tmp_path: Path) -> None:
    """Its relay would count as being switched for ever: `run` raises instead, and the supervisor begins anew."""
    driver = Defective()
    with pytest.raises(ValueError, match="a defect"):
        await overload(tmp_path, driver)
    assert not driver.output


async def overload(directory: Path, driver: Driver) -> None:
    """Run a house whose heater draws too much, until its controller ends by itself."""
    async with house(directory, settings({"device": HEATER, "max_power": 2500}), {HEATER: driver}) as home:
        await known(home)
        assert (await home.switch(HEATER, True, Origin.CLI)).confirmed
        home.tell(HEATER, output=True, power=9000.0)
        await home.until(lambda: not home.controller.up.is_set())


async def test_no_timer_is_tested_that_cannot_be_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It switches a load, so its intent is on disk before, and its outcome after it."""
    monkeypatch.setattr("edge_energy.relays.lease_test.TIMER", 1.2)
    monkeypatch.setattr("edge_energy.relays.lease_test._LATE", 0.1)
    driver = Driver()
    async with house(tmp_path, settings(ONE), {HEATER: driver}) as home:
        await known(home)
        home.journal._writable.clear()
        with pytest.raises(NotSwitched, match="disk is full"):
            await home.controller.test_lease(HEATER)
        home.journal._writable.set()
        assert not any(on for _, on, _ in driver.calls)
        await known(home)
        assert (await home.controller.test_lease(HEATER))["verified"]
        bodies = [body for _, body in await home.entries() if body.get("origin") == Origin.CLI]
        intent, ended = bodies[-2:]
        assert (intent["event"], intent["on"]) == ("intent", True)
        assert "test of its timer" in intent["reason"]
        assert (ended["event"], ended["outcome"], ended["command"]) == ("outcome", "confirmed", intent["command"])


async def test_on_by_a_person_ends_the_test_of_a_timer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wants the load on now gets it, and keeps it; the test does not put back what was before it."""
    monkeypatch.setattr("edge_energy.relays.lease_test.TIMER", 1.2)
    monkeypatch.setattr("edge_energy.relays.lease_test._LATE", 0.1)
    driver = Driver()
    async with house(tmp_path, settings(ONE), {HEATER: driver}) as home:
        await known(home)
        test = asyncio.create_task(home.controller.test_lease(HEATER))
        await home.until(lambda: driver.output)
        assert (await home.switch(HEATER, True, Origin.CLI)).confirmed
        with pytest.raises(NotSwitched, match="something newer"):
            await test
        wish = home.controller.report()[0]["wish"]
        assert (wish["on"], wish["origin"]) == (True, Origin.CLI)
        assert (later(home), driver.output, driver.calls[-1]) == ([], True, ("switch", True, 60.0))


async def test_a_defect_in_one_driver_at_the_stop_ends_no_other(tmp_path: Path) -> None:
    """Every load is brought to its safe state, whatever happens to another one."""
    broken, slow = Driver(), Driver()
    inner = slow.switch

    async def later(on: bool, for_: float | None = None) -> None:  # noqa: FBT001 - as the contract
        for _ in range(0 if on else 50):  # long after the other has failed
            await asyncio.sleep(0)
        await inner(on, for_)

    slow.switch = later  # type: ignore[method-assign]
    found = settings({"device": HEATER}, {"device": PUMP})
    async with house(tmp_path, found, {HEATER: broken, PUMP: slow}) as home:
        for device in (HEATER, PUMP):
            home.tell(device, output=False)
            assert (await home.switch(device, True, Origin.CLI)).confirmed
        broken.error = TypeError("a defect")
    assert not slow.output


async def test_a_load_that_was_never_on_makes_no_room(tmp_path: Path) -> None:
    """That it is off is heard after the meter's reading, which has nothing of it to take away."""
    budget = {"limit": 3000, "meter": "grid", "relays": [HEATER]}
    async with house(tmp_path, settings({"device": HEATER, "power": 2000}, budget=[budget])) as home:
        home.tell("grid", power=2900.0)
        home.tell(HEATER, output=False)
        await home.until(lambda: home.controller.state(HEATER) == "OFF")
        assert (await home.switch(HEATER, True, Origin.CLI)).verdict is Verdict.REFUSED
