"""Organisation, bucket and tokens in InfluxDB, made once, verified ever after: `edge-energy setup influxdb`.

Every secret is on disk before InfluxDB knows it, or can be made anew: whenever this is killed, the next run goes on.
"""

from __future__ import annotations

import os
import secrets
import string
import time
from typing import TYPE_CHECKING, NamedTuple

from edge_energy.setup.influxdb_api import Server, SetupError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADMIN = "admin"
PASSWORD_FILE = "influxdb-admin.password"  # noqa: S105 - names of files
OPERATOR_FILE = "influxdb-operator.token"
WRITE_FILE = "influxdb-write.token"
READ_FILE = "influxdb-read.token"
START_TIMEOUT = 120.0
"""Seconds that InfluxDB may need to open its files."""
_SIGNS = string.ascii_letters + string.digits
_LARGEST_TOKEN = 1024


class Wanted(NamedTuple):
    """What there shall be. `keep` is in seconds, 0 for ever; `owner` tells our tokens from others'."""

    url: str
    org: str
    bucket: str
    keep: int
    secrets: Path
    owner: str
    reader: bool = False
    """Whether it is an error if no token can be had that may read."""


def set_up(wanted: Wanted, given: str = "", patience: float = START_TIMEOUT) -> Iterator[str]:
    """Make what is missing; yield one line for each thing that was made. `given` is a token of the operator's.

    Raises `SetupError`. What is there already is neither changed nor made again: not even the bucket's retention.
    """
    server = Server(wanted.url)
    _wait_healthy(server, patience)
    if server.untouched():
        yield _begin(server, wanted)
    missing = [kind for kind in (_WRITE, _READ) if not kind.works(server, wanted, _kept(wanted, kind.file))]
    if not missing:
        return
    own = _kept(wanted, OPERATOR_FILE)
    token = given or own
    if not token:
        if missing == [_READ] and not wanted.reader:
            return
        raise SetupError(*_no_token(wanted))
    org = server.organisation(wanted.org, token)
    if org is None and any(kind.works(server, wanted, given) for kind in (_WRITE, _READ)):
        yield from _take(server, wanted, given, missing)
        return
    org = org or _make_organisation(server, wanted, token)
    bucket, made = server.bucket(org, wanted.bucket, token), False
    if bucket is None:
        bucket, made = _make_bucket(server, wanted, org, token), True
    if made:
        yield f"made the bucket {wanted.bucket} in InfluxDB"
    for kind in missing:
        yield kind.renew(server, wanted, org, bucket, token)


def read_token(path: Path) -> str:
    """Return the token in a file. Raises `SetupError`."""
    try:
        with path.open(encoding="ascii") as file:
            found = file.read(_LARGEST_TOKEN + 1).strip()
    except (OSError, ValueError) as error:
        raise SetupError(f"the token file {path} cannot be read: {error}", "Name one that can.") from error
    if not 0 < len(found) <= _LARGEST_TOKEN or not all("!" <= sign <= "~" for sign in found):
        raise SetupError(f"{path} holds no token", "It shall have one line of printable characters without spaces.")
    return found


class _Kind(NamedTuple):
    """One of the two narrow tokens: its file, and what it may do with the bucket."""

    file: str
    action: str

    def works(self, server: Server, wanted: Wanted, token: str) -> bool:
        """Try it: whether InfluxDB takes it for that bucket. Raises `SetupError` where InfluxDB itself fails."""
        if not token:
            return False
        ask = server.may_write if self.action == "write" else server.may_read
        answer = ask(wanted.org, wanted.bucket, token)
        if answer.status >= 500:
            raise SetupError(f"{wanted.url} cannot serve now: {answer.message}", "Try again later.")
        return answer.status in (200, 204)

    def renew(self, server: Server, wanted: Wanted, org: str, bucket: str, token: str) -> str:
        """Make the token and keep it; one that was made before and never kept, or works no more, is removed."""
        name = f"edge-energy on {wanted.owner}: may only {self.action}"
        known = server.ask("GET", "/api/v2/authorizations", token=token, orgID=org)
        for old in known.body.get("authorizations") or ():
            if old.get("description") == name:
                server.ask("DELETE", f"/api/v2/authorizations/{old['id']}", token=token)
        resource = {"type": "buckets", "id": bucket, "orgID": org}
        body = {"orgID": org, "description": name, "permissions": [{"action": self.action, "resource": resource}]}
        answer = server.ask("POST", "/api/v2/authorizations", body, token)
        if answer.status != 201:
            raise SetupError(
                f"InfluxDB makes no token for the bucket {wanted.bucket}: {answer.message}",
                "Give a token that may make tokens (an all-access token: InfluxDB's page, Load Data, API Tokens).",
            )
        made = str(answer.body["token"])
        if not self.works(server, wanted, made):
            raise SetupError(
                f"InfluxDB made a token that may not {self.action} the bucket {wanted.bucket}", "Look at its log."
            )
        keep(wanted.secrets / self.file, made)
        return f"made an InfluxDB token that may only {self.action} {wanted.bucket}"


_WRITE = _Kind(WRITE_FILE, "write")
_READ = _Kind(READ_FILE, "read")


def _wait_healthy(server: Server, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            if server.healthy():
                return
            problem = SetupError(f"InfluxDB at {server.url} is not ready", "Look at its log: journalctl -u influxdb")
        except Unreachable as error:
            problem = error
        if time.monotonic() > deadline:
            raise problem
        time.sleep(0.5)


def _begin(server: Server, wanted: Wanted) -> str:
    """Set up a server that nobody has set up; its password and its token are ours, and on disk before it has them."""
    for name, length in ((PASSWORD_FILE, 24), (OPERATOR_FILE, 64)):
        if not _kept(wanted, name):
            keep(wanted.secrets / name, "".join(secrets.choice(_SIGNS) for _ in range(length)))
    body = {
        "username": ADMIN,
        "password": _kept(wanted, PASSWORD_FILE),
        "token": _kept(wanted, OPERATOR_FILE),
        "org": wanted.org,
        "bucket": wanted.bucket,
        "retentionPeriodSeconds": wanted.keep,
    }
    answer = server.ask("POST", "/api/v2/setup", body)
    if answer.status != 201:
        raise SetupError(f"InfluxDB at {wanted.url} cannot be set up: {answer.message}", "Look at its log.")
    return f"set up InfluxDB: organisation {wanted.org}, bucket {wanted.bucket}"


def _take(server: Server, wanted: Wanted, given: str, missing: list[_Kind]) -> Iterator[str]:
    """Keep a token that cannot make others, for what it may do itself."""
    for kind in missing:
        if kind.works(server, wanted, given):
            keep(wanted.secrets / kind.file, given)
            yield f"the given InfluxDB token is used to {kind.action} {wanted.bucket}"
        elif kind is _WRITE or wanted.reader:
            raise SetupError(
                f"the given token may not {kind.action} the bucket {wanted.bucket} of {wanted.org} at {wanted.url}",
                "Give an all-access token, from which the two narrow ones are made (it is not kept), or correct "
                "organisation and bucket.",
            )


def _make_organisation(server: Server, wanted: Wanted, token: str) -> str:
    answer = server.ask("POST", "/api/v2/orgs", {"name": wanted.org}, token)
    if answer.status != 201:
        raise SetupError(
            f"InfluxDB at {wanted.url} has no organisation {wanted.org!r} for this token: {answer.message}",
            "Correct the organisation's name, or give an all-access token of it.",
        )
    return str(answer.body["id"])


def _make_bucket(server: Server, wanted: Wanted, org: str, token: str) -> str:
    rules = [{"type": "expire", "everySeconds": wanted.keep}] if wanted.keep else []
    body = {"name": wanted.bucket, "orgID": org, "retentionRules": rules}
    answer = server.ask("POST", "/api/v2/buckets", body, token)
    if answer.status != 201:
        raise SetupError(
            f"the bucket {wanted.bucket!r} is not there and cannot be made: {answer.message}",
            "Make it in InfluxDB, or give an all-access token.",
        )
    return str(answer.body["id"])


def _no_token(wanted: Wanted) -> tuple[str, str]:
    return (
        f"InfluxDB at {wanted.url} was set up by somebody else, and no token of it is known here; it was not changed",
        "Make an all-access token there (its page, Load Data, API Tokens), write it into a file that only root may "
        "read, and run install.sh again with --influxdb-token-file FILE, and with --influxdb-org and "
        f"--influxdb-bucket unless they are {wanted.org} and {wanted.bucket}.",
    )


def _kept(wanted: Wanted, name: str) -> str:
    path = wanted.secrets / name
    return path.read_text(encoding="ascii").strip() if path.exists() else ""


def keep(path: Path, secret: str) -> None:
    """Write a file that only its owner may read: whole and on disk, or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(f"{secret}\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
