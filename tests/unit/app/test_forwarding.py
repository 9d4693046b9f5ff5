"""What the configuration turns on, and what it leaves off."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from edge_energy.app.appliance import _supervisor
from edge_energy.app.forwarding import make_deliveries, make_inboxes, make_publisher
from edge_energy.config import load
from edge_energy.delivery import LONGEST_WAIT
from edge_energy.pace import EVERY
from tests.unit.samples import running_journal

if TYPE_CHECKING:
    from pathlib import Path

    from edge_energy.app.parts import Shared
    from edge_energy.config import Settings
    from edge_energy.delivery import Delivery
    from edge_energy.journal.outbox import SinkOutbox

SINKS = """
[kafka]
brokers = "127.0.0.1:9092"
[pubsub]
project = "project-1"
[influxdb]
url = "http://127.0.0.1:8086"
org = "home"
bucket = "energy"
token = "secret"
"""


def settings(folder: Path, text: str, appliance: str = "house-1") -> Settings:
    file = folder / "edge-energy.toml"
    file.write_text(f'[appliance]\nid = "{appliance}"\nstate_dir = "{folder}"\n{text}', "utf-8")
    return load(file, {})


async def deliveries(folder: Path, found: Settings) -> dict[str, Delivery]:
    async with running_journal(folder / found.appliance.id) as journal:
        shared: Any = SimpleNamespace(settings=found, journal=journal)
        return {delivery.name: delivery for delivery in await make_deliveries(cast("Shared", shared))}


@pytest.mark.parametrize("cloud", ["", "[cloud]\n", "[cloud]\nallow_commands = false\n"])
def test_nobody_in_a_cloud_switches_anything_unless_that_is_allowed(tmp_path: Path, cloud: str) -> None:
    """Nothing is even listened to."""
    shared: Any = SimpleNamespace(settings=settings(tmp_path, SINKS + cloud), journal=None)
    assert make_inboxes(shared, cast("Any", None)) == []


def test_commands_come_by_every_cloud_that_is_configured(tmp_path: Path) -> None:
    shared: Any = SimpleNamespace(settings=settings(tmp_path, f"{SINKS}[cloud]\nallow_commands = true"), journal=None)
    assert [inbox.name for inbox in make_inboxes(shared, cast("Any", None))] == ["kafka commands", "pubsub commands"]


def test_nothing_is_published_for_devices_elsewhere_unless_that_is_wanted(tmp_path: Path) -> None:
    assert make_publisher(settings(tmp_path, f"{SINKS}[cloud]\nallow_commands = true")) is None
    assert make_publisher(settings(tmp_path, f"{SINKS}[cloud]\npublish_commands = true")) is not None


async def test_each_sink_has_the_order_and_the_pace_of_its_table(tmp_path: Path) -> None:
    """InfluxDB, in the journal's order, as fast as it goes; the clouds at most seven a second of what waited."""
    found = await deliveries(tmp_path, settings(tmp_path, SINKS))
    assert {name: delivery.replay_rate for name, delivery in found.items()} == {
        "influxdb": 0,
        "kafka": 7,
        "pubsub": 7,
    }
    assert {name for name, each in found.items() if cast("SinkOutbox", each._outbox)._strict} == {"influxdb"}
    strict = SINKS.replace("[pubsub]", 'order = "strict"\n[pubsub]')
    found = await deliveries(tmp_path, settings(tmp_path, strict, "house-2"))
    assert found["kafka"].replay_rate == 0


async def test_appliances_that_come_back_together_send_at_times_of_their_own(tmp_path: Path) -> None:
    """Their names decide."""
    turns = set()
    for number in range(5):
        found = await deliveries(tmp_path, settings(tmp_path, SINKS, f"house-{number}"))
        pace = found["kafka"]._pace
        pace.begin(0.0)
        turns.add(pace.turn(0.0))
    assert len(turns) == 5
    assert max(turns) - min(turns) > EVERY / 5


async def test_a_sink_is_tried_again_within_seconds(tmp_path: Path) -> None:
    """What is new must not wait for half a minute after an outage, as other components may."""
    for delivery in (await deliveries(tmp_path, settings(tmp_path, SINKS))).values():
        assert _supervisor(delivery)._longest_wait == LONGEST_WAIT
