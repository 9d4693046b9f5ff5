"""An appliance in a directory of a test's own: configuration, journal, secrets, Zigbee2MQTT's data."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from edge_energy.journal.store import Commit, Store
from edge_energy.upkeep.places import Places
from tests.unit.samples import BOOT, new_entries

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PASSPHRASE = "correct horse battery"


def make_places(root: Path) -> Places:
    """Return places below a directory, with a configuration that names them."""
    etc = root / "etc"
    places = Places(etc / "edge-energy.toml", root / "state", etc, root / "credstore", (root / "zigbee2mqtt",))
    etc.mkdir(parents=True)
    places.config.write_text(f'[appliance]\nid = "house-7"\nstate_dir = "{places.state}"\n# by hand\n')
    return places


def furnish(places: Places, entries: int = 500) -> Places:
    """Add everything that an appliance has."""
    places.state.mkdir(mode=0o750)
    record(places.journal, entries)
    (places.state / "ledger.db").write_bytes(b"hours")
    (places.state / "lock").touch()
    for kind, name in (("secrets", "mqtt-devices.password"), ("tls", "server.key"), ("", "kafka.key")):
        (places.etc / kind).mkdir(exist_ok=True)
        (places.etc / kind / name).write_text(f"secret {name}")
    (places.etc / "install.conf").write_text("MODE=hardware\n")
    places.credstore.mkdir()
    (places.credstore / "edge-energy.mqtt.password").write_text("secret of the broker")
    (places.credstore / "other.password").write_text("not ours")
    zigbee = places.zigbee2mqtt[0]
    zigbee.mkdir()
    (zigbee / "database.db").write_text('{"id":1}\n')
    (zigbee / "coordinator_backup.json").write_text('{"network_key":{"key":"0103050709"}}')
    (zigbee / "log").write_text("not wanted")
    return places


def record(journal: Path, entries: int, state: Mapping[str, Any] | None = None) -> None:
    """Add entries to a journal, of which a sink owes the last hundred."""
    with closing(Store(journal)) as store:
        store.begin(BOOT)
        before = store.newest
        debts: dict[str, list[tuple[int, int | None]]] = {"influxdb": [(before + entries - 99, None)]}
        store.commit(Commit(entries=new_entries(entries), state=dict(state or {}), debts=debts))


def look(journal: Path, sql: str) -> list[Any]:
    """Ask a journal that no daemon uses."""
    with closing(sqlite3.connect(journal)) as db:
        return db.execute(sql).fetchall()


def state_of(journal: Path) -> dict[str, Any]:
    """Return the small facts of a journal."""
    return {key: json.loads(body) for key, body in look(journal, "SELECT key, body FROM state")}


def snapshot(root: Path) -> dict[str, bytes | None]:
    """Return everything below a directory: the content of files, None for directories, links as text."""
    found: dict[str, bytes | None] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}".encode()
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found
