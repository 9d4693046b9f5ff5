"""Makes a journal from a backup one that may go on: under a new id, and without switching anything that was switched.

**Events.** The file is older than what its sinks have. It goes on at the position of the backup, so positions that
were given after the backup are given again, to other events; under the old id a consumer would drop them as known.
Hence the new id: no pair of id and position ever names two events. The price: what was still owed at the backup and
was delivered after it is delivered again, in Kafka and Pub/Sub under new ids (`ce_id`); in InfluxDB it is the same
point. What was recorded after the backup is only where it had been delivered, and sums of energy that are counted
here (of devices that tell increments) go on from the backup.

**Relays.** Nothing is switched because of a restore:

- Commands that were carried out after the backup are not known in it. Those that the replaced journal knows are taken
  over, and for each relay everything issued before the restore counts as superseded, by the mark that `KnownCommands`
  uses for what it has forgotten. So what a broker delivers again is not carried out again. The mark is never set
  back: the clock may be behind just now.
- A command that was at work at the moment of the backup is reported as interrupted, and not repeated.
- "On again at 8:00" of a relay that is to be left as it is (`relay/…`) would switch a load on, perhaps a month later:
  it is forgotten. "Off at 8:00" stays, and happens at the start.
- Cut-outs, and what a person has switched off, hold whether they are in the backup or in the replaced journal, which
  knows better where both say something.
- Findings about leases, and open incidents stay; an incident that is not found again is resolved.
- Where a command from the cloud was read up to is kept by the broker, not here.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from edge_energy.clock import boot_id
from edge_energy.journal.files import reserve, sync
from edge_energy.journal.store import Commit, Store
from edge_energy.relays.known import COMMANDS, NEWEST
from edge_energy.relays.memory import CUT_OUTS, ENDS, OFFS
from edge_energy.upkeep import places
from edge_energy.upkeep.errors import NotDone

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from edge_energy.upkeep.places import Places

_KNOWN = (COMMANDS, CUT_OUTS, OFFS)
_STAYS = ("journal.db", "journal.reserve")
RESTORED = "journal/restored"
"""A key in the journal's state: the id and position that were restored last, and when (UTC, s)."""
_STATE = "SELECT key, body FROM state"


def around_journal(where: Places, kept: Path) -> list[tuple[Path, Path]]:
    """Return what to move aside that belongs to the journal which is replaced: SQLite's files, marks, repairs.

    An empty file goes before its WAL: left without it, it would be the journal of whichever daemon starts now.
    """
    stays = _STAYS if not _empty(where.journal) else ("journal.reserve",)
    return [(path, kept / path.name) for path in sorted(where.state.glob("journal.*")) if path.name not in stays]


def renew_staged(where: Places, journal: Path, config: Path) -> None:
    """Give a staged journal a new id, and what the journal knows that it replaces. Raises `NotDone`."""
    try:
        renew(journal, known(where.journal), places.relays(where, config), time.time())
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise NotDone(f"the journal in the backup is not one that this release knows: {error}") from None
    sync(journal)


def seed(journal: Path, known: Mapping[str, Any], relays: Iterable[str], now: float) -> None:
    """Make a new journal that has nothing but what keeps relays from being switched; one file, on the disk."""
    with closing(Store(journal)) as store:
        store.begin(boot_id())
        store.commit(Commit(state=changed({}, known, relays, now)))
    reserve(journal).unlink(missing_ok=True)
    sync(journal)


def known(journal: Path) -> dict[str, Any]:
    """Return what a journal knows of commands, cut-outs and offs, as far as it can still be read, by key."""
    found: dict[str, Any] = {}
    if _empty(journal):  # opening it, SQLite would delete its WAL
        return found
    with suppress(sqlite3.Error, ValueError, TypeError, AttributeError):  # of a damaged one nothing is sure
        uri = f"{journal.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as db:
            found = {key: json.loads(body) for key, body in db.execute(_STATE) if key.startswith(_KNOWN)}
    return found


def _empty(journal: Path) -> bool:
    return journal.exists() and journal.stat().st_size == 0


def renew(journal: Path, known: Mapping[str, Any], relays: Iterable[str], now: float) -> str:
    """Change a journal that no daemon uses; return its new id.

    `known` is what the journal knows that this one replaces; `now` is UTC s. Raises `sqlite3.Error`.
    """
    journal_id = uuid.uuid4().hex
    with closing(sqlite3.connect(journal, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=FULL")
        db.execute("BEGIN IMMEDIATE")
        state = {key: json.loads(body) for key, body in db.execute(_STATE)}
        old, position = db.execute("SELECT journal_id, (SELECT max(position) FROM entries) FROM meta").fetchone()
        db.execute("UPDATE meta SET journal_id = ?", (journal_id,))
        changes = changed(state, known, relays, now)
        changes[RESTORED] = {"from": old, "position": position or 0, "time": now}
        for key, body in changes.items():
            if body is None:
                db.execute("DELETE FROM state WHERE key = ?", (key,))
            else:
                db.execute("INSERT OR REPLACE INTO state VALUES (?, NULL, ?)", (key, json.dumps(body)))
        db.execute("COMMIT")
    return journal_id


def changed(state: Mapping[str, Any], known: Mapping[str, Any], relays: Iterable[str], now: float) -> dict[str, Any]:
    """Return what to change in the state of a restored journal; None removes a key."""
    changes = {key: body for key, body in known.items() if not key.startswith(NEWEST)}
    commands = {**state, **known}
    names = {key.removeprefix(NEWEST) for key in commands if key.startswith(NEWEST)}
    names |= {body["relay"] for key, body in commands.items() if key.startswith(COMMANDS) and "relay" in _table(body)}
    for key in (f"{NEWEST}{relay}" for relay in names | set(relays)):
        changes[key] = max(now, _time(state.get(key)), _time(known.get(key)))
    ends = {key: _table(body) for key, body in state.items() if key.startswith(ENDS)}
    return changes | {key: None for key, end in ends.items() if end.get("on") is not False}


def _time(body: Any) -> float:
    return body if isinstance(body, int | float) else 0.0


def _table(body: Any) -> dict[str, Any]:
    return body if isinstance(body, dict) else {}
