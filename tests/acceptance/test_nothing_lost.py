"""Every message is in the database once, though the daemon and the database die again and again."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.conftest import PLUGS, doubled, lost, wrong
from tests.servers.proxy import FaultProxy
from tests.servers.publisher import Plan, Publisher

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.conftest import House
    from tests.servers.influxdb import InfluxDB

pytestmark = pytest.mark.alone

SEED = 20_261_120
COUNT, RATE, QUEUE = 20_000, 2_000, 100_000
KILLS = 5
OUTAGES = ((2_500, 7_500), (12_500, 17_500))
"""Between which messages the database is away: half of the time."""


def _disturb(influxdb: InfluxDB, publisher: Publisher) -> None:
    for first, last in OUTAGES:
        publisher.wait_sent(first)
        influxdb.kill()
        publisher.wait_sent(last)
        influxdb.start()


@pytest.mark.parametrize("last_seen", [False, True], ids=["our time", "last_seen"])
def test_every_message_is_recorded_once_whatever_is_killed(
    house: Callable[..., House], tell: Callable[[str], None], *, last_seen: bool
) -> None:
    """Guards rules 1 to 3: acknowledged is on disk, one buffer for every outage, nothing recorded twice."""
    chance = random.Random(SEED + last_seen)
    kills = sorted(chance.sample(range(500, COUNT), KILLS))
    plan = Plan(COUNT, RATE, PLUGS, seed=SEED, last_seen=last_seen)
    tell(f"{plan}, broker: max_queued_messages {QUEUE}, daemon killed at messages {kills}, database away {OUTAGES}")
    home = house(max_queued_messages=QUEUE)
    home.daemon.start()
    home.daemon.wait_connected()
    with ThreadPoolExecutor(1) as pool, Publisher(home.broker.port, plan) as publisher:
        outages = pool.submit(_disturb, home.influxdb, publisher)
        for moment in kills:
            publisher.wait_sent(moment)
            home.daemon.kill()
            home.daemon.start()
        sent = publisher.wait()
        outages.result()
    home.wait_settled(COUNT)
    points = home.points()
    last = home.source()
    told = ", ".join(f"{last[name]} {name}" for name in ("recorded", "live", "backlog", "redelivered"))
    tell(f"{len(sent)} sent in {publisher.seconds:.1f} s, {len(points)} points; since the last start {told}")
    assert not lost(sent, points)
    assert not doubled(points)
    assert len(points) == COUNT
    assert not wrong(sent, points)


def test_what_is_on_disk_but_was_not_acknowledged_is_not_recorded_again(
    house: Callable[..., House], tell: Callable[[str], None]
) -> None:
    """Guards against duplicates from the moment between commit and acknowledgement, which the broker never hears.

    What the plugs said before is known to the first daemon only: it must not matter for what is the same message.
    """
    plan, first = Plan(1_000, 0, PLUGS, seed=SEED), 500
    tell(f"{plan}, broker: Debian's; acknowledgements lost from message {first} on, then the daemon killed")
    home = house()
    with FaultProxy(home.broker.port, http=False) as line:
        home.daemon.configure(home.configuration(line.port, 'commit_interval = "2s"'))
        home.daemon.start()
        home.daemon.wait_for(_listening)
        with Publisher(home.broker.port, plan, limit=first) as publisher:
            home.wait_settled(first)
            received = _received(home.daemon.status())
            publisher.limit = plan.count
            sent = publisher.wait()
        home.daemon.wait_for(lambda status: _received(status) >= received + plan.count - first)
        line.hang()
        home.daemon.wait_for(lambda status: status["journal"]["entries"] >= len(sent))
        home.daemon.kill()
    again = FaultProxy(home.broker.port, http=False)  # what the other one held is lost with it
    again.port = line.port
    with again:
        home.daemon.start()
        home.wait_settled(len(sent))
        redelivered = home.source()["redelivered"]
    points = home.points()
    tell(f"{redelivered} messages recognised, {len(points)} points of {len(sent)} messages")
    assert not lost(sent, points)
    assert not doubled(points)
    assert redelivered == plan.count - first


def _received(status: dict[str, Any]) -> int:
    """Return how many messages of QoS 1 have arrived."""
    count: int = status["sources"][0]["received_qos"]["1"]
    return count


def _listening(status: dict[str, Any]) -> bool:
    source = status["sources"][0]
    return bool(source["connected"] and not source["in_backlog"])
