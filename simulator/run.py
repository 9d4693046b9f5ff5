"""Real time: lets the house pass its time at the wanted speed and connects its protocols with the broker."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from simulator.mqtt import Connection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from simulator.barrage import Barrage
    from simulator.house import House
    from simulator.message import Message, Talker
    from simulator.mqtt import Broker
    from simulator.shelly.fleet import Fleet

STEPS_PER_SECOND = 60  # of wall-clock time at most: up to speed 60 a step is one second of house time
LONGEST_GAP = 5.0  # seconds of wall-clock time; after a longer sleep of the machine the house does not catch up
BARRAGE_TICK = 0.02
LONGEST_DEBT = 0.25  # seconds; what an outage or a slow broker held up is not made up for in one burst
LARGEST_BACKLOG = 20_000  # messages; a broker that cannot follow makes a barrage slower, not the memory full


@dataclass(frozen=True)
class Pace:
    """How fast and for how long."""

    speed: float = 1.0
    duration: float | None = None


class Simulation:
    """The tasks of one run, on one asyncio loop; a further protocol is one more task beside these."""

    def __init__(
        self,
        house: House,
        talkers: Sequence[Talker],
        pace: Pace,
        barrage: Barrage | None = None,
        fleet: Fleet | None = None,
    ) -> None:
        self._house = house
        self._talkers = talkers
        self._pace = pace
        self._barrage = barrage
        self._fleet = fleet

    async def run(self, broker: Broker, last_will: Message) -> Connection:
        """Run until the duration is over or SIGINT or SIGTERM comes; then say goodbye."""
        connection = Connection(broker, last_will, [f for talker in self._talkers for f in talker.filters])
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        work = [stop.wait(), self._listen(connection), self._live(connection)]
        if self._barrage:
            work.append(self._fire(self._barrage, connection))
        if self._fleet:
            work.append(self._fleet.run(_say_where))
        tasks = [asyncio.ensure_future(each) for each in work]
        done, _ = await asyncio.wait(tasks, timeout=self._pace.duration, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        _publish(connection, (message for talker in self._talkers for message in talker.goodbye()))
        await connection.close()
        for task in done:
            task.result()  # raises what ended it, if it was not the signal
        return connection

    async def _listen(self, connection: Connection) -> None:
        await connection.open()
        while True:
            topic, payload = await connection.receive()
            for talker in self._talkers:
                _publish(connection, talker.hello() if topic is None else talker.receive(topic, payload))

    async def _live(self, connection: Connection) -> None:
        """Advance the house in steps of one length, so that what happens depends on the seed and not on the load."""
        dt = max(1.0, self._pace.speed / STEPS_PER_SECOND)
        due = time.monotonic()
        while True:
            due += dt / self._pace.speed
            delay = due - time.monotonic()
            if delay < -LONGEST_GAP:
                due = time.monotonic()
            await asyncio.sleep(max(0.0, delay))
            self._house.step(dt)
            if self._barrage or not connection.connected:
                continue  # what nobody could hear is due when somebody can
            for talker in self._talkers:
                _publish(connection, talker.due())

    async def _fire(self, barrage: Barrage, connection: Connection) -> None:
        owed, last = 0.0, time.monotonic()
        while True:
            await asyncio.sleep(BARRAGE_TICK)
            now = time.monotonic()
            owed, last = min(owed + (now - last), LONGEST_DEBT), now
            if connection.connected and connection.backlog < LARGEST_BACKLOG:
                count = int(owed * barrage.rate)
                owed -= count / barrage.rate
                _publish(connection, barrage.messages(count))


def _say_where(state: dict[str, Any]) -> None:
    for device in state["devices"]:
        click.echo(f"shelly {device['name']} {device['id']}: http://127.0.0.1:{device['port']}")
    click.echo(f"shelly control: http://127.0.0.1:{state['control']}")


def _publish(connection: Connection, messages: Iterable[Message]) -> None:
    for message in messages:
        connection.publish(message)
