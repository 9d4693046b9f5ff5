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

from edge_energy.upkeep import archive, files, places, sealed, snapshot
from edge_energy.upkeep import manifest as manifests
from edge_energy.upkeep.errors import NotDone
from edge_energy.upkeep.staging import Plan, Staging
from edge_energy.upkeep.unpacking import Unpacking, around_journal, renew

if TYPE_CHECKING:
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
    if os.path.exists(where.state / "lock"):  # noqa: PTH110 - which is no error where we may not look
        with places.stopped(where.state):  # rather now than after the minutes that a large file takes
            pass
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
    found = _verify(file, existing)
    secrets = None if passphrase is None else _unseal(found, passphrase)
    _allow(where, found, keep_config=keep_config)
    new = not where.state.exists()
    with places.stopped(where.state):
        if new:
            files.give(where.state, files.service_owner())
            files.give(where.state / "lock", files.service_owner())
        staging = Staging(where.state)
        plan = staging.unfinished()
        resumed = plan is not None
        if plan is not None:
            _complete(where, staging, plan)
        left_out: tuple[str, ...] = ()
        if plan is None or plan.backup != found.id:
            file.seek(0)
            unpacking = Unpacking(where, staging, found.id, leave={manifests.CONFIG} if keep_config else set())
            plan = unpacking.stage(archive.Archive(file), _inner(secrets))
            left_out, resumed = tuple(unpacking.left_out), False
            staging.carry_out(plan)
        names = tuple(item.name for item in _inner(secrets).manifest.files) if secrets is not None else ()
        return Done(found.manifest, plan.kept, snapshot.identify(where.journal), names, left_out, resumed)


def _complete(where: Places, staging: Staging, plan: Plan) -> None:
    """Carry out the plan of an interrupted restore; a daemon may have run since, and carried out commands."""
    staged = [new for new, target, _ in plan.put if target == where.journal and new.exists()]
    for journal in staged:
        renew(where, journal, where.config)
        snapshot.settle(where.journal)
        plan.aside += around_journal(where, Path(plan.kept))
    staging.carry_out(plan)


def _verify(file: BinaryIO, disk: Path) -> _Verified:
    """Read the whole file, if there is room for what it says that it holds. Raises `NotDone`."""
    opened = archive.Archive(file)
    needed = sum(item.size for item in opened.manifest.files) + _SPARE
    free = shutil.disk_usage(disk).free
    if needed > free:
        raise files.no_space(disk, needed, free)
    small: dict[str, bytes] = {}
    for item, pieces in opened.contents():
        if item.name.partition("/")[0] in manifests.SECRET_PLACES:
            raise NotDone(f"the backup is not as this program writes it: {item.name} is not encrypted")
        if item.name in (manifests.CONFIG, manifests.SEALED):
            small[item.name] = b"".join(pieces)
        else:
            for _ in pieces:
                pass
    return _Verified(opened.id, opened.manifest, small.get(manifests.CONFIG), small.get(manifests.SEALED))


def _unseal(found: _Verified, passphrase: str) -> bytes:
    """Return the archive of the secrets, looked through."""
    if found.sealed is None:
        raise NotDone("there are no secrets in this backup: restore it without --with-secrets")
    content = sealed.unseal(passphrase, found.sealed)
    for item, pieces in archive.Archive(io.BytesIO(content)).contents():
        if item.name.partition("/")[0] not in manifests.SECRET_PLACES:
            raise NotDone(f"the backup is not as this program writes it: {item.name} is among the secrets")
        for _ in pieces:
            pass
    return content


def _inner(secrets: bytes | None) -> archive.Archive:
    """Return the archive of the secrets from its beginning, or one without any."""
    if secrets is None:
        empty = io.BytesIO()
        archive.write(empty, manifests.Manifest("", "", "", "", 0, 0, ()), lambda _: iter(()))
        secrets = empty.getvalue()
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
    for item in found.manifest.files:
        if item.name.startswith(manifests.ZIGBEE2MQTT) and where.place(item.name) and _active("zigbee2mqtt"):
            raise NotDone("Zigbee2MQTT is running: stop it first (sudo systemctl stop zigbee2mqtt)")


def _active(unit: str) -> bool:
    with suppress(OSError, subprocess.TimeoutExpired):
        command = ["systemctl", "is-active", "--quiet", f"{unit}.service"]
        done = subprocess.run(command, check=False, timeout=10, stderr=subprocess.DEVNULL)  # noqa: S603 - constant
        return done.returncode == 0
    return False
