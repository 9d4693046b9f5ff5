"""Which way is taken: the best that answers, each with its share of the time, and words where there is none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from edge_energy.config import Relay
from edge_energy.errors import NotSwitched, Unavailable
from edge_energy.relays.drivers import choice as module
from edge_energy.relays.drivers.choice import Choice
from tests.unit.relays.drivers.fakes import DEVICE, PLUG, FakeBroker, FakeCalls, FakePages, Message
from tests.unit.sources.shelly.scripted import until

if TYPE_CHECKING:
    from edge_energy.interfaces import Relay as Contract

AWAY = Unavailable("192.168.1.5 does not answer")
SOON = 1.0


class Connections:
    """What there is a connection with now."""

    def __init__(self, *calls: FakeCalls, pages: FakePages | None = None) -> None:
        self.connected = list(calls)
        self.gen1 = [] if pages is None else [pages]

    def calls(self, device: str) -> list[FakeCalls]:
        """Return those of the one device."""
        return self.connected if device == DEVICE else []

    def pages(self, device: str) -> list[FakePages]:
        """Return those of the one device."""
        return self.gen1 if device == DEVICE else []


class Hanging(FakeCalls):
    """A connection by which no answer comes."""

    async def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Hang."""
        self.asked.append((method, params))
        await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", SOON)
    monkeypatch.setattr(module, "LOOKS", (0.0, 0.001, 0.001))
    monkeypatch.setattr(module, "LATE", 0.02)
    monkeypatch.setattr(module, "CONNECTING", 0.05)
    monkeypatch.setattr(module, "AGAIN", 0.005)


def choice(reach: Connections, *brokers: FakeBroker, device: str = DEVICE, **more: Any) -> Choice:
    return Choice(Relay.model_validate({"device": device, "safe_state": "off", **more}), reach, brokers)


def methods(calls: FakeCalls) -> list[str]:
    return [method.removeprefix("Switch.") for method, _ in calls.asked]


def _conforms(relay: Choice) -> Contract:
    return relay  # checked by mypy


async def test_the_best_way_is_enough() -> None:
    """No other is bothered."""
    best, other = FakeCalls(), FakeCalls()
    await choice(Connections(best, other), FakeBroker()).switch(True)
    assert (methods(best), methods(other)) == (["Set", "GetStatus"], [])


@pytest.mark.parametrize("fails", ["Set", "GetStatus"])
async def test_the_next_way_is_tried_from_the_beginning(fails: str) -> None:
    """Telling a relay twice what to be is harmless; half a confirmation is none."""
    best, other = FakeCalls(), FakeCalls()
    best.answers[fails] = AWAY
    await choice(Connections(best, other)).switch(True)
    assert methods(other) == ["Set", "GetStatus"]


async def test_ways_are_looked_for_at_every_call() -> None:
    """A device may be heard by MQTT now, and dial in later."""
    reach = Connections()
    relay = choice(reach)
    with pytest.raises(Unavailable):
        await relay.switch(True)
    reach.connected.append(FakeCalls())
    await relay.switch(True)


async def test_a_device_between_two_connections_is_waited_for() -> None:
    """Its WebSocket has ended, and the next one is being opened; so are all when the daemon has just started."""
    reach, calls = Connections(), FakeCalls()
    switching = asyncio.create_task(choice(reach).switch(True))
    await asyncio.sleep(0)
    reach.connected.append(calls)
    await switching
    assert methods(calls) == ["Set", "GetStatus"]


async def test_each_way_has_its_share_of_the_time() -> None:
    """A dead connection does not use up the time of a living one, and all together end."""
    dead, living = Hanging("dead"), FakeCalls()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await choice(Connections(dead, living)).switch(True)
    assert SOON / 2 <= loop.time() - began < SOON
    said = r"dead does not answer within 0\.3 s; worse does not answer within 0\.[123] s"
    with pytest.raises(Unavailable, match=said):
        await choice(Connections(dead, Hanging("worse"), Hanging("dead"))).switch(True)
    assert loop.time() - began < 3 * SOON


async def test_the_same_command_that_comes_late_changes_nothing() -> None:
    """So nobody waits for it."""
    device = FakeCalls()
    await choice(Connections(Hanging(), device)).switch(True)
    assert methods(device) == ["Set", "GetStatus"]


async def test_an_answer_is_an_answer() -> None:
    """Who refused by one way is not asked by another, and its words are kept."""
    best, other = FakeCalls(GetStatus={"output": False, "errors": ["overpower"]}), FakeCalls()
    with pytest.raises(NotSwitched, match=r"took the command, but its relay is off \(overpower\)"):
        await choice(Connections(best, other)).switch(True)
    assert methods(best) == ["Set", *["GetStatus"] * 3]
    assert not other.asked


async def test_a_command_that_was_given_up_may_come_late() -> None:
    """By another connection, behind the next one: so that is told once more before it is confirmed."""
    device = FakeCalls(GetStatus={"output": False})
    reach = Connections(Hanging())
    relay = choice(reach)
    for on in (True, False):
        with pytest.raises(Unavailable):
            await relay.switch(on)
    reach.connected = [device]
    await relay.switch(False)
    assert methods(device) == ["Set", "Set", "GetStatus"]
    device.asked.clear()
    await relay.switch(False)
    assert methods(device) == ["Set", "GetStatus"]  # what came late has come


async def test_a_relay_that_takes_a_moment_is_given_it() -> None:
    """The first look may come too early."""

    class Slow(FakeCalls):
        async def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
            await super().call(method, params)
            return {"output": len(self.asked) > 2}

    await choice(Connections(Slow())).switch(True)


async def test_a_lease_is_renewed_only_where_the_relay_still_is_in_that_state() -> None:
    """Somebody's hand at the switch is not undone."""
    calls = FakeCalls()
    await choice(Connections(calls)).renew(True, 60)
    assert calls.asked[1] == ("Switch.Set", {"id": 0, "on": True, "toggle_after": 60})
    assert methods(calls) == ["GetStatus", "Set", "GetStatus"]
    calls.asked.clear()
    with pytest.raises(NotSwitched, match=r"192\.168\.1\.5 was switched on by somebody else"):
        await choice(Connections(calls)).renew(False, 60)
    assert methods(calls) == ["GetStatus"]


async def test_only_a_way_with_a_timer_is_trusted_with_one() -> None:
    """Gen1 by MQTT has none: better not on than on for ever."""
    broker = FakeBroker(lambda topic, _payload: [(topic.replace("command", "relay/0"), b"on")])
    broker.prefixes[DEVICE] = "shellies/shelly1pm-8AB9A4"
    relay = choice(Connections(), broker)
    assert not relay.timer
    for work in (relay.switch(True, 60), relay.renew(True, 60)):
        with pytest.raises(Unavailable, match=r"MQTT only.*\[\[shelly\]\]"):
            await work
    assert not broker.published
    await relay.switch(True)
    both = choice(Connections(pages=FakePages(ison=True)), broker)
    assert both.timer
    await both.switch(True, 60)


async def test_what_is_known_of_a_timer_stays_while_the_device_is_away() -> None:
    """Until it was heard, a Shelly has one: a command that needs it then fails, rather than have none."""
    broker = FakeBroker()
    broker.prefixes[DEVICE] = "shellies/shelly1pm-8AB9A4"
    relay = choice(Connections(), broker)
    assert choice(Connections()).timer is None  # nobody knows
    assert not relay.timer
    broker.prefixes.clear()
    assert not relay.timer


@pytest.mark.parametrize(
    ("more", "timer"),
    [
        ({}, False),
        ({"timer": True}, True),
        ({"timer": True, "safe_state": "on"}, False),  # an opened relay stays open
        ({"timer": True, "safe_state": "leave"}, True),
    ],
)
async def test_a_zigbee_devices_timer_is_as_configured(more: dict[str, Any], *, timer: bool) -> None:
    assert choice(Connections(), FakeBroker(), device=PLUG, **more).timer is timer


async def test_a_zigbee_device_is_told_and_asked() -> None:
    """What Zigbee2MQTT expects of it is not what it does."""
    state = "OFF"

    def react(topic: str, payload: dict[str, Any]) -> list[Message]:
        said = payload["state"] if topic.endswith("/set") else state
        return [("zigbee2mqtt/boiler", orjson.dumps({"state": said, "power": 3}))]

    broker = FakeBroker(react)
    relay = choice(Connections(), broker, device=PLUG)
    with pytest.raises(NotSwitched, match="zigbee2mqtt/boiler took the command, but its relay is off"):
        await relay.switch(True)
    state = "ON"
    await relay.switch(True)


@pytest.mark.parametrize(
    ("device", "channel", "words"),
    [
        (DEVICE, "", r"not connected: no \[\[shelly\]\] block reaches it, it has not dialled in"),
        (DEVICE, "l1", 'its outputs have numbers, not "l1"'),
        (PLUG, "", "no Zigbee2MQTT has named it"),
        ("meter-1", "", "cannot be switched: only Shelly devices and those of Zigbee2MQTT"),
    ],
)
async def test_where_there_is_no_way_the_operator_is_told_what_to_do(device: str, channel: str, words: str) -> None:
    relay = choice(Connections(), device=device, channel=channel)
    with pytest.raises(Unavailable, match=words):
        await relay.switch(True)


async def test_a_broker_that_is_gone_is_one_way_less() -> None:
    """And what it says is part of the reason."""
    broker = FakeBroker()
    broker.connected = False
    with pytest.raises(Unavailable, match=r"192\.168\.1\.5 does not answer; not connected to mqtt"):
        await choice(Connections(FakeCalls(Set=AWAY)), broker).switch(False)


async def test_the_calls_may_be_cancelled() -> None:
    """It is not taken for the end of somebody's time."""
    calls = Hanging()
    task = asyncio.create_task(choice(Connections(calls, FakeCalls())).switch(True))
    await until(lambda: calls.asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
