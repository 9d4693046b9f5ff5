"""Devices are told of once and whenever something is new, and never with less than before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from edge_energy.config import Settings
from edge_energy.errors import Unavailable
from edge_energy.live import Live
from edge_energy.reading import Reading
from edge_energy.relays import mqtt_devices as module
from edge_energy.relays.homeassistant import MOST_QUANTITIES
from edge_energy.relays.mqtt_devices import MOST_DEVICES, QUANTITIES, DeviceNews
from tests.unit.relays.test_mqtt_door import Broker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_energy.interfaces import NewEntry

SOON = 5.0
PLUG, BOILER = "zigbee-0x1", "shelly-ec62608ab9a4"


class Notes:
    """A journal of which only the state matters."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def record(self, entries: Sequence[NewEntry], within: float, state: Mapping[str, Any] | None = None) -> Any:
        """Keep it."""
        assert not entries
        assert within > 0
        self.state |= state or {}


class Bench:
    """News of a house with one relay, whose device has said nothing yet, and one plug."""

    def __init__(self, kept: Mapping[str, Sequence[str]] | None = None, *, switches: bool = True) -> None:
        self.broker, self.live, self.notes = Broker(), Live(), Notes()
        relays = [{"device": BOILER, "safe_state": "off"}]
        settings = Settings.model_validate({"relay": relays, "homeassistant": {"prefix": "ha"}})
        recorder: Any = self.notes
        self.news = DeviceNews(self.broker, settings, self.live, recorder, kept or {}, switches=switches)

    def say(self, device: str = PLUG, **values: float | bool) -> None:
        """Let a device say something."""
        self.live.update(Reading(device, 1, values))

    def told(self) -> dict[str, Any]:
        """Tell what is new, and return it by the end of its topic."""
        self.news.tell()
        assert all(retained for _, _, retained in self.broker.published)
        found = {
            topic.removeprefix("edge-energy/house-1/").removeprefix("ha/device/edge-energy-house-1-"): orjson.loads(
                body
            )
            for topic, body, _ in self.broker.published
        }
        self.broker.published.clear()
        return found


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_only_what_is_new_is_told(bench: Bench) -> None:
    bench.say(power=5.0, output=True)
    first = bench.told()
    assert first.keys() == {f"{PLUG}/config", f"device/{PLUG}", f"{BOILER}/config", f"device/{BOILER}"}
    assert first[f"device/{PLUG}"] == {"power": 5.0, "output": True}
    assert first[f"device/{BOILER}"] == {}
    assert first[f"{BOILER}/config"]["components"]["switch_output"]["platform"] == "switch"
    assert bench.told() == {}
    bench.say(power=6.0)
    assert bench.told() == {f"device/{PLUG}": {"power": 6.0, "output": True}}
    bench.live.describe(PLUG, "Fridge", "SP 240")
    assert bench.told()[f"{PLUG}/config"]["device"]["name"] == "Fridge"
    bench.live.availability(PLUG, available=False)
    assert bench.told() == {f"device/{PLUG}": {"power": 6.0, "output": True, "available": False}}


async def test_where_nobody_takes_commands_relays_are_only_seen() -> None:
    """Also before their device has said anything: a switch that was told of earlier must vanish."""
    bench = Bench(switches=False)
    before = bench.told()
    bench.say(BOILER, output=True, power=5.0)
    for found in (before, bench.told()):
        components = found[f"{BOILER}/config"]["components"]
        assert components["output"]["platform"] == "binary_sensor"
        assert components["switch_output"] == {"platform": "switch"}
        assert "command_topic" not in str(components)
    assert bench.notes.state == {f"{QUANTITIES}{BOILER}": ["output", "power"]}


async def test_a_device_that_is_only_known_by_name_is_not_told_of(bench: Bench) -> None:
    bench.live.describe("group", "All lamps", "")
    assert not [topic for topic in bench.told() if "group" in topic]


async def test_quantities_stay_over_a_restart(bench: Bench) -> None:
    """After it they come one by one; what is left out meanwhile would vanish from Home Assistant."""
    bench.say(power=5.0, energy=10.0)
    bench.told()
    assert bench.notes.state == {f"{QUANTITIES}{PLUG}": ["energy", "power"]}
    again = Bench(bench.notes.state)
    again.say(power=5.0)
    assert again.told()[f"{PLUG}/config"]["components"].keys() == {"energy", "power"}
    assert again.notes.state == {}


async def test_somebody_who_invents_devices_does_not_fill_home_assistant(bench: Bench) -> None:
    for number in range(MOST_DEVICES + 10):
        bench.say(f"a{number}", power=1.0)
    for number in range(100):
        bench.say("a1", **{f"value{number}": 1.0})
    found = bench.told()
    assert len(found) == 2 * MOST_DEVICES
    assert f"{BOILER}/config" in found
    assert len(found["a1/config"]["components"]) == MOST_QUANTITIES


async def test_everything_is_told_after_each_connect(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A little later, when names are known; without a broker it waits."""
    pauses: asyncio.Queue[tuple[float, asyncio.Event]] = asyncio.Queue()

    async def sleep(seconds: float) -> None:
        over = asyncio.Event()
        pauses.put_nowait((seconds, over))
        await over.wait()

    async def until_paused() -> float:
        async with asyncio.timeout(SOON):
            seconds, over = await pauses.get()
        over.set()
        return seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)
    running = asyncio.create_task(bench.news.run())
    assert await until_paused() == module.FIRST
    assert await until_paused() == module.EVERY
    assert len(bench.broker.published) == 2
    bench.broker.away = True
    bench.say(power=1.0)
    assert await until_paused() == module.EVERY
    bench.broker.connect()
    while (seconds := await until_paused()) == module.EVERY:
        pass
    assert seconds == module.FIRST
    assert await until_paused() == module.EVERY
    assert len(bench.broker.published) == 2 + 4
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_without_a_broker_nothing_counts_as_told(bench: Bench) -> None:
    bench.broker.away = True
    with pytest.raises(Unavailable):
        bench.told()
    bench.broker.away = False
    assert len(bench.told()) == 2
