"""What `interfaces.Relay` promises, held by every driver over every connection, with simulated devices."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import pkgutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from edge_energy.errors import NotSwitched, SwitchedElsewhere, Unavailable
from edge_energy.relays import drivers
from edge_energy.relays.drivers import choice
from tests.contract.relay_devices import KINDS, PASSWORD
from tests.contract.side_by_side import connected, over
from tests.unit.sources.shelly.scripted import until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from tests.contract.relay_devices import Rig
    from tests.servers.mosquitto import Mosquitto

GIVEN_UP = 6  # connections, as many as a device has for everybody
LONGEST = 12.0  # seconds until any outcome
SOON = 8.0  # seconds until a refusal, which waits for no way to be given up
TIMER = 6.0

SHELLY = [name for name, kind in KINDS.items() if kind.product]
GEN2 = [name for name in SHELLY if "gen2" in name]
BY_NETWORK = [name for name in SHELLY if KINDS[name].by != "mqtt"]
BY_BROKER = [name for name, kind in KINDS.items() if kind.by == "mqtt"]
HTTP_PASSWORD = ["gen2 http, password", "gen1 http, password"]
TIMED = [name for name in KINDS if name != "gen1 mqtt"]


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up sooner, but leave time for a command after one that was lost."""
    monkeypatch.setattr(choice, "LONGEST", 3.0)


@pytest.fixture
def _very_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up sooner, where nothing is to be waited for."""
    monkeypatch.setattr(choice, "LONGEST", 1.0)


async def fails(work: Coroutine[Any, Any, None], *errors: type[Exception], within: float = LONGEST) -> str:
    """Expect one of these errors, soon enough and without a password in it; return its words."""
    began = time.monotonic()
    with pytest.raises(errors) as failed:
        await work
    assert time.monotonic() - began <= within
    assert type(failed.value) in errors or issubclass(type(failed.value), Unavailable)
    words = str(failed.value)
    assert words
    assert PASSWORD not in words
    return words


async def switch_when_possible(house: Rig, on: bool, within: float) -> None:  # noqa: FBT001 - as `switch`
    """Switch until the device takes it."""
    async with asyncio.timeout(within):
        while True:
            with suppress(Unavailable):
                await house.relay.switch(on)
                return
            await asyncio.sleep(0.05)


def test_every_driver_is_held_to_this_contract() -> None:
    """One that is not in `KINDS` would be tested by nobody."""
    modules = [
        importlib.import_module(f"{drivers.__name__}.{module.name}")
        for module in pkgutil.iter_modules(drivers.__path__)
    ]
    found = {
        member
        for module in modules
        for _, member in inspect.getmembers(module, inspect.isclass)
        if member.__module__ == module.__name__ and hasattr(member, "tell") and member.__name__ != "Way"
    }
    assert found == {kind.driver for kind in KINDS.values()}


@over(*KINDS)
async def test_what_is_confirmed_is_true(house: Rig) -> None:
    """On, on again, off, off again: the relay moves when it has to, and only then."""
    before = (await house.until(output=False))["edges"]
    for on, edges in ((True, 1), (True, 1), (False, 2), (False, 2), (True, 3)):
        await house.relay.switch(on)
        await house.until(2, output=on, edges=before + edges)


@over(*TIMED)
async def test_the_device_switches_back_by_itself(house: Rig) -> None:
    """And at once where it was told so; nobody tells it anything afterwards."""
    assert house.relay.timer
    for on in (True,) if house.zigbee else (True, False):
        await house.relay.switch(not on)
        edges = (await house.until(output=not on))["edges"]
        began = time.monotonic()
        await house.relay.switch(on, TIMER)
        await house.until(TIMER + 10, output=not on, edges=edges + 2)
        assert time.monotonic() - began >= TIMER - 0.5


@over(*TIMED)
async def test_a_command_without_a_timer_ends_the_one_that_runs(house: Rig) -> None:
    """Else it would be switched back in the middle of it."""
    await house.relay.switch(True, 30)
    await house.timer(30)
    await house.relay.switch(True)
    await house.until(2, output=True, timer=0)


@over(*TIMED)
async def test_a_renewal_starts_the_timer_again_without_a_click(house: Rig) -> None:
    """Each has its own length; the relay does not move."""
    await house.relay.switch(True, 10)
    edges = (await house.until(output=True))["edges"]
    for seconds in (60, 90, 120):
        await house.relay.renew(True, seconds)
        await house.timer(seconds, output=True, edges=edges)


@over(*TIMED)
async def test_a_hand_at_the_switch_is_not_undone_by_a_renewal(house: Rig) -> None:
    """It says so, and switches nothing."""
    await house.relay.switch(True, 30)
    pressed = await house.do("press")
    assert not pressed["output"]
    words = await fails(house.relay.renew(True, 30), SwitchedElsewhere, within=SOON)
    assert "switched off by somebody else" in words
    truth = await house.truth()
    assert (truth["output"], truth["edges"]) == (False, pressed["edges"])


@over("gen1 mqtt")
async def test_where_the_timer_cannot_be_reached_nothing_is_switched(house: Rig) -> None:
    """Gen1 by MQTT: on for a while would be on for ever."""
    assert not house.relay.timer
    edges = (await house.until(output=False))["edges"]
    words = await fails(house.relay.switch(True, 30), Unavailable, within=1)
    assert "[[shelly]]" in words
    assert (await house.truth())["edges"] == edges


@over(*KINDS)
async def test_a_device_that_says_yes_and_does_nothing_has_not_switched(house: Rig) -> None:
    """Its word does not count; that its relay is where it was told to be, does."""
    before = await house.until(output=False)
    await house.do("deaf", True)
    words = await fails(house.relay.switch(True), NotSwitched, within=SOON)
    assert "took the command, but its relay is off" in words
    if house.relay.timer:
        await fails(house.relay.switch(True, 30), NotSwitched, within=SOON)
    await house.relay.switch(False)  # that is what it is
    assert (await house.truth())["edges"] == before["edges"]
    await house.do("deaf", False)
    await house.relay.switch(True)
    await house.until(2, output=True)


@pytest.mark.usefixtures("_impatient")
@over(*KINDS)
async def test_a_device_that_is_gone_is_unavailable(house: Rig) -> None:
    """A renewal, too; and nothing is switched."""
    before = await house.until(output=False)
    await house.cut_off()
    await fails(house.relay.switch(True), Unavailable)
    if house.relay.timer:
        await fails(house.relay.renew(False, 30), Unavailable)
    assert (await house.truth())["edges"] == before["edges"]


@pytest.mark.usefixtures("_impatient")
@over(*KINDS)
async def test_a_device_that_holds_the_line_and_is_silent_is_unavailable(house: Rig) -> None:
    """No connection breaks; when it goes on, it is switched as usual."""
    house.most_connections = GIVEN_UP
    house.freeze()
    await fails(house.relay.switch(True), Unavailable)
    house.thaw()
    await switch_when_possible(house, False, 40)
    await house.until(2, output=False)


@over(*BY_BROKER)
async def test_without_the_broker_it_is_said_at_once(house: Rig) -> None:
    """No answer is waited for that cannot come."""
    broker, source = house.mqtt
    await asyncio.to_thread(broker.kill)
    await until(lambda: not house.reached() or not source.up.is_set(), 10)
    await fails(house.relay.switch(True), Unavailable, within=1)


@over("zigbee")
async def test_an_offline_zigbee2mqtt_is_said_at_once(house: Rig) -> None:
    """Nothing is left behind that would switch when it comes back."""
    _, source = house.mqtt
    await asyncio.to_thread(house.process.stop)
    await until(lambda: source.zigbee_online is False)
    words = await fails(house.relay.switch(True), Unavailable, within=1)
    assert "Zigbee2MQTT is offline" in words


@over(*BY_NETWORK)
async def test_a_slow_device_is_waited_for_but_not_for_ever(house: Rig) -> None:
    """An answer a second late is one; an answer in half a minute is none."""
    await house.do("slow", 1)
    await house.relay.switch(True)
    assert (await house.truth())["output"]
    await house.do("slow", 30)
    await fails(house.relay.switch(False), Unavailable)


@pytest.mark.usefixtures("_very_impatient")
@over(*BY_NETWORK)
async def test_garbage_confirms_nothing(house: Rig) -> None:
    """Nor is it taken for anything else but an answer that cannot be read."""
    await house.do("garbage", True)
    for work in (house.relay.switch(True), house.relay.switch(False), house.relay.renew(True, 30)):
        await fails(work, Unavailable, NotSwitched)


@pytest.mark.parametrize("name", KINDS)
async def test_a_call_may_be_cancelled_at_any_moment(
    name: str, tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    """Nothing goes on waiting, no connection is left open, and the next command is carried out."""
    async with connected(name, tmp_path, mosquitto) as house:  # one at a time: the tasks are counted
        house.most_connections = GIVEN_UP
        tasks = len(asyncio.all_tasks())
        for number in range(24):
            on = number % 2 == 0
            work = house.relay.renew(on, 60) if number % 3 == 0 and house.relay.timer else house.relay.switch(on)
            task = asyncio.create_task(work)
            await asyncio.sleep(0.0004 * 1.3**number)
            task.cancel()
            with suppress(asyncio.CancelledError, NotSwitched, Unavailable):
                await task
            assert not house.waiting()
        await switch_when_possible(house, True, 20)  # it may not have noticed yet what was given up
        await house.relay.switch(False)
        await house.until(2, output=False)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)


@over(*GEN2)
async def test_the_owners_own_timer_gives_way_to_ours(house: Rig) -> None:
    """`auto_off` runs where we want no timer; with one of ours it does not."""
    way: Any = next(house.relay._ways())
    await way._calls.call("Switch.SetConfig", {"id": 0, "config": {"auto_off": True, "auto_off_delay": 500}})
    await house.relay.switch(True)
    await house.timer(500)
    await house.relay.switch(True, 30)
    await house.timer(30)
    await house.relay.renew(True, 60)
    await house.timer(60)


@over(*HTTP_PASSWORD)
async def test_a_wrong_password_is_named_and_not_told(house: Rig) -> None:
    """The setting is; neither the right one nor the wrong one."""
    assert house.read is not None
    house.read.rpc._password, house.read.rpc._digest = "abracadabra", None
    words = await fails(house.relay.switch(True), Unavailable)
    assert "[[shelly]] password" in words
    assert "abracadabra" not in words
    assert not (await house.truth())["output"]
