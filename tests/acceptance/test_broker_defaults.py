"""A broker as Debian installs it: what it can keep for us is not lost, and what it drops is known."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import LONG, PLUGS, doubled, lost, wrong
from tests.servers.base import MissingError
from tests.servers.publisher import BASE, Plan, Publisher, Sent
from tests.servers.slow_fsync import slow_fsync

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.conftest import House
    from tests.servers.mosquitto import Mosquitto

pytestmark = pytest.mark.alone

SEED = 3
RATE = 500
SYNC = 200  # ms
QUEUE = 1_000  # mosquitto's default max_queued_messages
CLIENT = "edge-energy-house-1"
_SENT = re.compile(rf"Sending PUBLISH to {CLIENT} \(d0, q1, r0, m(\d+), '{BASE}/(plug-\d+)'")
_ACKNOWLEDGED = re.compile(rf"Received PUBACK from {CLIENT} \(Mid: (\d+),")


def test_a_database_that_is_away_loses_nothing(house: Callable[..., House], tell: Callable[[str], None]) -> None:
    """Guards rule 2: the journal is the buffer of an outage, whatever the broker could keep."""
    seconds = 20 if LONG else 8
    plan, away, back = Plan((seconds + 6) * RATE, RATE, PLUGS, seed=SEED), 3 * RATE, (seconds + 3) * RATE
    tell(f"{plan}, broker: Debian's; database away from message {away} to {back}")
    home = house()
    home.daemon.start()
    home.daemon.wait_connected()
    with Publisher(home.broker.port, plan) as publisher:
        publisher.wait_sent(away)
        home.influxdb.kill()
        publisher.wait_sent(back)
        home.influxdb.start()
        sent = publisher.wait()
    home.wait_settled(plan.count)
    points = home.points()
    tell(f"{len(lost(sent, points))} of {len(sent)} lost, live: {home.source()['live']}")
    assert not lost(sent, points)
    assert not doubled(points)
    assert not wrong(sent, points)


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_short_absence_loses_nothing(house: Callable[..., House], tell: Callable[[str], None], how: str) -> None:
    """Guards that an upgrade or a crash fits into the broker's queue: 750 messages of 1.5 s, of 1,000 it keeps."""
    plan, away, back = Plan(2_250, RATE, PLUGS, seed=SEED), 1_000, 1_750
    tell(f"{plan}, broker: Debian's; daemon {how} from message {away} to {back}")
    home = house()
    home.daemon.start()
    home.daemon.wait_connected()
    # Where starting takes longer than a second, the house waits: this is about 750 messages, not about the machine.
    with Publisher(home.broker.port, plan, limit=back) as publisher:
        publisher.wait_sent(away)
        began = time.monotonic()
        (home.daemon.stop if how == "stopped" else home.daemon.kill)()
        publisher.wait_sent(away + RATE // 2)
        home.daemon.start()
        home.daemon.wait_connected()
        seconds = time.monotonic() - began
        publisher.limit = plan.count
        sent = publisher.wait()
    home.wait_settled(plan.count)
    points = home.points()
    tell(f"away for {seconds:.1f} s: {len(lost(sent, points))} of {len(sent)} lost")
    assert not lost(sent, points)
    assert not doubled(points)
    assert not wrong(sent, points)


def test_of_a_long_absence_only_what_the_broker_dropped_is_missing(
    house: Callable[..., House], tell: Callable[[str], None]
) -> None:
    """Guards that the broker's limit is the only one: everything that it kept is recorded, with a true time."""
    plan, away, back = Plan(13 * RATE, RATE, PLUGS, seed=SEED), 2 * RATE, 12 * RATE
    tell(f"{plan}, broker: Debian's, its counters every second; daemon killed from message {away} to {back}")
    home = house(config=["sys_interval 1"])
    home.daemon.start()
    home.daemon.wait_connected()
    with Publisher(home.broker.port, plan) as publisher:
        publisher.wait_sent(away)
        home.daemon.kill()
        publisher.wait_sent(back)
        home.daemon.start()
        sent = publisher.wait()
    dropped = _dropped(home.broker)
    home.wait_settled(plan.count - dropped)
    points = home.points()
    missing = lost(sent, points)
    tell(f"the broker dropped {dropped} of {len(sent)}, missing are {len(missing)}: {missing[0]} to {missing[-1]}")
    assert len(missing) == dropped
    assert dropped > (back - away) - QUEUE - RATE  # else the daemon was not away
    assert not doubled(points)
    assert not wrong(sent, points)


def test_broker_and_daemon_killed_together_lose_nothing_acknowledged(
    house: Callable[..., House], tell: Callable[[str], None]
) -> None:
    """Guards rule 1: an acknowledgement that the broker has seen means that the journal has the reading.

    The broker forgets everything when it is killed, so nobody but the journal can still have it.
    """
    plan = Plan(7 * RATE, RATE, PLUGS, seed=SEED)
    moment = random.Random(SEED).randrange(3 * RATE, 6 * RATE)
    tell(f"{plan}, broker: Debian's, logging all; no database; syncs of {SYNC} ms; both killed at message {moment}")
    home = house(config=["log_type all"])
    home.daemon.configure(home.configuration(home.broker.port, 'commit_interval = "1s"'))
    with contextlib.suppress(MissingError):  # a slow card: while one commit is being synced, more is waiting
        home.daemon.environment.update(slow_fsync(SYNC))
    home.daemon.start()
    home.daemon.wait_connected()
    home.influxdb.kill()
    with Publisher(home.broker.port, plan) as publisher:
        publisher.wait_sent(moment)
        for process in (home.daemon, home.broker):
            os.kill(process.pid, signal.SIGKILL)
        home.daemon.kill()  # both have ended when these return
        home.broker.kill()
    acknowledged = _acknowledged(home.broker, publisher.sent)
    for server in (home.broker, home.influxdb, home.daemon):
        server.start()
    home.wait_settled(len(acknowledged))
    points = home.points()
    tell(
        f"{len(publisher.sent)} sent, {publisher.acknowledged} acknowledged by the broker, {len(acknowledged)} by "
        f"the daemon, {len(points)} in the database"
    )
    assert len(acknowledged) > RATE
    assert not lost(acknowledged, points)
    assert not doubled(points)
    assert not wrong(publisher.sent, points)


def _dropped(broker: Mosquitto) -> int:
    """Return how many messages the broker says it has dropped, by counters newer than this call."""
    broker.receive("$SYS/broker/uptime", 3, timeout=30)  # the retained one, and two turns of the counters
    return int(broker.receive("$SYS/broker/publish/messages/dropped", 1)[0])


def _acknowledged(broker: Mosquitto, sent: list[Sent]) -> list[Sent]:
    """Return the messages whose acknowledgement by the daemon is in the broker's log."""
    of_plug: dict[str, list[Sent]] = defaultdict(list)
    for message in sent:
        of_plug[f"plug-{message.seq % PLUGS:02}"].append(message)
    under_way: dict[str, Sent] = {}
    acknowledged: list[Sent] = []
    for line in broker.log.read_text().splitlines():
        if found := _SENT.search(line):
            under_way[found[1]] = of_plug[found[2]].pop(0)
        elif (found := _ACKNOWLEDGED.search(line)) and found[1] in under_way:
            acknowledged.append(under_way.pop(found[1]))
    return acknowledged
