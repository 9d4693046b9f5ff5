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
  uses for what it has forgotten. So what a broker delivers again is not carried out again.
- A command that was at work at the moment of the backup is reported as interrupted, and not repeated.
- "On again at 8:00" of a relay that is to be left as it is (`relay/…`) would switch a load on, perhaps a month later:
  it is forgotten. "Off at 8:00" stays, and happens at the start.
- Cut-outs, findings about leases, and open incidents stay; an incident that is not found again is resolved.
- Where a command from the cloud was read up to is kept by the broker, not here.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from edge_energy.relays.known import COMMANDS, NEWEST
from edge_energy.relays.memory import ENDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

RESTORED = "journal/restored"
"""A key in the journal's state: the id and position that were restored last, and when (UTC, s)."""
_STATE = "SELECT key, body FROM state"


def known_commands(journal: Path) -> dict[str, Any]:
    """Return what a journal knows of commands, as far as it can still be read, by key."""
    found: dict[str, Any] = {}
    with suppress(sqlite3.Error, ValueError, TypeError, AttributeError):  # of a damaged one nothing is sure
        uri = f"{journal.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as db:
            found = {key: json.loads(body) for key, body in db.execute(_STATE) if key.startswith(COMMANDS)}
    return found


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
    changes |= {f"{NEWEST}{relay}": now for relay in names | set(relays)}
    ends = {key: _table(body) for key, body in state.items() if key.startswith(ENDS)}
    return changes | {key: None for key, end in ends.items() if end.get("on") is not False}


def _table(body: Any) -> dict[str, Any]:
    return body if isinstance(body, dict) else {}
