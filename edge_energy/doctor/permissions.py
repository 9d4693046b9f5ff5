"""Checks of permissions: who can read the secrets, and whether the daemon can write where it must."""

from __future__ import annotations

import pwd
import stat
import tomllib
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_energy.config.credstore import PREFIX, STORE
from edge_energy.doctor.finding import Check, Finding, failure, not_applicable, not_permitted, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_energy.doctor.case import Case
    from edge_energy.doctor.machine import Machine

SECRETS = "/etc/edge-energy/secrets"
USER = "edge-energy"
_RESTORING = "restoring"
_OF_UPKEEP = (_RESTORING, "replaced-", "backups")
"""What backup and restore keep in the state directory begins so; it is root's, and no matter of the daemon's."""
_SECRET_KEYS = {"password", "token", "credentials"}


def checks(case: Case) -> Iterator[Check]:
    """Yield what concerns permissions."""
    yield Check("configuration file", partial(configuration_file, case.config))
    if case.settings is not None:
        yield Check("state directory", partial(state_directory, case, case.settings.appliance.state_dir))
    yield Check("secrets", partial(secrets, case.machine))


def configuration_file(file: Path) -> Finding:
    """Tell whether strangers can read secrets in the configuration, or change it."""
    try:
        mode = file.stat().st_mode
        table = tomllib.loads(file.read_text("utf-8-sig"))
    except FileNotFoundError:
        return not_applicable(f"{file} is not there")
    except tomllib.TOMLDecodeError:
        return not_applicable(f"{file} is not valid TOML: see the check of the configuration")
    held = "it holds secrets" if _holds_secrets(table) else "it holds no secrets"
    found = f"{file} has mode {stat.S_IMODE(mode):04o}, and {held}"
    if mode & stat.S_IWOTH:
        return failure(found, "everybody on this machine can change it", f"sudo chmod o-rwx {file}")
    if mode & stat.S_IROTH and _holds_secrets(table):
        remedy = f"sudo chmod o-rwx {file}; better, move the secrets to {STORE}/{PREFIX}NAME"
        return failure(found, "everybody on this machine can read them", remedy)
    return ok(found)


def _holds_secrets(table: Any) -> bool:
    if isinstance(table, dict):
        return any(key in _SECRET_KEYS or _holds_secrets(value) for key, value in table.items())
    return isinstance(table, list) and any(map(_holds_secrets, table))


def state_directory(case: Case, directory: Path) -> Finding:
    """Tell whether the journal belongs to the daemon, and to nobody else."""
    here = case.machine.path(directory)
    if not here.exists():
        why = "the daemon makes it when it starts" if case.status is None else "the running daemon has another one"
        return not_applicable(f"{directory} is not there: {why}")
    entries = [here, *here.iterdir()]
    open_to_all = [file.name for file in entries if file.stat().st_mode & stat.S_IWOTH]
    if open_to_all:
        cause = f"everybody on this machine can change {', '.join(open_to_all)}"
        return failure(f"{directory} is open to all", cause, f"sudo chmod -R o-w {directory}")
    if (here / _RESTORING).exists():
        cause = f"{directory / _RESTORING} is there: it did not end, or it runs at this moment"
        return failure("a restore was interrupted", cause, "run it again, it goes on: sudo edge-energy restore FILE")
    wanted = _user_id()
    owners = {file.stat().st_uid for file in entries if not file.name.startswith(_OF_UPKEEP)}
    if wanted is not None and case.machine.path("/etc/systemd/system/edge-energy.service").exists():
        return _owned(directory, owners, wanted)
    if len(owners) > 1:
        cause = "the daemon was run as different users, one of which cannot write what the other made"
        return warning(f"{directory} has files of {len(owners)} users", cause, f"sudo chown -R USER {directory}")
    return ok(f"{directory} belongs to {_name(owners.pop())}")


def _owned(directory: Path, owners: set[int], wanted: int) -> Finding:
    if owners != {wanted}:
        others = ", ".join(_name(owner) for owner in sorted(owners - {wanted}))
        cause = f"the daemon, user {USER}, cannot write it: somebody ran it by hand, or copied files"
        return failure(
            f"{directory} has files of {others}",
            cause,
            f"sudo chown -R {USER}: {directory}; sudo systemctl restart {USER}",
        )
    return ok(f"{directory} belongs to {USER}")


def _user_id() -> int | None:
    try:
        return pwd.getpwnam(USER).pw_uid
    except KeyError:
        return None


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def secrets(machine: Machine) -> Finding:
    """Tell whether only root can read the secrets that install.sh made."""
    directory, store = machine.path(SECRETS), machine.path(STORE)
    try:
        files = [*_inside(directory), *(file for file in _inside(store) if file.name.startswith(PREFIX))]
        loose = [file for file in files if file.stat().st_mode & 0o077]
    except PermissionError:
        return not_permitted(f"{SECRETS} and {STORE}")
    if directory.is_dir() and directory.stat().st_mode & 0o077:
        loose.append(directory)
    if not files and not loose:
        return not_applicable("none were made by install.sh")
    if loose:
        names = ", ".join(str(file) for file in loose)
        return failure(f"{names} can be read by others", "they are for root alone", f"sudo chmod go-rwx {names}")
    return ok(f"{len(files)} files, for root alone")


def _inside(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []
