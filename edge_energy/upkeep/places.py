"""Where the files of this appliance are, and who owns them."""

from __future__ import annotations

import os
import re
import tomllib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_energy.config import DEFAULT_PATH, Settings, config_path, load
from edge_energy.config.credstore import STORE, load_as_daemon
from edge_energy.config.sources import DEFAULT_ID, gather
from edge_energy.errors import ConfigError
from edge_energy.journal.journal import FILE_NAME
from edge_energy.journal.opening import Lock
from edge_energy.upkeep.errors import NotDone
from edge_energy.upkeep.files import SERVICE, give, owner_of, regular
from edge_energy.upkeep.manifest import (
    CONFIG,
    SECRET_PLACES,
    STATE,
    UPKEEP,
    ZIGBEE2MQTT,
    ZIGBEE2MQTT_SECRETS,
    is_ours,
    is_state,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

STOP = f"stop it first (sudo systemctl stop {SERVICE})"
_STATE_VARIABLE = "EDGE_ENERGY_APPLIANCE__STATE_DIR"
_DEFAULT_STATE = Path("/var/lib/edge-energy")
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_NOT_OURS = (".toml", ".conf")  # of /etc/edge-energy: no secrets; install.sh reads install.conf as a program


@dataclass(frozen=True, slots=True)
class Places:
    """The configuration file, the state directory, and what lies outside both."""

    config: Path
    state: Path
    etc: Path = DEFAULT_PATH.parent
    credstore: Path = STORE
    zigbee2mqtt: tuple[Path, ...] = (Path("/var/lib/zigbee2mqtt"), Path("/opt/zigbee2mqtt/data"))
    """Its data directory is the first of these that there is."""

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.state / FILE_NAME

    @property
    def backups(self) -> Path:
        """Where `reset` puts a backup unless told otherwise."""
        return self.state / "backups"

    def zigbee(self) -> Path | None:
        """Return Zigbee2MQTT's data directory, if it is on this machine."""
        return next((place for place in self.zigbee2mqtt if place.is_dir()), None)

    def place(self, name: str) -> Path | None:
        """Return where a file of a backup belongs; None for one of Zigbee2MQTT where that is not installed."""
        kind, _, rest = name.partition("/")
        if name == CONFIG:
            return self.config
        if f"{kind}/" == STATE:
            return self.state / rest
        if f"{kind}/" == ZIGBEE2MQTT:
            directory = self.zigbee()
            return None if directory is None else directory / rest
        return self._secret_place(kind) / rest

    def secrets(self) -> Iterator[tuple[str, Path]]:
        """Yield name in the backup and path of all secrets: generated ones, credentials, keys, certificates."""
        yield from self.zigbee_files(ZIGBEE2MQTT_SECRETS)
        for kind in SECRET_PLACES:
            for path in regular(self._secret_place(kind)):
                ours = path.name.startswith(f"{SERVICE}.") if kind == "credstore" else True
                if ours and not (kind == "etc" and path.name.endswith(_NOT_OURS)):
                    yield f"{kind}/{path.name}", path

    def others(self) -> Iterator[tuple[str, Path]]:
        """Yield name in the backup and path of every file of the state directory beside the journal."""
        for path in regular(self.state, deep=True, without=UPKEEP):
            name = path.relative_to(self.state).as_posix()
            if is_state(name):
                yield f"{STATE}{name}", path

    def unnamed(self) -> list[Path]:
        """Return the files of the state directory that a backup leaves out, as it cannot hold their names."""
        names = {
            path: path.relative_to(self.state).as_posix() for path in regular(self.state, deep=True, without=UPKEEP)
        }
        return [path for path, name in names.items() if not is_state(name) and not is_ours(name)]

    def zigbee_files(self, names: Collection[str]) -> Iterator[tuple[str, Path]]:
        """Yield name in the backup and path of those of Zigbee2MQTT's files that there are, and no links."""
        directory = self.zigbee()
        for path in regular(directory) if directory is not None else ():
            if path.name in names:
                yield f"{ZIGBEE2MQTT}{path.name}", path

    def _secret_place(self, kind: str) -> Path:
        return {"etc": self.etc, "credstore": self.credstore}.get(kind, self.etc / kind)


def find(option: Path | None, state: Path | None = None) -> tuple[Places, str]:
    """Return the places, as the configuration names them, and the id of the appliance.

    The configuration need not be valid; before a restore with a `state` directory of its own it need not be there.
    Raises `ConfigError` where it cannot be read.
    """
    config = config_path(option)
    if state is not None and not config.exists():
        return Places(config, state), DEFAULT_ID
    sources = gather(Settings, option, os.environ)
    named, appliance = sources.get(("appliance", "state_dir")), sources.get(("appliance", "id"))
    known = isinstance(appliance, str) and _ID.fullmatch(appliance)  # names a file, too
    return Places(config, state or _state_dir(named)), str(appliance) if known else DEFAULT_ID


def state_dir_in(config: bytes) -> Path:
    """Return the state directory that holds with the content of a configuration file. Raises `NotDone`."""
    try:
        table = tomllib.loads(config.decode("utf-8-sig")).get("appliance")
    except ValueError as error:
        raise NotDone(f"the configuration in the backup is not valid TOML: {error}") from None
    named = table.get("state_dir") if isinstance(table, dict) else None
    return _state_dir(os.environ.get(_STATE_VARIABLE) or named)


def _state_dir(named: object) -> Path:
    return Path(named) if isinstance(named, str) and named.startswith("/") else _DEFAULT_STATE


def problems(places: Places, config: Path | None = None) -> list[str]:
    """Return what is wrong with the configuration, as `edge-energy check` would say it on the appliance."""
    try:
        _load(places, config or places.config)
    except ConfigError as error:
        return error.problems
    return []


def relays(places: Places, config: Path) -> list[str]:
    """Return the relays of a configuration, none where it is not valid."""
    with suppress(ConfigError):
        return [relay.id for relay in _load(places, config).relay]
    return []


def _load(places: Places, config: Path) -> Settings:
    try:
        return load_as_daemon(config, places.credstore)
    except PermissionError:
        return load(config)


@contextmanager
def stopped(state: Path) -> Iterator[None]:
    """Keep the daemon from starting. Raises `NotDone` where it runs."""
    file = state / "lock"
    if os.path.islink(file):  # noqa: PTH114 - which is no error where we may not look
        raise NotDone(f"{file} is a link: look who made it, and remove it")
    try:
        lock = Lock(state)
    except ConfigError:
        reason = "cannot be written: run this as root (sudo)" if not os.access(state, os.W_OK) else ""
        raise NotDone(f"{state} {reason}" if reason else f"the daemon is running with {state}: {STOP}") from None
    try:
        if owner_of(file) != owner_of(state):  # we made it, now or before we were killed
            give(file, owner_of(state))
        yield
    finally:
        lock.release()
