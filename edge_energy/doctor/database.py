"""Checks of InfluxDB: it answers, it is version 2, the token may write to the bucket."""

from __future__ import annotations

import json
import socket
import ssl
from contextlib import closing
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode, urlsplit

from edge_energy.config.values import loopback
from edge_energy.doctor.case import UNKNOWN
from edge_energy.doctor.finding import Check, Finding, failure, not_applicable, not_permitted, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_energy.config import Influxdb
    from edge_energy.doctor.case import Case

PATIENCE = 4.0  # seconds
MOST = 65_536  # bytes of an answer that are read
_CREDENTIAL = "/etc/credstore/edge-energy.influxdb.token"
_OURS = "/etc/systemd/system/influxdb.service.d/edge-energy.conf"
"""Is there where install.sh brought the InfluxDB of this machine."""
_RESTART = "then sudo systemctl restart edge-energy"


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    body: bytes

    @property
    def message(self) -> str:
        """Its explanation, in one line."""
        try:
            return str(json.loads(self.body)["message"])
        except (ValueError, KeyError, TypeError):
            return f"status {self.status}"


def checks(case: Case) -> Iterator[Check]:
    """Yield what concerns InfluxDB, where it is configured."""
    settings = None if case.settings is None else case.settings.influxdb
    if settings is not None:
        yield Check(f"{settings.url} answers", partial(health, settings))
        yield Check(f"token and bucket {settings.bucket}", partial(writable, case, settings))


def request(settings: Influxdb, method: str, path: str, token: str = "") -> Answer:
    """Ask once, without a body. Raises `OSError` and `HTTPException`."""
    url = urlsplit(settings.url)
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    headers = {"Content-Length": "0", **({"Authorization": f"Token {token}"} if token else {})}
    with closing(kind(url.hostname or "", url.port, timeout=PATIENCE)) as connection:
        connection.request(method, f"{url.path}{path}", headers=headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(MOST))


def health(settings: Influxdb) -> Finding:
    """Tell whether the database answers, and is of a version that we can write to."""
    try:
        answer = request(settings, "GET", "/health")
        said = json.loads(answer.body)
    except (HTTPException, ValueError):
        cause = "something else answers there: a router's page, or another program"
        return failure("does not answer as InfluxDB does", cause, f"correct [influxdb] url, {_RESTART}")
    except OSError as error:
        return _unreachable(settings, error)
    if not isinstance(said, dict) or said.get("name") != "influxdb":
        cause = "something else answers there: a router's page, or another program"
        return failure("does not answer as InfluxDB does", cause, f"correct [influxdb] url, {_RESTART}")
    version = str(said.get("version", "?")).removeprefix("v")[:20]
    if version.startswith("1."):
        cause = "its version 1 has no buckets and tokens"
        return failure(f"InfluxDB {version}", cause, "install InfluxDB 2: sudo ./install.sh --with-influxdb")
    if said.get("status") != "pass":
        cause = f"it says of itself: {said.get('message', 'not ready')}"
        return warning(f"InfluxDB {version}", cause, "journalctl -u influxdb -n 50")
    return ok(f"InfluxDB {version}")


def _unreachable(settings: Influxdb, error: OSError) -> Finding:
    if isinstance(error, ssl.SSLError):
        return failure("no encryption comes about", str(error), "correct [influxdb] url, or its certificate")
    if isinstance(error, socket.gaierror):
        return failure(
            "has no address", f"nobody knows the name in {settings.url}", "correct [influxdb] url, or the DNS"
        )
    if isinstance(error, TimeoutError):
        return failure("does not answer", f"nothing came within {PATIENCE:g} s", "look at its load and the network")
    here = loopback(urlsplit(settings.url).hostname or "")
    start = "sudo systemctl restart influxdb; journalctl -u influxdb -n 50"
    remedy = start if here else "switch it on, or correct [influxdb] url; look at its firewall"
    return failure("cannot be reached", f"nobody answers there: {error}", remedy)


def writable(case: Case, settings: Influxdb) -> Finding:
    """Write nothing at all, and tell whether that was allowed: InfluxDB looks at token and bucket first."""
    token = settings.token.get_secret_value()
    if not case.secrets and token == UNKNOWN:
        return not_permitted("the token may not be read")
    query = urlencode({"org": settings.org, "bucket": settings.bucket, "precision": "ns"})
    try:
        answer = request(settings, "POST", f"/api/v2/write?{query}", token)
    except (OSError, HTTPException):
        return not_applicable("the database cannot be asked: see the check above")
    if answer.status == 204:
        return ok(f"the token may write to bucket {settings.bucket} of organisation {settings.org}")
    ours = loopback(urlsplit(settings.url).hostname or "") and case.machine.path(_OURS).exists()
    return _not_written(settings, answer, ours=ours)


def _not_written(settings: Influxdb, answer: Answer, *, ours: bool) -> Finding:
    again = "sudo ./install.sh --with-influxdb, once more: it makes a new one"
    correct = again if ours else f"put the right one into {_CREDENTIAL} (or [influxdb] token), {_RESTART}"
    if answer.status == 401:
        return failure("the token is refused", f"InfluxDB does not know it ({answer.message})", correct)
    if answer.status == 403:
        cause = f"it may not write to bucket {settings.bucket} ({answer.message})"
        look = f"influx bucket list --org {settings.org} --name {settings.bucket} shows its ID"
        make = f"{look}; influx auth create --org {settings.org} --write-bucket ID makes one that may; {correct}"
        return failure("the token is not enough", cause, correct if ours else make)
    if answer.status == 404:
        make = f"influx bucket create --org {settings.org} --name {settings.bucket}"
        remedy = f"{make}, or correct [influxdb] bucket and org, {_RESTART}"
        return failure("there is no such bucket", answer.message, remedy)
    cause = f"it answered {answer.status}: {answer.message}"
    return warning("cannot serve now", cause, "journalctl -u influxdb -n 50")
