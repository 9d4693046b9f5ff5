"""`edge-energy restore`: a backup takes the place of what is there, or nothing happens at all."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from edge_energy.upkeep import archive, files, places, renewal, sealed, snapshot
from edge_energy.upkeep import manifest as manifests
from edge_energy.upkeep.errors import NotDone
from edge_energy.upkeep.staging import Plan, Staging
from edge_energy.upkeep.unpacking import Unpacking

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_energy.upkeep.manifest import Manifest
    from edge_energy.upkeep.places import Places

_SPARE = 8 * 2**20


class Done(NamedTuple):
    """What a restore has done; `kept` is where the replaced files are, `left_out` what has no place here."""

    manifest: Manifest
    kept: str
    journal_id: str
    secrets: tuple[str, ...]
    left_out: tuple[str, ...]
    resumed: bool


class _Verified(NamedTuple):
    """A backup of which every byte was looked at; of its small files, the content."""

    id: str
    manifest: Manifest
    config: bytes | None
    sealed: bytes | None


def restore(where: Places, file: Path, passphrase: str | None = None, *, keep_config: bool = False) -> Done:
    """Put a backup into place; the secrets only with their passphrase. Again, after an interruption, it goes on.

    Raises `NotDone`; nothing was replaced then, unless it says so.
    """
    try:
        with file.open("rb") as opened:
            return _restore(where, opened, passphrase, keep_config=keep_config)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NotDone("no space left: free some, then start the restore again") from None
        raise NotDone(f"{error.filename or file}: {error.strerror or error}") from None


def _restore(where: Places, file: BinaryIO, passphrase: str | None, *, keep_config: bool) -> Done:
    existing = next(path for path in (where.state, *where.state.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        raise NotDone(f"{existing} cannot be written: run this as root (sudo)")
    completed = _complete(where)
    try:
        found = _verify(file, existing, completed)
        secrets = None if passphrase is None else _unseal(found, passphrase)
        names = tuple(item.name for item in _opened(secrets).manifest.files) if secrets is not None else ()
        if completed is not None and completed.backup == found.id:
            return Done(found.manifest, completed.kept, snapshot.identify(where.journal), names, (), resumed=True)
        _allow(where, found, keep_config=keep_config)
        replaced = [where.place(name) for name in (*(item.name for item in found.manifest.files), *names)]
        _let_zigbee_rest(where, replaced)
        if not where.state.exists():
            where.state.mkdir(parents=True)
            files.give(where.state, files.service_owner())
        with places.stopped(where.state):
            staging = Staging(where.state)
            file.seek(0)
            unpacking = Unpacking(where, staging, found.id, leave={manifests.CONFIG} if keep_config else set())
            archives = [archive.Archive(file), *([_opened(secrets)] if secrets is not None else [])]
            plan = unpacking.stage(archives)
            staging.carry_out(plan)
            journal_id = snapshot.identify(where.journal)
        return Done(found.manifest, plan.kept, journal_id, names, tuple(unpacking.left_out), resumed=False)
    except NotDone as error:
        if completed is None:
            raise
        raise NotDone(f"{error}; but the restore that was interrupted before is complete now") from None


def _complete(where: Places) -> Plan | None:
    """Carry out the plan of an interrupted restore, if there is one: it needs neither its file nor any space.

    A daemon may have run since, and carried out commands. What an interruption before the plan has left is removed.
    Where the daemon runs that is said now, and not after the minutes that a large file takes.
    """
    if not os.path.exists(where.state / "lock"):  # noqa: PTH110 - which is no error where we may not look
        return None
    with places.stopped(where.state):
        staging = Staging(where.state)
        plan = staging.unfinished()
        if plan is None:
            staging.discard()
            return None
        _let_zigbee_rest(where, (target for _, target, _ in plan.put))
        for journal in (new for new, target, _ in plan.put if target == where.journal and new.exists()):
            renewal.renew_staged(where, journal, where.config)
            snapshot.settle(where.journal)
            plan.aside = renewal.around_journal(where, Path(plan.kept))
        staging.carry_out(plan)
        return plan


def _verify(file: BinaryIO, disk: Path, completed: Plan | None) -> _Verified:
    """Read the whole file; unless it is restored already there must be room for what it holds. Raises `NotDone`."""
    opened = archive.Archive(file)
    needed = sum(item.size for item in opened.manifest.files) + _SPARE
    free = shutil.disk_usage(disk).free
    if needed > free and (completed is None or completed.backup != opened.id):
        raise files.no_space(disk, needed, free)
    small: dict[str, bytes] = {}
    for item, pieces in opened.contents():
        if manifests.is_secret(item.name):
            raise NotDone(f"the backup is not as this program writes it: {item.name} is not encrypted")
        if item.name in (manifests.CONFIG, manifests.SEALED):
            small[item.name] = b"".join(pieces)
        else:
            for _ in pieces:
                pass
    return _Verified(opened.id, opened.manifest, small.get(manifests.CONFIG), small.get(manifests.SEALED))


def _unseal(found: _Verified, passphrase: str) -> bytes:
    """Return the archive of the secrets, looked through; they are for this backup, with no file of it changed."""
    if found.sealed is None:
        raise NotDone("there are no secrets in this backup: restore it without --with-secrets")
    content = sealed.unseal(passphrase, found.sealed, manifests.binding(found.manifest.files))
    for item, pieces in _opened(content).contents():
        if not manifests.is_secret(item.name):
            raise NotDone(f"the backup is not as this program writes it: {item.name} is among the secrets")
        for _ in pieces:
            pass
    return content


def _opened(secrets: bytes) -> archive.Archive:
    """Return the archive of the secrets, from its beginning."""
    return archive.Archive(io.BytesIO(secrets))


def _allow(where: Places, found: _Verified, *, keep_config: bool) -> None:
    """Refuse what cannot go well, before anything is touched."""
    if found.config is not None and not keep_config:
        # The file does not choose where root writes: the state directory is the one of this machine.
        named = places.state_dir_in(found.config)
        if named != where.state:
            raise NotDone(
                f"the configuration in the backup keeps its state in {named}, this machine in {where.state}: "
                f"say --state-dir {named} if that is what you want, or --keep-config to keep the one that is here"
            )


def _let_zigbee_rest(where: Places, targets: Iterable[Path | None]) -> None:
    """Refuse to replace files of a Zigbee2MQTT that runs: it would write its own over them."""
    ours = [target for target in targets if target is not None and target.parent == where.zigbee()]
    if ours and _active("zigbee2mqtt"):
        raise NotDone("Zigbee2MQTT is running: stop it first (sudo systemctl stop zigbee2mqtt)")


def _active(unit: str) -> bool:
    with suppress(OSError, subprocess.TimeoutExpired):
        command = ["systemctl", "is-active", "--quiet", f"{unit}.service"]
        done = subprocess.run(command, check=False, timeout=10, stderr=subprocess.DEVNULL)  # noqa: S603 - constant
        return done.returncode == 0
    return False
