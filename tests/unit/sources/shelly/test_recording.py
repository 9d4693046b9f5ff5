"""What a device says becomes readings at the right time; a full disk or a flood ends nothing."""

from __future__ import annotations

import asyncio

import pytest

from edge_energy.devices.shelly_rpc import Frame
from edge_energy.errors import Unavailable
from edge_energy.sources.shelly import recording as module
from edge_energy.sources.shelly.recording import Counters, Recording
from edge_energy.ways import TooManyDevices
from tests.unit.samples import NOON, SECOND
from tests.unit.sources.mqtt.recorder import SetClock
from tests.unit.sources.shelly.scripted import DEVICE, OWN_ID, STATUS, House


def recording(house: House) -> Recording:
    return Recording(DEVICE, "websocket", Counters("device"), house.receivers)


def push(power: float, ts: float | None) -> Frame:
    """Return a notification of a power."""
    return Frame(OWN_ID, "NotifyStatus", None, {"ts": ts, "switch:0": {"id": 0, "apower": power}}, None, None)


@pytest.mark.parametrize(
    ("ts", "time"),
    [
        (NOON / SECOND - 1.5, NOON - 1_500_000_000),
        (NOON / SECOND + 2, NOON + 2 * SECOND),
        (NOON / SECOND - 3, NOON),
        (NOON / SECOND + 3, NOON),
        (5.01, NOON),
        (None, NOON),
    ],
    ids=["its own", "a little ahead", "too old", "too far ahead", "its uptime", "none"],
)
async def test_the_time_of_a_push(ts: float | None, time: int) -> None:
    """Its own while its clock agrees with ours; before it has one, `ts` is the uptime."""
    house = House(SetClock(NOON))
    recording(house).notification(push(7.5, ts))
    ((entry, values),) = house.recorded()
    assert (entry.time, values) == (time, {"power": 7.5})


async def test_no_time_is_taken_while_our_own_date_is_unknown() -> None:
    house = House(SetClock(None))
    recording(house).notification(push(7.5, NOON / SECOND))
    assert house.recorded()[0][0].time is None


async def test_a_poll_is_everything_and_true_now() -> None:
    """A push after it carries only what has changed."""
    house = House(SetClock(NOON))
    told = recording(house)
    told.full(STATUS)
    told.notification(push(7.5, NOON / SECOND + 1))
    (first, everything), (_, change) = house.recorded()
    assert first.time == NOON
    assert everything == {"output": True, "power": 5.2, "voltage": 232.1, "energy": 100.5}
    assert change == {"power": 7.5}


async def test_on_a_full_disk_live_goes_on() -> None:
    """It is counted; the connection stays."""
    house = House()
    house.disk.full = True
    told = recording(house)
    told.full(STATUS)
    assert told._counters.not_recorded == 1
    assert house.live.devices[DEVICE].values["power"] == 5.2
    assert house.live.devices[DEVICE].available


async def test_a_flood_is_live_at_once_and_fills_no_memory() -> None:
    """Rules and answers do not wait for the disk; what is too much for it is counted, and recorded again after it."""
    house = House()
    told = recording(house)
    for number in range(module.MOST_WAITING + 100):
        told.notification(push(float(number), None))
        await asyncio.wait_for(told.room(), 0.1)
    assert house.live.devices[DEVICE].values["power"] == module.MOST_WAITING + 99
    assert told._counters.not_recorded == 100
    assert len(house.recorded()) == module.MOST_WAITING
    told.notification(push(-1.0, None))
    assert len(house.recorded()) == module.MOST_WAITING + 1


async def test_a_flood_gives_others_their_turn() -> None:
    """What has arrived already is read without waiting: only this lets anything else happen."""
    told, others = recording(House()), asyncio.create_task(asyncio.sleep(0))
    for number in range(module.AT_ONCE * 2):
        told.notification(push(float(number), None))
        await told.room()
    assert others.done()


async def test_one_device_too_many_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a defect: the supervisor says so once and tries again."""
    house = House()

    def refuse(*_: object) -> None:
        raise TooManyDevices("no more")

    monkeypatch.setattr(house.collector, "record", refuse)
    with pytest.raises(Unavailable, match="no more"):
        recording(house).full(STATUS)


async def test_what_nobody_can_measure_is_counted_and_left_out() -> None:
    house = House()
    told = recording(house)
    told.full({"switch:0": {"id": 0, "apower": 429496420.0, "voltage": 230.0}})
    assert [values for _, values in house.recorded()] == [{"voltage": 230.0}]
    assert told._counters.implausible == 1
