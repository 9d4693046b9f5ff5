"""Whatever a broker delivers, however often, and whenever the daemon is restarted: one switch for each id at most."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from edge_energy.cloud.inbox import Inbox
from tests.unit.cloud.post import Post
from tests.unit.cloud.test_inbox import running
from tests.unit.relays.house import HEATER, PUMP, Driver, House, house, settings

RELAYS = (HEATER, PUMP)


class Send(NamedTuple):
    """A command is published; those with a number have an id of their own, which another letter may have too."""

    relay: int
    on: bool
    number: int | None

    def body(self) -> dict[str, Any]:
        """Return the letter."""
        named = {} if self.number is None else {"command_id": f"app:{self.number}"}
        return {"device_id": RELAYS[self.relay], "switch": self.on, **named}


class Again(NamedTuple):
    """The broker delivers a letter again, acknowledged or not."""

    which: int


class Settle(NamedTuple):
    """All is done that there is to do."""


class Drop(NamedTuple):
    """The connection with the broker is lost, and comes back."""


class Restart(NamedTuple):
    """The daemon ends, whatever is at work, and starts again."""


Step = Send | Again | Settle | Drop | Restart
STEPS = st.lists(
    st.builds(Send, st.integers(0, 1), st.booleans(), st.none() | st.integers(0, 3))
    | st.builds(Again, st.integers(0, 9))
    | st.sampled_from([Settle(), Drop(), Restart()]),
    max_size=14,
)


class World:
    """A house that is restarted now and then, and the broker that outlives it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.post = Post()
        self.drivers = {relay: Driver() for relay in RELAYS}
        self._running: AsyncExitStack
        self._home: House

    async def start(self) -> None:
        """Start the daemon."""
        self._running = AsyncExitStack()
        found = settings(*({"device": relay, "lease": "0s", "safe_state": "leave"} for relay in RELAYS))
        self._home = await self._running.enter_async_context(house(self.directory, found, self.drivers))
        inbox = Inbox(self.post, self._home.controller, self._home.journal)
        await self._running.enter_async_context(running(inbox))

    async def stop(self) -> None:
        """End it."""
        await self._running.aclose()

    async def step(self, step: Step) -> None:
        """Let something happen."""
        match step:
            case Send():
                self.post.put(step.body())
            case Again() if self.post.kept:
                letters = list(self.post.kept.values())
                self.post.deliver(letters[step.which % len(letters)])
            case Settle():
                await self._home.until(lambda: not self.post.unacknowledged)
            case Drop():
                self.post.drop()
            case Restart():
                await self.stop()
                await self.start()
        await asyncio.sleep(0)

    async def intents(self) -> list[tuple[str, str, bool]]:
        """Return (id, relay, on) of all that was begun for the cloud."""
        bodies = [
            body for kind, body in await self._home.entries() if kind == "command" and body["origin"] == "cloud"
        ]
        return [(body["command"], body["relay"], body["on"]) for body in bodies if body["event"] == "intent"]


async def live(steps: list[Step]) -> None:
    """Let all of it happen, and look at what was switched."""
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory))
        await world.start()
        for step in (*steps, Settle()):
            await world.step(step)
        intents = await world.intents()
        await world.stop()
    begun = Counter(command for command, _, _ in intents)
    assert max(begun.values(), default=0) <= 1
    for relay, driver in world.drivers.items():
        for on in (True, False):
            told = sum(call[:2] == ("switch", on) for call in driver.calls)
            assert told <= sum(intent[1:] == (relay, on) for intent in intents)


@effort(max_examples=40, deadline=None)
@given(STEPS)
def test_each_id_switches_once_at_most(steps: list[Step]) -> None:
    """And all letters are acknowledged in the end."""
    asyncio.run(live(steps))
