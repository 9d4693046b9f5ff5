"""Increments are summed once, whatever becomes of the commits that they wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.errors import JournalFull
from edge_energy.increments import Increments
from tests.unit.sources.mqtt.recorder import Disk

if TYPE_CHECKING:
    from edge_energy.interfaces import Durable


def test_a_counter_goes_on_where_it_was() -> None:
    increments = Increments({"counter/meter": 1_000.0})
    assert increments.sum("meter", {"energy_increment": 5.0, "power": 1.0}) == {
        "energy_increment": 5.0,
        "power": 1.0,
        "energy": 1_005.0,
    }
    assert increments.sum("other", {"energy_returned_increment": 0.1})["energy_returned"] == 0.1
    assert increments.state() == {"counter/meter": 1_005.0, "counter/other/energy_returned": 0.1}


def test_values_without_increments_are_left_alone() -> None:
    increments = Increments({})
    values = {"energy": 5.0, "output": True}
    assert increments.sum("meter", values) is values
    assert increments.state() == {}


async def test_a_failed_commit_takes_back_only_its_own() -> None:
    """What was summed before and is on disk stays; what is summed afterwards begins there."""
    increments, disk = Increments({}), Disk()

    def record(amount: float) -> Durable:
        increments.sum("meter", {"energy_increment": amount})
        durable = disk.record([], 0, increments.state())
        increments.recorded(durable)
        return durable

    record(1)
    disk.commit()
    lost = record(2)
    disk.fail()
    assert lost.failed()
    with pytest.raises(JournalFull):
        await lost
    record(4)
    disk.commit()
    assert disk.state == {"counter/meter": 5.0}


@given(st.lists(st.tuples(st.integers(1, 100), st.sampled_from(["commit", "fail", "refuse", "wait"]))))
async def test_the_counter_is_the_sum_of_what_is_on_disk(steps: list[tuple[int, str]]) -> None:
    """The promise of the journal, for energy: nothing recorded is missing, nothing refused is counted."""
    increments, disk = Increments({}), Disk()
    waiting, written = 0, 0
    for tenths, end in steps:
        increments.sum("meter", {"energy_increment": tenths / 10})
        if end == "refuse":  # nothing else can be waiting on a full disk
            disk.fail()
            waiting = 0
            increments.recorded(None)
            continue
        increments.recorded(disk.record([], 0, increments.state()))
        waiting += tenths
        if end == "commit":
            disk.commit()
            written, waiting = written + waiting, 0
        elif end == "fail":
            disk.fail()
            waiting = 0
    disk.commit()
    written += waiting
    assert disk.state.get("counter/meter", 0) == pytest.approx(written / 10)
