"""The audit trail forgets nothing that matters, over restarts and full disks, and fills no memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from edge_energy.clock import Clock
from edge_energy.errors import JournalFull
from edge_energy.relays.audit import Audit
from edge_energy.relays.command import Command, Origin, Outcome, Verdict
from edge_energy.relays.known import MOST_REMEMBERED
from edge_energy.relays.watch import WITHIN
from tests.unit.relays.house import HEATER

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from edge_energy.interfaces import NewEntry

CONFIRMED = Outcome(Verdict.CONFIRMED)


class Done:
    """A commit that has ended well."""

    def failed(self) -> bool:
        """See `interfaces.Durable`."""
        return False

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


class Disk:
    """What is recorded, and the state that is kept; it may be full."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.state: dict[str, Any] = {}
        self.full = False

    def record(self, entries: Sequence[NewEntry], within: float, state: Mapping[str, Any] | None = None) -> Any:
        """See `interfaces.Recorder`."""
        assert within <= 0.25
        if self.full:
            raise JournalFull("no space left")
        self.bodies += [orjson.loads(entry.body) for entry in entries]
        for key, body in (state or {}).items():
            self.state.pop(key, None)
            if body is not None:
                self.state[key] = orjson.loads(orjson.dumps(body))
        return Done()

    def audit(self) -> Audit:
        """Begin with what is kept, as after a restart."""
        return Audit(self, Clock(lambda: True), self.state)  # type: ignore[arg-type]

    def events(self, kind: str = "incident") -> list[str]:
        """Return what happened to incidents."""
        return [body["event"] for body in self.bodies if kind in body]


def command(number: str, *, foreign: bool = True) -> Command:
    return Command(number, HEATER, True, Origin.MQTT, 0.0, foreign=foreign)


def test_outcomes_are_remembered_for_a_thousand_ids_and_no_more() -> None:
    """Those of our own ids are not: nobody sends them again."""
    disk = Disk()
    audit = disk.audit()
    for number in range(MOST_REMEMBERED + 10):
        audit.outcome(command(str(number)), HEATER, CONFIRMED)
        audit.outcome(command(f"own-{number}", foreign=False), HEATER, CONFIRMED)
    assert len(disk.state) == MOST_REMEMBERED
    again = disk.audit()
    assert again.commands.outcome(command("9")) is None
    assert again.commands.outcome(command("10")) == CONFIRMED
    assert again.commands.outcome(command("own-20", foreign=False)) is None


def test_an_interrupted_command_is_told_once() -> None:
    disk = Disk()
    disk.audit().intent(command("a"), HEATER)
    for _ in range(2):
        disk.audit().end_interrupted()
    assert [body["event"] for body in disk.bodies] == ["intent", "outcome"]


async def test_what_a_full_disk_kept_out_is_recorded_again_once() -> None:
    """Though two brokers have brought it; what was recorded is not."""
    disk = Disk()
    audit = disk.audit()
    audit.outcome(command("a"), HEATER, CONFIRMED)
    disk.full = True
    audit.outcome(command("b"), HEATER, CONFIRMED)
    assert [await audit.recorded(command(number)) for number in "ab"] == [True, False]
    disk.full = False
    for number in "aabb":
        audit.record_again(command(number), HEATER, CONFIRMED)
    assert [body["command"] for body in disk.bodies] == ["a", "b"]
    assert await audit.recorded(command("b"))


def test_what_was_interrupted_is_known_though_the_disk_is_full() -> None:
    """All of it; and it is told when somebody sends it again, or at the next start."""
    disk = Disk()
    for number in "ab":
        disk.audit().intent(command(number), HEATER)
    audit = disk.audit()
    disk.full = True
    audit.end_interrupted()
    outcomes = [audit.commands.outcome(command(number)) for number in "ab"]
    assert [outcome and outcome.verdict for outcome in outcomes] == [Verdict.FAILED] * 2
    disk.full = False
    audit.record_again(command("a"), HEATER, Outcome(Verdict.FAILED))
    audit.end_interrupted()
    assert [body["command"] for body in disk.bodies if body["event"] == "outcome"] == ["a", "b"]


def test_an_incident_is_told_when_it_begins_and_when_it_ends() -> None:
    """And not again while it lasts; each relay has its own."""
    disk = Disk()
    audit = disk.audit()
    for now in range(3):
        audit.incidents(HEATER, HEATER, {"too hot": "it is 70 °C"}, now)
        audit.incidents("other", "other", {}, now)
    audit.incidents(HEATER, HEATER, {}, 3)
    assert disk.events() == ["opened", "resolved"]
    assert not disk.state


def test_on_a_full_disk_an_incident_is_told_later() -> None:
    disk = Disk()
    audit = disk.audit()
    disk.full = True
    audit.incidents(HEATER, HEATER, {"too hot": "it is 70 °C"}, 0)
    disk.full = False
    audit.incidents(HEATER, HEATER, {"too hot": "it is 70 °C"}, 1)
    assert disk.events() == ["opened"]


def test_an_incident_from_before_a_restart_is_over_when_it_is_not_found_again() -> None:
    """Finding it takes minutes: until then nobody knows better than before."""
    disk = Disk()
    disk.audit().incidents(HEATER, HEATER, {"still draws": "1,230 W"}, 0)
    audit = disk.audit()
    audit.incidents(HEATER, HEATER, {}, 1000)
    audit.incidents(HEATER, HEATER, {}, 1000 + WITHIN - 1)
    assert disk.events() == ["opened"]
    audit.incidents(HEATER, HEATER, {}, 1000 + WITHIN)
    assert disk.events() == ["opened", "resolved"]


def test_an_incident_that_is_found_again_after_a_restart_is_the_same() -> None:
    disk = Disk()
    disk.audit().incidents(HEATER, HEATER, {"still draws": "1,230 W"}, 0)
    audit = disk.audit()
    audit.incidents(HEATER, HEATER, {}, 0)
    audit.incidents(HEATER, HEATER, {"still draws": "1,250 W"}, 200)
    assert disk.events() == ["opened"]
    audit.incidents(HEATER, HEATER, {}, 201)
    assert disk.events() == ["opened", "resolved"]
