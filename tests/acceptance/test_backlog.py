"""What a broker kept while nobody listened is recorded, but it is not live, and it did not happen now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.conftest import PLUGS, doubled, lost, wrong
from tests.servers.proxy import FaultProxy
from tests.servers.publisher import Plan, Publisher

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.conftest import House
    from tests.servers.publisher import Sent

pytestmark = pytest.mark.alone

SEED = 4
OLD, NEW = 3_600.0, 50.0  # W
QUICK = 'commit_interval = "500ms"\n'


def publish(home: House, plan: Plan) -> list[Sent]:
    """Publish a plan, past any fault between broker and daemon."""
    with Publisher(home.broker.port, plan) as publisher:
        return publisher.wait()


def wait_live(home: House) -> None:
    """Wait until the backlog is over."""
    home.daemon.wait_for(_live, 60, "the end of the backlog")


def _live(status: dict[str, Any]) -> bool:
    source = status["sources"][0]
    return bool(source["connected"] and not source["in_backlog"])


def _powers(home: House) -> dict[str, float]:
    """Return what the daemon believes that each device takes now."""
    devices = home.daemon.ask("/devices")
    return {device["device"]: device["values"]["power"] for device in devices if "power" in device["values"]}


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_messages_of_the_time_when_nobody_listened_are_not_live(
    house: Callable[..., House], tell: Callable[[str], None], protocol: str
) -> None:
    """Guards rule 4: an old 3,600 W switches nothing off, and is recorded when it was, as far as that is known."""
    old = [
        Plan(300, 0, PLUGS, seed=SEED, power=OLD),
        Plan(300, 0, PLUGS, seed=SEED, power=OLD, last_seen=True, first=1_000),
    ]
    new = Plan(PLUGS, 0, PLUGS, seed=SEED, power=NEW, first=2_000)
    tell(f"{old} while the daemon is away, then {new}; MQTT {protocol}, broker: Debian's")
    home = house()
    home.daemon.configure(home.configuration(home.broker.port, f'{QUICK}protocol = "{protocol}"'))
    home.daemon.start()
    wait_live(home)
    home.daemon.kill()
    sent = [message for plan in old for message in publish(home, plan)]
    home.daemon.start()
    wait_live(home)
    source = home.source()
    assert home.daemon.status()["live_updates"] == 0
    assert source["live"] == 0
    assert source["backlog"] == len(sent)
    assert not _powers(home)
    current = publish(home, new)
    home.daemon.wait_for(lambda status: status["live_updates"] >= new.count)
    assert set(_powers(home).values()) == {NEW}
    home.wait_settled(len(sent) + new.count)
    points = home.points()
    spans = [point.span / 1e9 for point in points if point.span is not None]
    tell(f"{len(sent)} of the backlog, {len(spans)} with spans of {min(spans):.2f} to {max(spans):.2f} s")
    assert not lost(sent + current, points)
    assert not doubled(points)
    assert not wrong(sent + current, points)
    assert {point.seq for point in points if point.span is not None} == {m.seq for m in sent if not m.last_seen}


def test_a_backlog_that_outlives_the_daemon_keeps_its_age(
    house: Callable[..., House], tell: Callable[[str], None]
) -> None:
    """Guards rule 4: killed in the middle of a backlog, the daemon still knows since when the rest has waited."""
    old, later = Plan(9_000, 0, PLUGS, seed=SEED), Plan(60, 20, PLUGS, seed=SEED, first=9_000)
    tell(f"{old}, {later} while the daemon is away; killed in its backlog; broker: max_queued_messages 10000")
    home = house(max_queued_messages=10_000)
    home.daemon.configure(home.configuration(home.broker.port, f"{QUICK}receive_maximum = 20"))
    home.daemon.start()
    wait_live(home)
    home.daemon.kill()
    sent = publish(home, old) + publish(home, later)
    home.daemon.start()
    home.daemon.wait_for(lambda status: status["journal"]["entries"] > 50)
    home.daemon.kill()
    home.daemon.start()
    wait_live(home)
    rest = home.source()["backlog"]
    home.wait_settled(len(sent))
    points = home.points()
    tell(f"{rest} of {len(sent)} were left for the second start")
    assert rest > later.count  # else it was not killed in the middle
    assert not lost(sent, points)
    assert not doubled(points)
    assert not wrong(sent, points)


def test_a_restart_while_the_broker_is_out_of_reach_does_not_make_messages_younger(
    house: Callable[..., House], tell: Callable[[str], None]
) -> None:
    """Guards rule 4: since when we were away is about this broker, not about whatever was recorded last."""
    plan = Plan(300, 100, PLUGS, seed=SEED)
    tell(f"{plan} while the broker is out of reach, then the daemon is started twice; broker: Debian's")
    home = house()
    with FaultProxy(home.broker.port, http=False) as line:
        home.daemon.configure(home.configuration(line.port, QUICK))
        home.daemon.start()
        wait_live(home)
        line.refuse()
        home.daemon.wait_for(lambda status: not status["sources"][0]["connected"])
        sent = publish(home, plan)
        for end in (home.daemon.stop, home.daemon.kill):
            end()
            home.daemon.start()
            home.daemon.wait_for(lambda status: status["journal"]["entries"] > 0)
        line.ok()
        wait_live(home)
        home.wait_settled(plan.count)
    points = home.points()
    assert not lost(sent, points)
    assert not doubled(points)
    assert not wrong(sent, points)


def test_what_was_sent_into_a_dead_line_is_as_old_as_it_is(
    house: Callable[..., House], tell: Callable[[str], None]
) -> None:
    """Guards rule 4: we were away from the last that we heard, not from when we noticed."""
    plan = Plan(500, 0, PLUGS, seed=SEED)
    tell(f"{plan} into a line that is dead for longer than a message is fresh; broker: Debian's")
    home = house()
    with FaultProxy(home.broker.port, http=False) as line:
        home.daemon.configure(home.configuration(line.port, f'{QUICK}keepalive = "5s"'))
        home.daemon.start()
        wait_live(home)
        line.hang()
        sent = publish(home, plan)
        # The daemon finds out by itself, by the ping that is not answered.
        home.daemon.wait_for(lambda status: not status["sources"][0]["connected"], 30)
    again = FaultProxy(home.broker.port, http=False)  # what the other one held is lost with it
    again.port = line.port
    with again:
        wait_live(home)
        home.wait_settled(plan.count)
    points = home.points()
    assert not lost(sent, points)
    assert not doubled(points)
    assert not wrong(sent, points)
