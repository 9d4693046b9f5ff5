"""What others write is carried out once or refused in words; what they read is the state of now."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_energy.errors import Unavailable
from edge_energy.relays.command import EXPIRY, Command, Origin, Outcome, Verdict
from edge_energy.relays.mqtt_door import LONGEST, MOST_AT_WORK, MOST_WITH_OFF, MqttDoor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BASE = "edge-energy/house/relay"
PLUG = "shelly-ec62608ab9a4"
DONE = Outcome(Verdict.CONFIRMED)


class Broker:
    """A broker that keeps what is published; `connect` is another connection."""

    name = "mqtt broker:1883"

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes, bool]] = []
        self.away = False
        self._connections = 1
        self._connected = asyncio.Event()

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Keep it."""
        if self.away:
            raise Unavailable("away")
        assert qos == 1
        self.published.append((topic, payload, retain))

    async def wait_connected(self, seen: int) -> int:
        """Wait for `connect`."""
        while self._connections == seen:
            await self._connected.wait()
        return self._connections

    def connect(self) -> None:
        """Connect again."""
        self.away = False
        self._connections += 1
        self._connected.set()
        self._connected = asyncio.Event()

    def results(self) -> list[dict[str, Any]]:
        """Take the results that were published since the last time."""
        found = [orjson.loads(payload) for topic, payload, _ in self.published if topic.endswith("/result")]
        self.published.clear()
        return found


class Controller:
    """A controller that carries commands out when the test says so."""

    def __init__(self) -> None:
        self.states = {PLUG: "None", f"{PLUG}_1": "OFF"}
        self.submitted: list[Command] = []
        self.refused: list[tuple[Command, str]] = []
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._foreign: dict[str, asyncio.Task[Outcome]] = {}
        self._changes = 1
        self._changed = asyncio.Event()

    def relays(self) -> list[str]:
        """Return those that it knows."""
        return [*self.states]

    def command(self, relay: str, on: bool | None, origin: Origin, **more: Any) -> Command:  # noqa: FBT001
        """Make one."""
        assert on is not None
        return Command("made", relay, on, origin, EXPIRY)._replace(**more)

    def submit(self, command: Command) -> asyncio.Task[Outcome]:
        """Wait for the test; an id that its sender chose has one task."""
        self.submitted.append(command)
        task = asyncio.create_task(self._end())
        return self._foreign.setdefault(command.id, task) if command.foreign else task

    async def _end(self) -> Outcome:
        return await asyncio.shield(self.outcome)

    def refuse(self, command: Command, reason: str) -> Outcome:
        """Note it."""
        self.refused.append((command, reason))
        return Outcome(Verdict.REFUSED, reason)

    def state(self, relay: str) -> str:
        """Return what the test set."""
        return self.states[relay]

    async def wait_changed(self, seen: int) -> int:
        """Wait for `change`."""
        while self._changes == seen:
            await self._changed.wait()
        return self._changes

    def change(self, relay: str, state: str) -> None:
        """Let a state change."""
        self.states[relay] = state
        self._changes += 1
        self._changed.set()
        self._changed = asyncio.Event()


class Bench:
    """A door between the two."""

    def __init__(self) -> None:
        self.broker, self.controller = Broker(), Controller()
        self.door = MqttDoor(self.broker, "house", self.controller)

    def send(self, payload: bytes, relay: str = PLUG, *, fresh: bool = True) -> None:
        """Let a message arrive."""
        self.door.take(f"{BASE}/{relay}/set", payload, fresh=fresh)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run it."""
        task = asyncio.create_task(self.door.run())
        await turns()
        yield
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def told(self) -> list[tuple[str, bytes]]:
        """Take the states that were published since the last time; all are retained."""
        found = [(topic.removeprefix(f"{BASE}/"), payload) for topic, payload, _ in self.broker.published]
        assert all(retained for _, _, retained in self.broker.published)
        self.broker.published.clear()
        return found


async def turns(count: int = 20) -> None:
    """Let everything run that can."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_all_states_are_told_after_each_connect_and_each_when_it_changes(bench: Bench) -> None:
    """Also by one and the same daemon to a broker that lost what it retained."""
    everything = [(f"{PLUG}/state", b"None"), (f"{PLUG}_1/state", b"OFF")]
    async with bench.running():
        assert bench.told() == everything
        bench.controller.change(PLUG, "ON")
        await turns()
        assert bench.told() == [(f"{PLUG}/state", b"ON")]
        bench.controller.change(PLUG, "ON")
        await turns()
        assert bench.told() == []
        bench.broker.connect()
        await turns()
        assert bench.told() == [(f"{PLUG}/state", b"ON"), (f"{PLUG}_1/state", b"OFF")]


async def test_without_a_broker_it_goes_on_and_tells_later(bench: Bench) -> None:
    bench.broker.away = True
    async with bench.running():
        bench.controller.change(PLUG, "ON")
        bench.send(b"nonsense")
        await turns()
        bench.broker.connect()
        await turns()
        assert bench.told() == [(f"{PLUG}/state", b"ON"), (f"{PLUG}_1/state", b"OFF")]


async def test_a_command_is_submitted_and_its_outcome_told(bench: Bench) -> None:
    bench.send(b"ON")
    (command,) = bench.controller.submitted
    assert (command.relay, command.on, command.origin, command.foreign) == (PLUG, True, Origin.MQTT, False)
    assert bench.broker.results() == []
    bench.controller.outcome.set_result(Outcome(Verdict.FAILED, "it says yes and does nothing"))
    await turns()
    assert bench.broker.published[0][2] is False
    assert bench.broker.results() == [{"id": "made", "outcome": "failed", "reason": "it says yes and does nothing"}]


async def test_what_the_sender_says_is_passed_on(bench: Bench) -> None:
    bench.send(b'{"state": "off", "id": "ha-1", "for": "30m", "expires": 1795262400}', f"{PLUG}_1")
    (command,) = bench.controller.submitted
    assert command == Command(
        "ha-1",
        f"{PLUG}_1",
        on=False,
        origin=Origin.MQTT,
        expires=EXPIRY,
        for_=1800,
        expires_at=1795262400,
        foreign=True,
    )


async def test_what_is_not_fresh_never_fires(bench: Bench) -> None:
    """It is in the audit trail, and its sender is told why."""
    bench.send(b'{"state": "ON", "id": "ha-1"}', fresh=False)
    bench.send(b"OFF", fresh=False)
    await turns()
    assert bench.controller.submitted == []
    assert [(command.id, command.on) for command, _ in bench.controller.refused] == [("ha-1", True), ("made", False)]
    first, second = bench.broker.results()
    assert (first["id"], first["outcome"], second["outcome"]) == ("ha-1", "refused", "refused")
    assert "retained" in first["reason"]


@pytest.mark.parametrize(
    ("payload", "relay", "why"),
    [
        (b"toggle", PLUG, "expected ON, OFF or JSON"),
        (b'{"state": "ON", "for": "x"}', PLUG, "for: expected"),
        (b"ON", "other", f"no [[relay]] block is called so; there are: {PLUG}, {PLUG}_1"),
        (b"ON", "", "no [[relay]] block"),
    ],
)
@pytest.mark.parametrize("fresh", [True, False])
async def test_garbage_is_answered(bench: Bench, payload: bytes, relay: str, why: str, *, fresh: bool) -> None:
    bench.send(payload, relay, fresh=fresh)
    await turns()
    topic, _, retained = bench.broker.published[0]
    (result,) = bench.broker.results()
    assert (topic, retained) == (f"{BASE}/{relay}/result", False)
    assert (result["id"], result["outcome"]) == (None, "refused")
    assert why in result["reason"]
    assert not bench.controller.submitted
    assert not bench.controller.refused


@pytest.mark.parametrize(("payload", "relay"), [(b"", PLUG), (b"ON", "x" * (LONGEST + 1))])
async def test_what_cannot_be_answered_is_left(bench: Bench, payload: bytes, relay: str) -> None:
    """Deleting a retained message is no command; a topic without measure could not be answered on."""
    bench.send(payload, relay)
    assert bench.broker.published == []
    assert bench.controller.submitted == []


@pytest.mark.parametrize(
    ("payload", "relay", "number"),
    [
        (b'{"state": "ON", "id": "mine-1", "for": "abc"}', PLUG, "mine-1"),
        (b'{"state": "ON", "id": "mine-1", "on": true}', PLUG, "mine-1"),
        (b'{"state": "toggle", "id": "mine-1"}', "other", "mine-1"),
        (b'{"state": "ON", "id": "mine-1"}', "other", "mine-1"),
        (b'{"state": "ON", "id": "not mine", "for": "abc"}', PLUG, None),
    ],
)
async def test_whoever_sent_garbage_recognises_the_answer(
    bench: Bench, payload: bytes, relay: str, number: str | None
) -> None:
    bench.send(payload, relay)
    (result,) = bench.broker.results()
    assert (result["id"], result["outcome"]) == (number, "refused")


@pytest.mark.parametrize("payload", [b"ON", b'{"state": "ON", "id": "mine-1"}'])
async def test_no_more_commands_than_can_be_at_work(bench: Bench, payload: bytes) -> None:
    """Also where it is the same one again and again, which is one task, and an answer for each message."""
    for _ in range(MOST_AT_WORK + 1):
        bench.send(payload)
    assert len(bench.controller.submitted) == MOST_AT_WORK
    (result,) = bench.broker.results()
    assert result["outcome"] == "refused"
    bench.controller.outcome.set_result(DONE)
    await turns()
    assert [result["outcome"] for result in bench.broker.results()] == ["confirmed"] * MOST_AT_WORK
    bench.send(b"ON")
    assert len(bench.controller.submitted) == MOST_AT_WORK + 1


async def test_a_flood_keeps_nothing_from_going_off_and_no_other_relay_from_anything(bench: Bench) -> None:
    for _ in range(MOST_WITH_OFF):
        bench.send(b"ON")
    refused = bench.broker.results()
    assert [result["outcome"] for result in refused] == ["refused"] * (MOST_WITH_OFF - MOST_AT_WORK)
    bench.send(b"ON", f"{PLUG}_1")
    for _ in range(MOST_WITH_OFF - MOST_AT_WORK):
        bench.send(b"OFF")
    assert bench.broker.results() == []
    assert len(bench.controller.submitted) == MOST_WITH_OFF + 1
    bench.send(b"OFF")
    (result,) = bench.broker.results()
    assert result["outcome"] == "refused"
    assert f"{MOST_WITH_OFF} commands of this relay" in result["reason"]
    bench.send(b"OFF", f"{PLUG}_1")
    assert bench.broker.results() == []


@settings(deadline=None)
@given(st.binary(max_size=200), st.text(max_size=20), st.booleans())
async def test_nothing_from_the_network_raises(payload: bytes, relay: str, fresh: bool) -> None:  # noqa: FBT001
    bench = Bench()
    bench.send(payload, relay, fresh=fresh)
    bench.send(payload, fresh=fresh)
    assert len(bench.controller.submitted) <= int(fresh)
    bench.controller.outcome.set_result(DONE)
    await turns()
