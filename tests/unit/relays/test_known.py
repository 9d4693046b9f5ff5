"""No id switches twice, however many came in between, and whatever was forgotten of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from edge_energy.relays import known
from edge_energy.relays.command import EXPIRY, LONGEST_GOOD, Command, Origin, Outcome, Verdict
from edge_energy.relays.known import ANOTHER, KnownCommands
from tests.unit.relays.house import HEATER, PUMP

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIRMED = Outcome(Verdict.CONFIRMED)
REFUSED = Outcome(Verdict.REFUSED, "not now")


class Disk:
    """The journal's state."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def write(self, state: Mapping[str, Any]) -> None:
        """Write what was handed out."""
        for key, body in state.items():
            self.state.pop(key, None)
            if body is not None:
                self.state[key] = orjson.loads(orjson.dumps(body))

    def start(self) -> KnownCommands:
        """Begin with what is kept, in whatever order it comes back."""
        return KnownCommands(dict(sorted(self.state.items())))


def command(number: str, relay: str = HEATER, origin: Origin = Origin.CLOUD, **more: Any) -> Command:
    return Command(number, relay, True, origin, 0.0, foreign=True, **more)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember few."""
    monkeypatch.setattr(known, "MOST_REMEMBERED", 5)


@pytest.mark.usefixtures("few")
def test_the_newest_are_remembered_over_a_restart() -> None:
    """Whatever they are called."""
    disk, now = Disk(), time.time()
    commands = disk.start()
    for number in range(5):
        disk.write(commands.end(command(f"m{number}", issued_at=now), CONFIRMED, intended=True))
    disk.write(commands.end(command("a", issued_at=now), CONFIRMED, intended=True))
    commands = disk.start()
    disk.write(commands.end(command("z", issued_at=now), CONFIRMED, intended=True))
    assert disk.start().outcome(command("a")) == CONFIRMED
    assert len(disk.state) <= 5 + 1  # and when the newest of its relay was issued


@pytest.mark.usefixtures("few")
def test_what_is_good_for_long_is_remembered_longest() -> None:
    disk, now = Disk(), time.time()
    commands = disk.start()
    disk.write(commands.end(command("long", issued_at=now, expires_at=now + 1800), CONFIRMED, intended=True))
    for number in range(20):
        disk.write(commands.end(command(str(number), PUMP, issued_at=now), CONFIRMED, intended=True))
    assert disk.start().outcome(command("long")) == CONFIRMED


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("outcome", [CONFIRMED, REFUSED])
def test_what_was_forgotten_though_it_is_good_is_overtaken(outcome: Outcome) -> None:
    """As is all that is as old; what was issued later is not."""
    disk, now = Disk(), time.time() - 10
    commands = disk.start()
    first = command("first", issued_at=now, expires_at=now + 600)
    disk.write(commands.end(first, outcome, intended=True))
    for number in range(5):
        more: dict[str, Any] = {"issued_at": now, "expires_at": now + LONGEST_GOOD}
        disk.write(commands.end(command(str(number), PUMP, **more), CONFIRMED, intended=True))
    for found in (commands, disk.start()):
        assert found.outcome(first) is None
        assert found.overtaken(HEATER, now, now + 10)
        assert not found.overtaken(HEATER, now + 0.001, now + 10)


@pytest.mark.usefixtures("few")
def test_nonsense_from_the_future_fills_nothing() -> None:
    """It is refused, and must neither be kept for ever nor make a relay deaf."""
    disk, now = Disk(), time.time()
    commands = disk.start()
    for number in range(20):
        ahead = command(str(number), issued_at=now + 1e9, expires_at=now + 2e9)
        disk.write(commands.end(ahead, REFUSED, intended=False))
    assert not commands.overtaken(HEATER, time.time(), time.time() + 5)


def test_a_date_that_was_wrong_makes_no_relay_deaf() -> None:
    """Our clock was a year ahead when something was taken."""
    disk, now = Disk(), time.time()
    commands = disk.start()
    commands.take(HEATER, now + 365 * 86400)
    disk.write(commands.begin(command("a"), HEATER))
    commands = disk.start()
    assert not commands.overtaken(HEATER, now, now + 5)
    commands.take(HEATER, now)
    assert commands.overtaken(HEATER, now - 1, now + 5)


def test_only_what_no_person_sends_again_stays_refused() -> None:
    disk = Disk()
    commands = disk.start()
    for origin in (Origin.HTTP, Origin.MQTT, Origin.CLOUD):
        disk.write(commands.end(command(origin, origin=origin), REFUSED, intended=False))
    for origin in (Origin.HTTP, Origin.MQTT):
        assert commands.outcome(command(origin, origin=origin)) is None
        assert commands.outcome(command(Origin.CLOUD, origin=origin)) is None
    assert commands.outcome(command(Origin.CLOUD)) == REFUSED


def test_another_with_its_id_leaves_alone_what_is_kept() -> None:
    disk = Disk()
    commands = disk.start()
    disk.write(commands.begin(command("a"), HEATER))
    disk.write(commands.end(command("a", PUMP), Outcome(Verdict.REFUSED, ANOTHER), intended=False))
    assert [kept["relay"] for kept in disk.start().interrupted] == [HEATER]


def test_what_an_older_version_has_kept_is_known() -> None:
    """And forgotten first."""
    kept = {"command": "a", "relay": HEATER, "on": True, "for": None, "outcome": "confirmed", "reason": ""}
    commands = KnownCommands({"command/a": kept})
    assert commands.outcome(command("a", issued_at=time.time() - EXPIRY)) == CONFIRMED
