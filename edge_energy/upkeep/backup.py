"""`edge-energy backup`: everything of this appliance in one file, made while the daemon runs."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from edge_energy import __version__
from edge_energy.upkeep import archive, files, sealed, snapshot
from edge_energy.upkeep import manifest as manifests
from edge_energy.upkeep.errors import NotDone
from edge_energy.upkeep.manifest import Item, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_energy.upkeep.places import Places

_SHARE = 0.6  # of what is backed up: the archive is half as large, seldom more
_SPARE = 2 * 2**20
_ROOM = 64 * 2**20  # on the journal's disk: its WAL grows while it is copied, and the daemon must not find it full


class Done(NamedTuple):
    """What a backup holds: its manifest, bytes of the file, and of the journal; how many entries were damaged."""

    manifest: Manifest
    bytes: int
    entries: int
    wrong: int
    names: tuple[str, ...]
    """What of the secrets is in it."""
    left_out: tuple[str, ...]
    """What of Zigbee2MQTT is not in it, for it is secret."""
    unnamed: tuple[Path, ...]
    """Files whose names it cannot hold."""


def make(where: Places, appliance: str, target: Path, passphrase: str | None = None) -> Done:
    """Write a backup to `target`, which appears when it is complete. With a passphrase the secrets are in it, too.

    Beside `target` there must be room for a copy of the journal as well. Raises `NotDone`; nothing is left then.
    """
    with files.written(target) as file, _scratch(target) as copied:
        found = dict(_files(where, target))
        journal = _journal(where, found, copied)
        if journal is not None:
            found[manifests.JOURNAL] = copied  # last: what is small is found without reading it
        items = [_item(name, path) for name, path in found.items()]
        secrets = dict(where.secrets()) if passphrase is not None else {}
        extra = b""
        if passphrase is not None:
            extra = _sealed(secrets, appliance, passphrase, manifests.binding(items))
            items.insert(0, Item(manifests.SEALED, len(extra), hashlib.sha256(extra).hexdigest()))
        manifest = _manifest(appliance, tuple(items), journal)
        archive.write(file, manifest, lambda item: _pieces(found.get(item.name), extra))
    entries, wrong = (journal.entries, journal.wrong) if journal else (0, 0)
    left_out = dict(where.zigbee_files(manifests.ZIGBEE2MQTT_SECRETS)) if passphrase is None else {}
    size, unnamed = target.stat().st_size, where.unnamed()
    return Done(manifest, size, entries, wrong, tuple(secrets), tuple(left_out), tuple(unnamed))


def _manifest(appliance: str, items: tuple[Item, ...], journal: snapshot.Contents | None) -> Manifest:
    if len(items) > manifests.MOST_FILES:
        raise NotDone(f"there are {len(items)} files to back up, and {manifests.MOST_FILES} are expected at most")
    created = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    known = (journal.journal_id, journal.position, journal.schema) if journal else ("", 0, 0)
    return Manifest(created, __version__, appliance, *known, items)


def _files(where: Places, target: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and path of all but the journal and the secrets."""
    if where.config.is_file():
        yield manifests.CONFIG, where.config.resolve()
    for name, path in where.others():
        if path.absolute() != target.absolute():
            yield name, path
    yield from where.zigbee_files(manifests.ZIGBEE2MQTT_FILES)


def _journal(where: Places, found: dict[str, Path], copied: Path) -> snapshot.Contents | None:
    """Copy the journal, if there is one, and look through the copy."""
    journal = where.journal
    if not os.access(where.state, os.R_OK | os.X_OK) and where.state.exists():
        raise NotDone(f"{where.state} cannot be read: run this as root (sudo)")
    snapshot.refuse_in_pieces(journal)
    if not journal.exists():
        if not found:
            raise NotDone(f"nothing to back up: neither {where.config} nor {journal} exists")
        return None
    if not os.access(journal, os.R_OK):
        raise NotDone(f"{journal} cannot be read: run this as root (sudo)")
    size = snapshot.size(journal)
    rest = sum(path.stat().st_size for path in found.values())
    spare = _ROOM if copied.parent.stat().st_dev == where.state.stat().st_dev else _SPARE
    needed, free = size + round((size + rest) * _SHARE) + spare, shutil.disk_usage(copied.parent).free
    if needed > free:
        raise files.no_space(copied.parent, needed, free)
    snapshot.copy(journal, copied)
    return snapshot.examine(copied)


def _sealed(secrets: dict[str, Path], appliance: str, passphrase: str, bound: bytes) -> bytes:
    """Return an archive of the secrets, encrypted: they are small, so it is made in memory."""
    items = tuple(_item(name, path) for name, path in secrets.items())
    packed = io.BytesIO()
    archive.write(packed, _manifest(appliance, items, None), lambda item: _pieces(secrets[item.name]))
    return sealed.seal(passphrase, packed.getvalue(), bound)


def _item(name: str, path: Path) -> Item:
    if not manifests.permitted(name):
        raise NotDone(f"{path} has a name that a backup cannot hold: rename it, or move it away")
    digest, size = hashlib.sha256(), 0
    for piece in _pieces(path):
        digest.update(piece)
        size += len(piece)
    if size > manifests.LARGEST_FILE and name != manifests.JOURNAL:
        raise NotDone(f"{path} is larger than {manifests.LARGEST_FILE // 2**20} MiB: move it away")
    found = path.stat()
    owner = files.name_owner(found)
    owner = owner if manifests.OWNER.fullmatch(owner) else ""
    return Item(name, size, digest.hexdigest(), found.st_mode & 0o777, owner)


def _pieces(path: Path | None, content: bytes = b"") -> Iterator[bytes]:
    if path is None:
        yield content
        return
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            while piece := file.read(archive.PIECE):
                yield piece
    except PermissionError:
        raise NotDone(f"{path} cannot be read: run this as root (sudo)") from None


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """Give a name beside the target, and remove what is left of it, also what a killed backup has left."""
    copied = target.with_name(f".{target.name}.journal")
    scratch = [copied.with_name(copied.name + suffix) for suffix in ("", "-wal", "-shm")]
    for path in scratch:
        path.unlink(missing_ok=True)
    try:
        yield copied
    finally:
        for path in scratch:
            with suppress(OSError):
                path.unlink(missing_ok=True)
