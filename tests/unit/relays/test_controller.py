"""Every command ends in the right outcome, is recorded, and is carried out once; loads end in their safe state."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from edge_energy.clock import uptime
from edge_energy.errors import JournalFull, NotSwitched, Unavailable
from edge_energy.relays.command import Origin, UnknownRelay, UnknownState, Verdict
from edge_energy.relays.state import HEARD_RETRY
from tests.unit.relays.house import HEATER, PUMP, Driver, house, settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.relays.house import House

ONE = {"device": HEATER, "lease": "60s"}


async def test_a_command_is_confirmed_and_stands_in_the_audit_trail(tmp_path: Path) -> None:
    """The intent before, the outcome after; what was done and by whom can be looked up for ever."""
    async with house(tmp_path, settings(ONE)) as home:
        home.tell(HEATER, output=False)
        outcome = await home.switch(HEATER, True, Origin.CLI, reason="cold")
        assert outcome.confirmed
        assert home.drivers[HEATER].calls[-1] == ("switch", True, 60.0)
        (_, intent), (_, ended) = [e for e in await home.entries() if e[1].get("origin") == "cli"]
        assert (intent["event"], intent["on"], intent["reason"]) == ("intent", True, "cold")
        assert (ended["event"], ended["outcome"], ended["command"]) == ("outcome", "confirmed", intent["command"])
        assert home.controller.state(HEATER) == "ON"


async def test_on_waits_for_the_disk_and_off_does_not(tmp_path: Path) -> None:
    """What switches a load on is on disk before; what switches it off waits for nothing."""
    async with house(tmp_path, settings(ONE)) as home:
        home.tell(HEATER, output=False)
        driver, seen = home.drivers[HEATER], list[int]()
        await home.until(home.controller.up.is_set)
        inner = driver.switch

        async def counting(on: bool, for_: float | None = None) -> None:  # noqa: FBT001
            seen.append(home.journal.newest)
            await inner(on, for_)

        driver.switch = counting  # type: ignore[method-assign]
        before = home.journal.newest
        await home.switch(HEATER, True, Origin.CLI)
        assert seen[-1] > before
        home.journal._writable.clear()
        refused = await home.switch(HEATER, True, Origin.CLI)
        off = await home.switch(HEATER, False, Origin.CLI)
        again = await home.switch(HEATER, True, Origin.CLI)
        home.journal._writable.set()
        assert off.confirmed
        assert not driver.output
        assert [refused.verdict, again.verdict] == [Verdict.REFUSED, Verdict.REFUSED]
        assert "disk is full" in again.reason


async def test_on_is_refused_when_its_commit_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up at that very moment."""
    async with house(tmp_path, settings(ONE)) as home:
        home.tell(HEATER, output=False)

        def full(_commit: object) -> int:
            raise JournalFull("no space left")

        monkeypatch.setattr(home.journal._store, "commit", full)
        outcome = await home.switch(HEATER, True, Origin.CLI)
        assert outcome.verdict is Verdict.REFUSED
        assert not home.drivers[HEATER].output
        monkeypatch.undo()
        await home.until(lambda: not home.journal.full)


async def test_on_that_a_full_disk_refused_leaves_alone_what_is_to_be_left(tmp_path: Path) -> None:
    """Nobody touched it, and neither state is safer: nothing is wished of it that was not wished before."""
    driver = Driver(timer=False, output=True)
    async with house(tmp_path, settings({"device": HEATER, "safe_state": "leave"}), {HEATER: driver}) as home:
        home.tell(HEATER, output=True)
        await home.until(lambda: home.controller.state(HEATER) == "ON")
        home.journal._writable.clear()
        refused = await home.switch(HEATER, True, Origin.CLI)
        home.journal._writable.set()
        assert refused.verdict is Verdict.REFUSED
        assert home.controller.report()[0]["wish"] is None
        assert driver.output


@pytest.mark.parametrize("error", [Unavailable("it is away"), NotSwitched("it says yes and does nothing")])
async def test_what_the_device_does_not_do_has_failed(tmp_path: Path, error: Exception) -> None:
    """With the device's reason; and it is not switched on later, when nobody expects it any more."""
    async with house(tmp_path, settings(ONE)) as home:
        home.tell(HEATER, output=False)
        driver = home.drivers[HEATER]
        driver.error = error
        outcome = await home.switch(HEATER, True, Origin.CLI)
        assert (outcome.verdict, outcome.reason) == (Verdict.FAILED, str(error))
        assert home.controller.report()[0]["wish"]["on"] is False
        driver.error = None
        home.tell(HEATER, output=False)
        await home.switch(HEATER, False, Origin.CLI)
        assert sum(on for _, on, _ in driver.calls) == 1


async def test_off_that_failed_is_tried_again_until_it_is_off(tmp_path: Path) -> None:
    """Also where no state is the safe one: who wanted it off does not want it on when it is back."""
    driver = Driver(timer=False, output=True)
    async with house(tmp_path, settings({"device": HEATER, "safe_state": "leave"}), {HEATER: driver}) as home:
        home.tell(HEATER, output=True)
        await home.until(lambda: home.controller.state(HEATER) == "ON")
        driver.error = Unavailable("away")
        assert (await home.switch(HEATER, False, Origin.CLI)).verdict is Verdict.FAILED
        driver.error = None
        await home.until(lambda: not driver.output)


async def test_the_newer_command_supersedes_the_older(tmp_path: Path) -> None:
    """At once, also while the device is thinking; and never two at a time."""
    async with house(tmp_path, settings(ONE)) as home:
        home.tell(HEATER, output=False)
        driver = home.drivers[HEATER]
        driver.go_on.clear()
        first = asyncio.create_task(home.switch(HEATER, True, Origin.CLI))
        await home.until(lambda: driver.side_by_side == 1)
        second = asyncio.create_task(home.switch(HEATER, False, Origin.CLI))
        assert (await first).verdict is Verdict.SUPERSEDED
        driver.go_on.set()
        assert (await second).confirmed
        assert driver.most_side_by_side == 1
        assert not driver.output


async def test_on_that_waits_for_the_disk_is_ended_by_off(tmp_path: Path) -> None:
    """The disk is slow, OFF is not; when the disk is ready, nobody wants ON any more."""
    async with house(tmp_path, settings(ONE)) as home:
        home.tell(HEATER, output=False)
        with slow_disk(home):
            first = asyncio.create_task(home.switch(HEATER, True, Origin.CLI))
            await home.until(lambda: home.controller.report()[0]["wish"]["on"])
            assert (await home.switch(HEATER, False, Origin.CLI)).confirmed
        assert (await first).verdict is Verdict.SUPERSEDED
        assert not any(on for _, on, _ in home.drivers[HEATER].calls)


async def test_on_that_waited_too_long_for_the_disk_has_expired(tmp_path: Path) -> None:
    async with house(tmp_path, settings(ONE)) as home:
        home.tell(HEATER, output=False)
        with slow_disk(home):
            expires = uptime() / 1e9 + 0.1
            waiting = asyncio.create_task(home.switch(HEATER, True, Origin.CLI, expires=expires))
            await home.until(lambda: uptime() / 1e9 > expires)
        assert (await waiting).verdict is Verdict.EXPIRED
        assert not any(on for _, on, _ in home.drivers[HEATER].calls)


@contextmanager
def slow_disk(home: House) -> Iterator[None]:
    """Hold the journal's thread."""
    gate = threading.Event()
    home.journal._writer.submit(gate.wait)
    try:
        yield
    finally:
        gate.set()


async def test_an_expired_command_is_not_carried_out(tmp_path: Path) -> None:
    """By our uptime where it was born here, by the date where it comes from elsewhere."""
    async with house(tmp_path, settings(ONE)) as home:
        home.tell(HEATER, output=False)
        await home.until(lambda: home.controller.state(HEATER) == "OFF")
        late = await home.switch(HEATER, True, Origin.CLI, expires=0.0)
        old = await home.switch(HEATER, True, Origin.MQTT, expires_at=time.time() - 1)
        young = await home.switch(HEATER, True, Origin.MQTT, expires_at=time.time() + 60)
        assert [late.verdict, old.verdict, young.verdict] == [Verdict.EXPIRED, Verdict.EXPIRED, Verdict.CONFIRMED]


async def test_what_may_come_again_is_good_for_an_hour_at_most(tmp_path: Path) -> None:
    """So long its id is remembered, for certain; what has none is not known again anyway."""
    async with house(tmp_path, settings(ONE)) as home:
        home.tell(HEATER, output=False)
        more: dict[str, Any] = {"expires_at": time.time() + 3700}
        long = await home.switch(HEATER, True, Origin.MQTT, id="order-1", foreign=True, **more)
        assert (long.verdict, home.drivers[HEATER].output) == (Verdict.REFUSED, False)
        assert "at most an hour" in long.reason
        more["issued_at"] = time.time() + 1
        assert (await home.switch(HEATER, True, Origin.MQTT, **more)).confirmed
        more = {"expires_at": time.time() + 3500}
        assert (await home.switch(HEATER, True, Origin.MQTT, id="order-1", foreign=True, **more)).confirmed


async def test_a_command_from_elsewhere_is_refused_while_the_date_is_unknown(tmp_path: Path) -> None:
    """Nobody can say whether it is late; what is born here needs no date."""
    async with house(tmp_path, settings(ONE), trusted=False) as home:
        home.tell(HEATER, output=False)
        foreign = await home.switch(HEATER, True, Origin.MQTT, expires_at=time.time() + 60)
        assert foreign.verdict is Verdict.REFUSED
        assert "date" in foreign.reason
        assert (await home.switch(HEATER, True, Origin.MQTT)).confirmed


async def test_one_id_is_carried_out_once_also_after_a_restart(tmp_path: Path) -> None:
    """Brokers and clouds deliver twice; the second time gets the answer of the first."""
    found = settings(ONE)
    async with house(tmp_path, found) as home:
        home.tell(HEATER, output=False)
        ids = {"id": "order-1", "foreign": True}
        both = await asyncio.gather(*(home.switch(HEATER, True, Origin.MQTT, **ids) for _ in range(2)))
        assert [outcome.verdict for outcome in both] == [Verdict.CONFIRMED] * 2
        await home.switch(HEATER, False, Origin.CLI)
        assert (await home.switch(HEATER, True, Origin.MQTT, **ids)).confirmed  # as it was then
        assert not home.drivers[HEATER].output
        assert sum(call[:2] == ("switch", True) for call in home.drivers[HEATER].calls) == 1
    async with house(tmp_path, found) as home:
        home.tell(HEATER, output=False)
        assert (await home.switch(HEATER, True, Origin.MQTT, **ids)).confirmed
        assert not any(on for _, on, _ in home.drivers[HEATER].calls)


async def test_what_a_crash_interrupted_has_failed_and_is_never_repeated(tmp_path: Path) -> None:
    """Found unfinished at the start: reported, not carried out; the same id later gets that answer."""
    found, drivers = settings(ONE), {HEATER: Driver()}
    async with house(tmp_path, found, drivers) as home:
        home.tell(HEATER, output=False)
        await home.until(lambda: home.controller.state(HEATER) == "OFF")
        command = home.command(HEATER, True, Origin.MQTT, id="order-2", foreign=True)
        # What a SIGKILL between the intent and its outcome leaves on disk.
        await home.controller._audit.intent(command, HEATER)
    async with house(tmp_path, found) as home:
        home.tell(HEATER, output=False)
        bodies = [body for _, body in await home.entries() if body.get("command") == "order-2"]
        assert [(body["event"], body.get("outcome")) for body in bodies] == [("intent", None), ("outcome", "failed")]
        assert "interrupted" in bodies[1]["reason"]
        again = await home.switch(HEATER, True, Origin.MQTT, id="order-2", foreign=True)
        assert again.verdict is Verdict.FAILED
        assert not any(on for _, on, _ in home.drivers[HEATER].calls)


async def test_loads_are_brought_to_their_safe_state_at_the_start_and_at_the_stop(tmp_path: Path) -> None:
    """Each to its own; what is to be left as it is, is left."""
    kinds = {"off": HEATER, "on": PUMP, "leave": "shelly-aaaaaa000003"}
    tables = [{"device": device, "safe_state": safe} for safe, device in kinds.items()]
    drivers = {device: Driver(output=safe != "on") for safe, device in kinds.items()}
    async with house(tmp_path, settings(*tables), drivers) as home:
        for device, driver in drivers.items():
            home.tell(device, output=driver.output)
        await home.until(lambda: not drivers[HEATER].output and drivers[PUMP].output)
        assert not drivers[kinds["leave"]].calls
        assert (await home.switch(HEATER, True, Origin.CLI)).confirmed
        assert (await home.switch(PUMP, False, Origin.CLI)).confirmed
    assert (drivers[HEATER].output, drivers[PUMP].output) == (False, True)
    assert not drivers[kinds["leave"]].calls


async def test_a_defect_of_ours_ends_in_the_safe_state_and_stays_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor starts the controller again; a load that went on and off with every crash would be worse."""
    async with house(tmp_path, settings(ONE)) as home:
        home.tell(HEATER, output=False)
        await home.switch(HEATER, True, Origin.CLI)
        with monkeypatch.context() as defect:
            defect.setattr(home.controller._planner, "reading", None)
            home.tell(HEATER, power=1.0)
            await home.until(lambda: not home.drivers[HEATER].output)
        again = asyncio.create_task(home.controller.run())
        home.tell(HEATER, output=False)
        await home.until(lambda: home.controller.report()[0]["wish"]["on"] is False)
        with pytest.raises(TimeoutError):
            await home.until(lambda: home.drivers[HEATER].output, 0.5)
        again.cancel()


async def test_nothing_is_switched_before_the_start_and_after_the_stop(tmp_path: Path) -> None:
    """The doors are open longer than that; a load that was made safe stays so."""
    async with house(tmp_path, settings(ONE)) as home:
        home.tell(HEATER, output=False)
        assert (await home.switch(HEATER, True, Origin.HTTP)).confirmed
        await home.controller._make_safe()
        late = await home.switch(HEATER, True, Origin.HTTP)
        assert (late.verdict, home.drivers[HEATER].output) == (Verdict.REFUSED, False)


async def test_the_same_id_for_something_else_is_refused(tmp_path: Path) -> None:
    """At work or ended: its answer would be the answer to another question."""
    ids: dict[str, Any] = {"id": "order-3", "foreign": True}
    async with house(tmp_path, settings(ONE)) as home:
        home.tell(HEATER, output=False)
        home.drivers[HEATER].go_on.clear()
        first = asyncio.create_task(home.switch(HEATER, False, Origin.HTTP, **ids))
        await home.until(lambda: home.drivers[HEATER].side_by_side == 1)
        assert (await home.switch(HEATER, True, Origin.HTTP, **ids)).verdict is Verdict.REFUSED
        home.drivers[HEATER].go_on.set()
        assert (await first).confirmed
        assert (await home.switch(HEATER, True, Origin.HTTP, **ids)).verdict is Verdict.REFUSED
        assert (await home.switch(HEATER, False, Origin.HTTP, **ids)).confirmed


async def test_a_refused_command_may_be_sent_again_under_its_id(tmp_path: Path) -> None:
    """Nothing was done, so nothing can be done twice."""
    ids: dict[str, Any] = {"id": "order-4", "foreign": True}
    async with house(tmp_path, settings({"device": HEATER, "min_off": "0.3s"})) as home:
        home.tell(HEATER, output=False)
        assert (await home.switch(HEATER, True, Origin.HTTP, **ids)).verdict is Verdict.REFUSED
        await home.until(lambda: not home.controller._planner.relays[HEATER].rests(uptime() / 1e9))
        assert (await home.switch(HEATER, True, Origin.HTTP, **ids)).confirmed


async def test_what_was_issued_before_something_newer_is_superseded(tmp_path: Path) -> None:
    """Networks change the order; what is newer is what counts."""
    now = time.time()
    async with house(tmp_path, settings(ONE)) as home:
        home.tell(HEATER, output=False)
        assert (await home.switch(HEATER, False, Origin.MQTT, issued_at=now - 1)).confirmed
        old = await home.switch(HEATER, True, Origin.MQTT, issued_at=now - 2)
        assert (old.verdict, home.drivers[HEATER].output) == (Verdict.SUPERSEDED, False)
        assert (await home.switch(HEATER, True, Origin.MQTT, issued_at=now)).confirmed
        ancient = await home.switch(HEATER, False, Origin.MQTT, issued_at=now - 60)
        assert ancient.verdict is Verdict.EXPIRED


async def test_a_device_that_hangs_holds_up_the_stop_for_some_seconds_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_energy.relays.controller.STOPPING", 0.2)
    drivers = {HEATER: Driver(), PUMP: Driver()}
    async with house(tmp_path, settings(ONE, {"device": PUMP}), drivers) as home:
        for device in drivers:
            home.tell(device, output=False)
            await home.switch(device, True, Origin.CLI)
        drivers[HEATER].go_on.clear()
        waiting = asyncio.create_task(home.switch(HEATER, True, Origin.CLI))
        await home.until(lambda: drivers[HEATER].side_by_side == 1)
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert (await waiting).verdict is Verdict.FAILED
    assert not drivers[PUMP].output


async def test_a_lease_is_renewed_without_an_edge_and_runs_out_without_us(tmp_path: Path) -> None:
    """While we live the load stays on; when we are gone, the device switches it off by itself."""
    driver = Driver()
    async with house(tmp_path, settings({"device": HEATER, "lease": "2s"}), {HEATER: driver}) as home:
        home.tell(HEATER, output=False)
        await home.switch(HEATER, True, Origin.CLI)
        await home.until(lambda: sum(call[0] == "renew" for call in driver.calls) >= 4)
        assert (driver.output, driver.edges) == (True, 1)
        entries = len(await home.entries())
        driver.error = Unavailable("gone")
        await home.until(lambda: not driver.output)
        await home.until(lambda: home.controller.state(HEATER) == "None")  # nobody knows any more
        assert len(await home.entries()) <= entries + 2  # renewals are not recorded
        driver.error = None
        home.tell(HEATER, output=False)
        await home.until(lambda: driver.output, 35)  # what was wished still counts


async def test_a_hand_at_the_switch_is_not_undone(tmp_path: Path) -> None:
    """Neither by a renewal nor by what was wished before: the newest wish counts, whoever had it."""
    driver = Driver()
    async with house(tmp_path, settings({"device": HEATER, "lease": "2s"}), {HEATER: driver}) as home:
        home.tell(HEATER, output=False)
        await home.switch(HEATER, True, Origin.CLI)
        driver.press()
        await home.until(lambda: driver.calls[-1][0] == "renew")
        calls = len(driver.calls)
        with pytest.raises(TimeoutError):
            await home.until(lambda: len(driver.calls) > calls + 1, 1.5)
        assert not driver.output


async def test_a_hand_that_only_a_renewal_finds_is_known_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that told nothing of it: what the renewal was answered is as true as a report, and no lease's end."""
    monkeypatch.setattr("edge_energy.relays.state.GRACE", 0.1)
    monkeypatch.setattr("edge_energy.relays.controller.LOOK", 0.1)
    driver = Driver()
    async with house(tmp_path, settings({"device": HEATER, "lease": "2s"}), {HEATER: driver}) as home:
        home.tell(HEATER, output=False)
        await home.switch(HEATER, True, Origin.CLI)
        driver.press()
        await home.until(lambda: home.controller.state(HEATER) == "OFF")
        wish = home.controller.report()[0]["wish"]
        assert (wish["on"], wish["origin"]) == (False, "device")
        assert not driver.output


async def test_of_a_device_that_is_away_nothing_is_claimed(tmp_path: Path) -> None:
    """Its timer or a hand may have switched it; who shows it as OFF would not know."""
    async with house(tmp_path, settings(ONE)) as home:
        home.tell(HEATER, output=False)
        await home.until(lambda: home.controller.state(HEATER) == "OFF")
        home.live.availability(HEATER, available=False)
        assert home.controller.state(HEATER) == "None"
        home.live.availability(HEATER, available=True)
        assert home.controller.state(HEATER) == "OFF"


async def test_toggle_needs_a_known_state(tmp_path: Path) -> None:
    """Guessing would do the opposite of what is wanted."""
    driver = Driver(timer=False)
    async with house(tmp_path, settings({"device": HEATER, "safe_state": "leave"}), {HEATER: driver}) as home:
        with pytest.raises(UnknownState):
            home.command(HEATER, None, Origin.CLI)
        home.tell(HEATER, output=True)
        await home.until(lambda: home.controller.state(HEATER) == "ON")
        assert not home.command(HEATER, None, Origin.CLI).on


async def test_names_lead_to_relays(tmp_path: Path) -> None:
    """By id, by friendly name; what cannot be switched says what to write into the configuration."""
    async with house(tmp_path, settings(ONE, {"device": HEATER, "channel": "1"})) as home:
        home.live.describe(HEATER, "boiler", "")
        home.live.describe("zigbee-0x01", "lamp", "")
        assert home.controller.resolve(f"{HEATER}_1") == f"{HEATER}_1"
        assert home.controller.resolve(HEATER) == HEATER
        with pytest.raises(UnknownRelay, match="several"):
            home.controller.resolve("boiler")
        with pytest.raises(UnknownRelay, match=r'\[\[relay\]\]\ndevice = "zigbee-0x01"'):
            home.controller.resolve("lamp")
        with pytest.raises(UnknownRelay, match="edge-energy devices"):
            home.controller.resolve("nobody")


async def test_an_overload_is_cut_out_and_stays_so_until_somebody_switches_it_on(tmp_path: Path) -> None:
    """Within 100 ms of the reading, independent of commits; an incident is opened, and resolved by a person."""
    driver = Driver()
    found = settings({"device": HEATER, "max_power": 2500})
    async with house(tmp_path, found, {HEATER: driver}) as home:
        home.tell(HEATER, output=False)
        await home.switch(HEATER, True, Origin.CLI)
        with slow_disk(home):
            home.tell(HEATER, power=2600.0)
            for _ in range(100):  # turns of the loop: a busy machine makes them longer, but needs no more of them
                await asyncio.sleep(0.001)
            assert not driver.output
        home.tell(HEATER, power=0.0, output=False)
        await home.until(lambda: home.controller.state(HEATER) == "OFF")
        by_schedule = home.controller._planner.rules.refusal(HEATER, True, 1e9)
        assert "overload" in by_schedule
        assert (await home.switch(HEATER, True, Origin.CLI)).confirmed
        await home.until(lambda: not home.controller.report()[0]["findings"])
        incidents = [body for kind, body in await home.entries() if kind == "incident"]
        assert [body["event"] for body in incidents] == ["opened", "resolved"]


async def test_a_cut_out_outlives_a_restart(tmp_path: Path) -> None:
    """Whatever overloaded it is still there; a schedule must not find it out again every night."""
    driver = Driver()
    found = settings({"device": HEATER, "max_power": 2500})
    async with house(tmp_path, found, {HEATER: driver}) as home:
        home.tell(HEATER, output=False)
        await home.switch(HEATER, True, Origin.CLI)
        home.tell(HEATER, power=2600.0)
        await home.until(lambda: not driver.output)
    async with house(tmp_path, found, {HEATER: driver}) as home:
        home.tell(HEATER, output=False, power=0.0)
        await home.until(lambda: home.controller.report()[0]["findings"])
        assert (await home.switch(HEATER, True, Origin.CLI)).confirmed
        await home.until(lambda: not home.controller.report()[0]["findings"])
    async with house(tmp_path, found, {HEATER: driver}) as home:
        assert not home.controller.report()[0]["findings"]
        incidents = [body for kind, body in await home.entries() if kind == "incident"]
        assert [body["event"] for body in incidents] == ["opened", "resolved"]


async def test_a_welded_contact_is_never_called_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said to be off while current flows: an incident, no `OFF` for anybody; resolved when the current is gone."""
    monkeypatch.setattr("edge_energy.relays.watch.LAGGING", 0.1)
    monkeypatch.setattr("edge_energy.relays.watch.LASTING", 0.1)
    async with house(tmp_path, settings(ONE)) as home:
        home.tell(HEATER, output=False)
        await home.switch(HEATER, True, Origin.CLI)
        home.tell(HEATER, power=1230.0)
        assert (await home.switch(HEATER, False, Origin.CLI)).confirmed
        wander = iter(range(1000, 2000))

        def noticed() -> bool:
            home.tell(HEATER, power=float(next(wander)))
            return home.controller.state(HEATER) == "None"

        await home.until(noticed)
        report = home.controller.report()[0]
        assert (report["output"], report["draws"], report["state"]) == (False, True, "None")
        assert "still draws" in report["findings"][0]
    async with house(tmp_path, settings(ONE)) as home:  # a restart makes nothing true
        home.tell(HEATER, output=False)
        await home.until(lambda: home.controller.report()[0]["output"] is False)
        assert home.controller.state(HEATER) == "None"
        monkeypatch.setattr("edge_energy.relays.audit.WITHIN", 0.0)
        home.tell(HEATER, power=0.0)
        await home.until(lambda: home.controller.state(HEATER) == "OFF")
        incidents = [body for kind, body in await home.entries() if kind == "incident"]
        assert [body["event"] for body in incidents] == ["opened", "resolved"]


async def test_a_cut_out_does_not_wait_for_a_command_at_work(tmp_path: Path) -> None:
    """A device that takes ten seconds to confirm ON, while it draws too much."""
    driver = Driver()
    async with house(tmp_path, settings({"device": HEATER, "max_power": 2500}), {HEATER: driver}) as home:
        home.tell(HEATER, output=False)
        driver.go_on.clear()
        waiting = asyncio.create_task(home.switch(HEATER, True, Origin.CLI))
        await home.until(lambda: driver.side_by_side == 1)
        home.tell(HEATER, power=2600.0)
        assert (await waiting).verdict is Verdict.SUPERSEDED
        driver.go_on.set()
        await home.until(lambda: driver.calls[-1][:2] == ("switch", False))


async def test_for_a_time_then_back(tmp_path: Path) -> None:
    """By the device's own timer as well, where it has one: also if nobody is there any more."""
    driver = Driver()
    found = settings({"device": HEATER, "safe_state": "leave"})
    async with house(tmp_path, found, {HEATER: driver}) as home:
        home.tell(HEATER, output=False)
        began = uptime() / 1e9
        assert (await home.switch(HEATER, True, Origin.CLI, for_=1.0)).confirmed
        for_ = driver.calls[-1][2]
        assert for_ is not None
        assert began + 1.0 - uptime() / 1e9 - 1e-6 <= for_ <= 1.0 + 1e-6  # the commit before it takes its time
        await home.until(lambda: not driver.output)
        await home.until(lambda: home.controller.state(HEATER) == "OFF")


async def test_what_was_switched_for_a_time_ends_after_a_restart_too(tmp_path: Path) -> None:
    """On a device without a timer of its own, whose state is to be left as it is at a stop."""
    driver, found = Driver(timer=False), settings({"device": HEATER, "safe_state": "leave"})
    async with house(tmp_path, found, {HEATER: driver}) as home:
        home.tell(HEATER, output=False)
        began = time.monotonic()
        assert (await home.switch(HEATER, True, Origin.CLI, for_=1.5)).confirmed
    assert driver.output
    async with house(tmp_path, found, {HEATER: driver}) as home:
        home.tell(HEATER, output=True)
        await home.until(lambda: not driver.output)
    assert time.monotonic() - began >= 1.4  # and not before its time


async def test_what_does_not_work_is_tried_again_more_and_more_slowly(tmp_path: Path) -> None:
    """A device that is away gets no storm of commands; once it is heard, it is not far behind."""
    driver = Driver(output=True)
    driver.error = Unavailable("away")
    async with house(tmp_path, settings(ONE), {HEATER: driver}) as home:
        home.tell(HEATER, output=True)
        await home.until(lambda: len(driver.calls) >= 2)
        state = home.controller._planner.relays[HEATER]
        waits = []
        for _ in range(12):
            state.failed(0.0, "away")
            waits.append(state.retry_at)
        assert waits[-1] == 300.0
        assert waits == sorted(waits)
        state.reported(True, 10.0)
        assert state.retry_at <= 10.0 + HEARD_RETRY


@pytest.mark.parametrize("answers", [{"works"}, {"clicks"}, {"no restart"}, {"no timer"}])
async def test_the_test_of_a_timer_tells_apart_what_devices_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: set[str]
) -> None:
    """Whether sending it again restarts it, without a click; and that is known after a restart, too."""
    monkeypatch.setattr("edge_energy.relays.lease_test.TIMER", 1.2)
    monkeypatch.setattr("edge_energy.relays.lease_test._LATE", 0.1)
    driver = _TimedDriver(answers)
    async with house(tmp_path, settings(ONE), {HEATER: driver}) as home:
        driver.tell = lambda on: home.tell(HEATER, output=on)
        home.tell(HEATER, output=False)
        found = await home.controller.test_lease(HEATER)
        assert found["verified"] is (answers == {"works"}), found
        await home.until(lambda: not driver.output)
    async with house(tmp_path, settings(ONE)) as home:
        assert home.controller.report()[0]["lease_verified"] is (answers == {"works"})


class _TimedDriver(Driver):
    """A device whose timer does something of its own."""

    def __init__(self, answers: set[str]) -> None:
        super().__init__()
        self._answers = answers
        self.tell: Any = bool

    def _start(self, for_: float | None) -> None:
        if for_ is not None and ("no timer" in self._answers or (self._handle and "no restart" in self._answers)):
            return
        if for_ is not None and self._handle is not None and "clicks" in self._answers:
            self._set(False)
            self._set(True)
        super()._start(for_)

    def _set(self, on: bool) -> None:  # noqa: FBT001
        super()._set(on)
        self.tell(on)
