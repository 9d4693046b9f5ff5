"""The live state is the newest of every value, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_energy.live import DeviceState, Live
from edge_energy.reading import Reading, Values
from tests.unit.samples import NOON

if TYPE_CHECKING:
    import asyncio


def test_an_update_is_seen_at_once_and_keeps_what_it_does_not_say() -> None:
    """Synchronously, before any commit; a payload with one value does not erase the others."""
    live = Live()
    live.update(Reading("plug", NOON, {"power": 5.0, "output": True}))
    live.update(Reading("plug", NOON + 1, {"power": 6.0}))
    live.update(Reading("meter", None, {"energy": 1.0}))
    assert live.devices == {
        "plug": DeviceState("plug", time=NOON + 1, values={"power": 6.0, "output": True}),
        "meter": DeviceState("meter", values={"energy": 1.0}),
    }
    assert live.updates == 3


def test_the_state_is_not_the_reading_itself() -> None:
    """What is being recorded must not change with the next update."""
    live = Live()
    values: Values = {"power": 5.0}
    live.update(Reading("plug", NOON, values))
    live.update(Reading("plug", NOON, {"power": 6.0}))
    assert values == {"power": 5.0}


def test_names_and_availability_may_come_before_and_after_readings() -> None:
    """First seen is enough; nothing needs registering, and nothing is forgotten by what comes later."""
    live = Live()
    live.availability("plug", available=True)
    live.describe("plug", "salle/à manger", "Innr SP 240")
    live.update(Reading("plug", NOON, {"power": 5.0}))
    live.availability("plug", available=False)
    assert live.devices == {
        "plug": DeviceState("salle/à manger", "Innr SP 240", available=False, time=NOON, values={"power": 5.0})
    }


def test_a_device_is_available_as_long_as_one_way_leads_to_it() -> None:
    """The end of one of two connections says nothing of the other."""
    live = Live()
    live.availability("plug", available=True, by="192.168.1.20")
    live.availability("plug", available=True, by="plug")
    live.availability("plug", available=False, by="plug")
    assert live.devices["plug"].available is True
    live.availability("plug", available=False, by="192.168.1.20")
    assert live.devices["plug"].available is False


def test_an_address_leads_to_the_device_that_has_it_now() -> None:
    live = Live()
    live.locate("one", "192.168.1.20")
    live.locate("two", "192.168.1.21")
    assert (live.at("192.168.1.20"), live.at("192.168.1.21"), live.at("192.168.1.22")) == ("one", "two", None)
    live.locate("two", "192.168.1.20")  # the router has given it away
    live.locate("one", "192.168.1.22")
    found = [live.at(f"192.168.1.{number}") for number in (20, 21, 22)]
    assert found == ["two", None, "one"]


def test_nothing_is_known_by_an_address_of_this_machine() -> None:
    """Simulated devices listen there, and scripts call from there: they are not the same."""
    live = Live()
    live.locate("one", "127.0.0.1")
    assert live.devices["one"].address == "127.0.0.1"
    assert live.at("127.0.0.1") is None


async def test_who_listens_gets_every_reading_of_these_devices_and_none_after_that() -> None:
    """In order, each of them, also where several listen to one device."""
    live = Live()
    readings = [Reading("plug", NOON + number, {"power": float(number)}) for number in range(3)]
    with live.listening(["plug", "plug"]) as one, live.listening(["plug", "meter"]) as other:
        live.update(readings[0])
        live.update(Reading("lamp", NOON, {"power": 9.0}))
        live.update(Reading("meter", NOON, {"power": 7.0}))
        live.update(readings[1])
    live.update(readings[2])
    assert _all(one) == readings[:2]
    assert _all(other) == [readings[0], Reading("meter", NOON, {"power": 7.0}), readings[1]]


def _all(queue: asyncio.Queue[Reading]) -> list[Reading]:
    return [queue.get_nowait() for _ in range(queue.qsize())]
