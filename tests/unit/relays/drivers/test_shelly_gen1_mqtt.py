"""Gen1 by MQTT: a command, and the state that the device tells when it is asked for everything."""

from __future__ import annotations

import asyncio

import pytest

from edge_energy.errors import Unavailable
from edge_energy.relays.drivers import shelly_gen1_mqtt as module
from edge_energy.relays.drivers.shelly_gen1_mqtt import ShellyGen1Mqtt
from edge_energy.relays.drivers.way import State
from tests.unit.relays.drivers.fakes import FakeBroker

PREFIX = "shellies/shelly1pm-8AB9A4"


async def test_the_command_has_a_topic_of_its_own() -> None:
    broker = FakeBroker()
    relay = ShellyGen1Mqtt(broker, PREFIX, 1)
    await relay.tell(True, None)
    await relay.tell(False, None)
    assert broker.published == [(f"{PREFIX}/relay/1/command", "on"), (f"{PREFIX}/relay/1/command", "off")]
    assert not relay.timer


@pytest.mark.parametrize(
    ("payload", "state"),
    [(b"on", State(True)), (b"off", State(False)), (b"overpower", State(False, "overpower"))],
)
async def test_the_state_is_what_comes_when_it_is_asked_for(payload: bytes, state: State) -> None:
    """Other outputs, and what nobody can read, are none of it."""
    broker = FakeBroker(
        lambda _topic, _payload: [
            (f"{PREFIX}/relay/1", b"on"),
            (f"{PREFIX}/relay/0", b"\xff{}"),
            (f"{PREFIX}/relay/0", payload),
        ]
    )
    assert await ShellyGen1Mqtt(broker, PREFIX, 0).look() == state
    assert broker.published == [(f"{PREFIX}/command", "update")]


async def test_silence_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.01)
    broker = FakeBroker()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(ShellyGen1Mqtt(broker, PREFIX, 0).look(), 5)
    assert not broker.waiting
