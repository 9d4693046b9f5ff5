"""Unpacks a verified backup beside the places of its files, and plans how they get there."""

from __future__ import annotations

import filecmp
import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge_energy.upkeep import files, renewal, snapshot
from edge_energy.upkeep import manifest as manifests
from edge_energy.upkeep.staging import Plan, free_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from edge_energy.upkeep.archive import Archive
    from edge_energy.upkeep.manifest import Item
    from edge_energy.upkeep.places import Places
    from edge_energy.upkeep.staging import Staging

_WIDEST, _WIDEST_OF_CERTIFICATES = 0o640, 0o644


class Unpacking:
    """One restore, up to its plan; what it leaves behind when it fails is removed."""

    def __init__(self, where: Places, staging: Staging, backup: str, leave: Collection[str]) -> None:
        """`leave` are names of files that are not wanted."""
        self.left_out: list[str] = []
        """What has no place on this machine."""
        self._where = where
        self._staging = staging
        self._leave = leave
        self._owner = files.owner_of(where.state)
        self._stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        self._kept = free_name(where.state / f"replaced-{self._stamp}")
        self._plan = Plan(backup, str(self._kept))
        self._staged: dict[str, Path] = {}

    def stage(self, archives: Iterable[Archive]) -> Plan:
        """Unpack, check the journal, make it a new one; the plan is on the disk on return. Raises `NotDone`."""
        self._staging.begin()
        try:
            for opened in archives:
                for item, pieces in opened.contents():
                    self._unpack(item, pieces)
            if manifests.JOURNAL in self._staged:
                self._place_journal(self._staged[manifests.JOURNAL])
            self._kept.mkdir(mode=0o700)
            files.give(self._kept, self._owner)
            self._staging.commit(self._plan)
        except BaseException:
            for path in self._staged.values():
                path.unlink(missing_ok=True)
            self._staging.discard()
            with suppress(OSError):
                self._kept.rmdir()
            raise
        return self._plan

    def _unpack(self, item: Item, pieces: Iterable[bytes]) -> None:
        target = self._where.place(item.name)
        if target is None or item.name in self._leave or item.name == manifests.SEALED:
            for _ in pieces:
                pass
            if target is None:
                self.left_out.append(item.name)
            return
        self._make_parent(target, item)
        new = self._staged[item.name] = self._staging.name(target)
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fchmod(file.fileno(), _mode(item, target))
            os.fsync(file.fileno())
        inside = target.is_relative_to(self._where.state)
        files.give(new, self._owner if inside else self._owner_of(item, target))
        if not inside and target.is_file() and filecmp.cmp(new, target, shallow=False):
            new.unlink()
        elif inside:
            self._plan.put.append((new, target, self._kept / target.relative_to(self._where.state)))
        else:
            self._plan.put.append((new, target, target.with_name(f"{target.name}.replaced-{self._stamp}")))

    def _make_parent(self, target: Path, item: Item) -> None:
        if not target.parent.exists():
            private = item.name.startswith(("secrets/", "credstore/"))
            target.parent.mkdir(parents=True, mode=0o700 if private else 0o755)
            if target.is_relative_to(self._where.state):
                for directory in target.relative_to(self._where.state).parents:
                    files.give(self._where.state / directory, self._owner)

    def _owner_of(self, item: Item, target: Path) -> tuple[int, int]:
        """Return who is to own a file: as before, or as on the machine of the backup."""
        if target.exists():
            return files.owner_of(target)
        if item.name.startswith(manifests.ZIGBEE2MQTT):
            return files.owner_of(target.parent)
        return files.owner_named(item.owner)

    def _place_journal(self, journal: Path) -> None:
        """Look through the journal and renew it; what lies around the old one is not for it."""
        snapshot.examine(journal)
        config = self._staged.get(manifests.CONFIG)
        renewal.renew_staged(
            self._where, journal, config if config is not None and config.exists() else self._where.config
        )
        snapshot.settle(self._where.journal)
        self._plan.aside += renewal.around_journal(self._where, self._kept)


def _mode(item: Item, target: Path) -> int:
    """Return the permissions of a file: as before, or as on the machine of the backup, but not for everybody."""
    if target.exists():
        return target.stat().st_mode & 0o777
    return item.mode & (_WIDEST_OF_CERTIFICATES if item.name.endswith(".pem") else _WIDEST) | 0o600
