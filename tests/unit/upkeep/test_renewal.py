"""A restored journal goes on under a new id, owes what it owed, and lets nothing be switched again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.relays.command import Command, Origin
from edge_energy.relays.known import COMMANDS, NEWEST, KnownCommands
from edge_energy.upkeep import renewal
from tests.unit.upkeep.appliance import look, record, state_of

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_790_000_000.0
RELAY = "shelly-ec62608ab9a4"
EVERYTHING = ("SELECT * FROM entries", "SELECT * FROM pending", "SELECT * FROM devices", "SELECT * FROM boots")


def kept(command: str, relay: str = RELAY, **more: Any) -> dict[str, Any]:
    return {
        "command": command,
        "relay": relay,
        "on": True,
        "for": None,
        "origin": "cloud",
        "foreign": True,
        "issued": NOW - 100,
        "until": NOW + 3000,
        **more,
    }


def test_a_renewed_journal_has_another_id_and_everything_else(tmp_path: Path) -> None:
    """Entries, debts and tokens stay; where it comes from is noted."""
    journal = tmp_path / "journal.db"
    record(journal, 300, {"token/0123": {"role": "viewer"}})
    before = [look(journal, query) for query in EVERYTHING]
    ((old,),) = look(journal, "SELECT journal_id FROM meta")
    new = renewal.renew(journal, {}, [RELAY], NOW)
    assert look(journal, "SELECT journal_id FROM meta") == [(new,)]
    assert new != old
    assert before == [look(journal, query) for query in EVERYTHING]
    assert state_of(journal) == {
        "token/0123": {"role": "viewer"},
        f"{NEWEST}{RELAY}": NOW,
        renewal.RESTORED: {"from": old, "position": 300, "time": NOW},
    }
    assert renewal.renew(journal, {}, [], NOW) not in (old, new)


def command(name: str, issued: float) -> Command:
    return Command(name, RELAY, True, Origin.CLOUD, 1e12, foreign=True, issued_at=issued)


@given(st.floats(1, 3500), st.booleans())
def test_what_was_issued_before_the_restore_is_superseded(age: float, known: bool) -> None:  # noqa: FBT001
    """A broker that delivers again what was carried out after the backup switches nothing."""
    state = {f"{COMMANDS}a": kept("a", outcome="confirmed", reason="")}
    after = {f"{COMMANDS}b": kept("b", outcome="confirmed", reason="done")} if known else {}
    changes = renewal.changed(state, after, [], NOW)
    now = {key: body for key, body in (state | changes).items() if body is not None}
    commands = KnownCommands(now)
    assert commands.overtaken(RELAY, NOW - age, NOW + 60)
    assert not commands.overtaken(RELAY, NOW + 1, NOW + 60)
    outcome = commands.outcome(command("b", NOW - age))
    assert (outcome is not None and outcome.reason == "done") is known


def test_ids_of_the_replaced_journal_are_taken_over(tmp_path: Path) -> None:
    """They are newer than the backup; of a damaged file nothing is, and nothing fails."""
    replaced = tmp_path / "journal.db"
    record(
        replaced, 100, {f"{COMMANDS}b": kept("b", outcome="confirmed", reason=""), "token/1": {}, f"{NEWEST}x": 5.0}
    )
    known = renewal.known(replaced)
    assert set(known) == {f"{COMMANDS}b", f"{NEWEST}x"}
    changes = renewal.changed({}, known, [], NOW)
    assert changes == {f"{COMMANDS}b": known[f"{COMMANDS}b"], f"{NEWEST}x": NOW, f"{NEWEST}{RELAY}": NOW}
    replaced.write_bytes(b"nonsense" * 1000)
    assert renewal.known(replaced) == {}
    assert renewal.known(tmp_path / "absent.db") == {}


@pytest.mark.parametrize("on", [True, False, None])
def test_no_load_is_switched_on_by_an_old_end(on: bool | None) -> None:  # noqa: FBT001
    """What was to end by switching off still does."""
    state = {"relay/a": {"end": 5.0, "boot": "x", "on": on}, "cut-out/a": "too hot", "off/a": {"at": 1, "utc": 2}}
    changes = renewal.changed(state, {}, [], time.time())
    assert changes == ({} if on is False else {"relay/a": None})


def test_the_mark_of_the_newest_command_is_never_set_back() -> None:
    """The clock may be behind, as a Raspberry Pi's is until it is set."""
    for state, known in (({f"{NEWEST}a": NOW + 60}, {}), ({}, {f"{NEWEST}a": NOW + 60})):
        commands = KnownCommands(renewal.changed(state, known, ["a"], NOW))
        assert commands.overtaken("a", NOW + 50, NOW + 70)
    assert renewal.changed({f"{NEWEST}a": "nonsense"}, {}, ["a"], NOW) == {f"{NEWEST}a": NOW}


def test_the_replaced_journal_knows_better_what_is_cut_out() -> None:
    """What only the backup has stays."""
    state = {"cut-out/a": "too hot", "cut-out/b": "over-current", "off/a": {"at": 1, "utc": 2}}
    assert renewal.changed(state, {"cut-out/a": "too cold"}, [], NOW) == {"cut-out/a": "too cold"}
