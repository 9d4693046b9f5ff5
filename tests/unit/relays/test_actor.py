"""One thing at a time for each relay; what is not safe stays so only as long as somebody says so."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from edge_energy.clock import uptime
from edge_energy.errors import NotSwitched, Unavailable
from edge_energy.relays import actor as actor_module
from edge_energy.relays.actor import Actor, Superseded
from edge_energy.relays.state import RelayState
from tests.unit.relays.house import HEATER, Driver, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def now() -> float:
    return uptime() / 1e9


@asynccontextmanager
async def acting(driver: Driver, **table: Any) -> AsyncIterator[Actor]:
    """Give an actor that keeps its lease."""
    found = settings({"device": HEATER, **table}).relay[0]
    actor = Actor(found, driver, RelayState(found, now()))
    keeping = asyncio.create_task(actor.keep())
    try:
        yield actor
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


async def until(condition: Any, timeout: float = 5) -> None:
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - of a driver, which knows no event
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("safe", "on", "lease"), [("off", True, 60.0), ("off", False, None), ("on", False, 60.0), ("on", True, None)]
)
async def test_what_is_not_the_safe_state_is_leased(safe: str, on: bool, lease: float | None) -> None:  # noqa: FBT001
    """Either way round; the safe state itself needs nobody to end it."""
    driver = Driver()
    async with acting(driver, safe_state=safe, lease="60s") as actor:
        await actor.switch(on)
        assert driver.calls == [("switch", on, lease)]


@pytest.mark.parametrize(
    ("table", "timer"), [({"lease": "0s"}, True), ({"safe_state": "leave"}, True), ({"lease": "60s"}, False)]
)
async def test_without_a_lease_or_a_timer_the_device_is_told_nothing(table: dict[str, Any], *, timer: bool) -> None:
    driver = Driver(timer=timer)
    async with acting(driver, **table) as actor:
        await actor.switch(True)
        assert driver.calls == [("switch", True, None)]
        assert actor.lease == 0


async def test_what_ends_soon_is_not_leased_for_longer() -> None:
    driver = Driver()
    async with acting(driver, lease="60s") as actor:
        await actor.switch(True, now() + 5)
        assert driver.calls[0][2] == pytest.approx(5, abs=0.1)


async def test_what_lasts_longer_than_the_device_can_count_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Zigbee device counts to 6553 s: three hours are three times that, and no more."""
    monkeypatch.setattr(actor_module, "LONGEST_TIMER", 1.0)
    driver = Driver()
    async with acting(driver, safe_state="leave") as actor:
        end = now() + 3.0
        await actor.switch(True, end)
        await until(lambda: now() > end - 1.0)
        assert (driver.output, driver.edges) == (True, 1)
        await until(lambda: not driver.output)
        assert end - 0.2 <= now() < end + 1.0


async def test_a_renewal_gives_way_to_a_command_at_once() -> None:
    """OFF waits for nobody."""
    driver = Driver()
    async with acting(driver, lease="2s") as actor:
        await actor.switch(True)
        driver.go_on.clear()
        await until(lambda: driver.calls[-1][0] == "renew")
        switching = asyncio.create_task(actor.switch(False))
        await until(lambda: driver.calls[-1] == ("switch", False, None))
        driver.go_on.set()
        await switching
        assert driver.most_side_by_side == 1
        assert not driver.output


async def test_of_three_at_once_the_last_one_counts() -> None:
    driver = Driver()
    driver.go_on.clear()
    async with acting(driver) as actor:
        tasks = [asyncio.create_task(actor.switch(on)) for on in (True, False, True)]
        await until(lambda: len(driver.calls) == 3 or all(task.done() for task in tasks[:2]))
        driver.go_on.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [Superseded, Superseded, type(None)]
        assert driver.output
        assert driver.most_side_by_side == 1


async def test_a_command_that_failed_leaves_the_lease_that_there_was() -> None:
    """ON again, while the line is down for a moment, must not let the load go off."""
    driver = Driver()
    async with acting(driver, lease="2s") as actor:
        await actor.switch(True)
        driver.error = Unavailable("away for a moment")
        with pytest.raises(Unavailable):
            await actor.switch(True)
        driver.error = None
        await until(lambda: sum(call[0] == "renew" for call in driver.calls) > 4)
        assert (driver.output, driver.edges) == (True, 1)


async def test_off_that_failed_ends_the_lease() -> None:
    """Then the device does it by itself."""
    driver = Driver()
    async with acting(driver, lease="2s") as actor:
        await actor.switch(True)
        driver.error = NotSwitched("it does not want to")
        with pytest.raises(NotSwitched):
            await actor.switch(False)
        driver.error = None
        await until(lambda: not driver.output)
        assert not any(call[0] == "renew" for call in driver.calls)


async def test_a_driver_that_hangs_is_left_alone_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor_module, "LONGEST", 0.1)
    driver = Driver()
    driver.go_on.clear()
    async with acting(driver) as actor:
        with pytest.raises(Unavailable, match="no confirmation"):
            await actor.switch(True)
        assert driver.side_by_side == 0


async def test_whoever_is_cancelled_takes_the_driver_along() -> None:
    """A stop must not leave something at work that switches later."""
    driver = Driver()
    driver.go_on.clear()
    async with acting(driver) as actor:
        task = asyncio.create_task(actor.switch(True))
        await until(lambda: driver.side_by_side == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert driver.side_by_side == 0
