"""What a source hands over is placed in time, recorded once, live at once, and on disk when that is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from edge_energy.collector import LATE, Collector
from edge_energy.errors import JournalFull
from edge_energy.increments import Increments
from edge_energy.interfaces import APPLIANCE
from edge_energy.live import Live
from edge_energy.reading import Reading
from edge_energy.ways import Ways
from tests.unit.samples import NOON, SECOND
from tests.unit.sources.mqtt.recorder import Disk, SetClock

if TYPE_CHECKING:
    from edge_energy.reading import Values

PLUG = "shelly-ec62608ab9a4"


class Bench:
    """A collector on a disk that the test commits."""

    def __init__(self, now: int | None = NOON) -> None:
        self.disk = Disk()
        self.live = Live()
        self.collector = Collector(self.disk, self.live, SetClock(now), Ways(), Increments({}))

    def record(self, time: int | None = None, way: str = "webhook", **values: float | bool) -> int:
        """Record one reading; return how many went to the journal."""
        return self.collector.record([Reading(PLUG, time, dict(values))], way, 0.25).number

    def recorded(self) -> list[tuple[int | None, Values]]:
        """Return what is on disk after a commit."""
        self.disk.commit()
        return [(entry.time, orjson.loads(entry.body)) for entry in self.disk.entries]


async def test_a_reading_is_live_at_once_and_durable_after_its_commit() -> None:
    bench = Bench()
    recorded = bench.collector.record([Reading(PLUG, None, {"power": 5.0, "output": True})], "webhook", 0.25)
    assert bench.live.devices[PLUG].values == {"power": 5.0, "output": True}
    assert not recorded.durable.done()
    assert bench.disk.within == [0.25]
    bench.disk.commit()
    await recorded.durable
    assert [entry.device for entry in bench.disk.entries] == [PLUG]


@pytest.mark.parametrize(
    ("own", "recorded"),
    [(None, NOON), (NOON - SECOND, NOON - SECOND), (5 * SECOND, NOON), (NOON + 3600 * SECOND, NOON)],
    ids=["none", "a second ago", "an uptime", "in an hour"],
)
async def test_a_time_of_its_own_counts_if_it_can_be_believed(own: int | None, recorded: int) -> None:
    bench = Bench()
    bench.record(own, power=1)
    assert bench.recorded() == [(recorded, {"power": 1})]


async def test_while_the_date_is_unknown_a_reading_has_no_time() -> None:
    """Not even its own: nobody can tell whether it is one. It is dated once the clock is right."""
    bench = Bench(None)
    bench.record(NOON, power=1)
    assert bench.recorded() == [(None, {"power": 1})]
    assert bench.live.devices[PLUG].values == {"power": 1}


@pytest.mark.parametrize(("age", "live"), [(LATE - 1, 1), (LATE, 0)])
async def test_a_late_reading_is_recorded_but_not_live(age: int, live: int) -> None:
    bench = Bench()
    assert bench.record(NOON - age, power=1) == 1
    assert bench.live.updates == live


async def test_an_older_reading_than_the_newest_is_not_live() -> None:
    bench = Bench()
    bench.record(NOON, power=1)
    bench.record(NOON - SECOND, power=2)
    assert bench.live.devices[PLUG].values == {"power": 1}
    assert len(bench.recorded()) == 2


async def test_a_repetition_is_not_recorded_but_waits_for_what_it_repeats() -> None:
    """Whoever is answered "recorded" must find it on disk, also where another way was faster."""
    bench = Bench()
    bench.record(way="websocket", power=5)
    again = bench.collector.record([Reading(PLUG, None, {"power": 5})], "webhook", 0.25)
    assert (again.number, bench.collector.repeated) == (0, 1)
    assert not again.durable.done()
    assert bench.recorded() == [(NOON, {"power": 5})]
    await again.durable


async def test_a_full_disk_refuses_the_reading_and_its_increment() -> None:
    """Live has it all the same; what the sender sends again afterwards is counted once."""
    bench = Bench()
    bench.disk.full = True
    with pytest.raises(JournalFull):
        bench.record(energy_increment=5.0)
    assert bench.live.updates == 1
    assert bench.collector.not_recorded == 1
    bench.disk.full = False
    bench.record(energy_increment=5.0)
    assert bench.recorded() == [(NOON, {"energy_increment": 5, "energy": 5})]
    assert bench.disk.state == {"counter/shelly-ec62608ab9a4": 5.0}


@pytest.mark.parametrize("refused", ["at once", "by the commit"])
async def test_what_did_not_get_to_the_disk_is_no_repetition_when_it_is_sent_again(refused: str) -> None:
    """A sender that is answered 503 sends the same with the same time; so does another way."""
    bench = Bench()
    if refused == "at once":
        bench.disk.full = True
        with pytest.raises(JournalFull):
            bench.record(NOON, power=5)
        bench.disk.full = False
    else:
        bench.record(NOON, power=5)
        bench.disk.fail()
    bench.record(NOON, power=5)
    bench.record(NOON, power=5, way="websocket")
    assert bench.recorded() == [(NOON, {"power": 5})]
    assert (bench.collector.recorded, bench.collector.not_recorded) == (1, 1)


async def test_a_late_reading_is_recorded_whatever_another_way_tells_now() -> None:
    """A sender that was offline sends what it kept; that it was the same then as now makes it no repetition."""
    bench = Bench()
    bench.record(way="websocket", power=5)
    assert bench.record(NOON - LATE, power=5) == 1


async def test_state_is_written_with_the_readings() -> None:
    bench = Bench()
    bench.collector.record([], "message", 0.25, {"tuya/plug": {"add_ele": [NOON]}})
    bench.disk.commit()
    assert bench.disk.state == {"tuya/plug": {"add_ele": [NOON]}}


async def test_names_are_recorded_when_they_change() -> None:
    """Not at every connection, and not again after a restart: the database has them already."""
    bench = Bench()
    bench.collector.describe(PLUG, "garage", "Pro1PM")
    bench.collector.describe(PLUG, "garage", "Pro1PM")
    bench.disk.commit()
    (entry,) = bench.disk.entries
    assert (entry.kind, entry.device) == (APPLIANCE, PLUG)
    assert orjson.loads(entry.body) == {"event": "device", "name": "garage", "model": "Pro1PM"}
    assert bench.live.devices[PLUG].name == "garage"
    again = Collector(bench.disk, Live(), SetClock(NOON), Ways(), Increments({}), bench.disk.state)
    again.describe(PLUG, "garage", "Pro1PM")
    again.describe(PLUG, "carport", "Pro1PM")
    bench.disk.commit()
    assert [orjson.loads(found.body)["name"] for found in bench.disk.entries] == ["garage", "carport"]


async def test_a_name_that_came_while_the_disk_was_full_is_told_again() -> None:
    bench = Bench()
    bench.disk.full = True
    bench.collector.describe(PLUG, "garage", "Pro1PM")
    bench.disk.full = False
    bench.collector.describe(PLUG, "garage", "Pro1PM")
    bench.disk.commit()
    assert len(bench.disk.entries) == 1
