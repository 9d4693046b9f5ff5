"""What setting up an InfluxDB 2 needs of its HTTP API.

Source: InfluxDB 2.7's API reference; what it does not say was seen on 2.7.12 and stands where it is used.
"""

from __future__ import annotations

import json
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from edge_energy.errors import EdgeEnergyError

TIMEOUT = 20.0
LARGEST = 4 * 2**20
"""Bytes of an answer."""


class SetupError(EdgeEnergyError):
    """Somebody must act; the first line says what happened, the second what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}\n{remedy}")


class Unreachable(SetupError):  # noqa: N818 - a state of the world
    """Nothing answers, or something that is no InfluxDB."""


class Answer(NamedTuple):
    """What InfluxDB said; `message` is its explanation of an error."""

    status: int
    body: dict[str, Any]

    @property
    def message(self) -> str:
        """What InfluxDB says of it."""
        return str(self.body.get("message") or f"status {self.status}")[:300]


class Server:
    """One InfluxDB 2. A redirect is an answer like another: no token follows it elsewhere."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username is not None:
            raise SetupError(f"{url!r} is no address of an InfluxDB", "Give one like http://192.168.1.20:8086")
        self.url = url.rstrip("/")
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path.rstrip("/")
        self._secure = parts.scheme == "https"

    def ask(self, method: str, path: str, body: Any = None, token: str = "", **query: str) -> Answer:
        """Make one request; a body is sent as JSON, a text as it is. Raises `Unreachable`."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Token {token}"
        content = None if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        target = f"{self._path}{path}?{urlencode(query)}" if query else f"{self._path}{path}"
        kind = HTTPSConnection if self._secure else HTTPConnection
        try:
            with closing(kind(self._host, self._port, timeout=TIMEOUT)) as connection:
                connection.request(method, target, content, headers)
                response = connection.getresponse()
                return Answer(response.status, _object(response.read(LARGEST)))
        except (OSError, HTTPException) as error:
            raise Unreachable(
                f"{self.url} cannot be reached: {error or type(error).__name__}",
                'Look whether InfluxDB runs there ("systemctl status influxdb" on that machine), and at the address.',
            ) from error

    def healthy(self) -> bool:
        """Whether it is up. Raises `Unreachable` where something else answers."""
        answer = self.ask("GET", "/health")
        if answer.body.get("name") != "influxdb":
            raise Unreachable(f"what answers at {self.url} is no InfluxDB 2", "Correct the address.")
        return answer.body.get("status") == "pass"

    def untouched(self) -> bool:
        """Whether nobody has set it up yet."""
        return self.ask("GET", "/api/v2/setup").body.get("allowed") is True

    def organisation(self, name: str, token: str) -> str | None:
        """Return the id of an organisation that the token may know of, or None. Raises `SetupError`."""
        answer = self.ask("GET", "/api/v2/orgs", token=token, org=name)
        return _only_id(answer, "orgs", name)

    def bucket(self, org: str, name: str, token: str) -> str | None:
        """Return the id of a bucket of the organisation with this id, or None. Raises `SetupError`."""
        answer = self.ask("GET", "/api/v2/buckets", token=token, orgID=org, name=name)
        return _only_id(answer, "buckets", name)

    def may_write(self, org: str, bucket: str, token: str) -> Answer:
        """Write nothing: 204 if the token may write there, 401 unknown, 403 it may not, 404 no such bucket."""
        return self.ask("POST", "/api/v2/write", "", token, org=org, bucket=bucket)

    def may_read(self, org: str, bucket: str, token: str) -> Answer:
        """Ask for nothing: 200 if the token may read there, 401 unknown, 404 it may not."""
        flux = f"from(bucket: {json.dumps(bucket, ensure_ascii=False)}) |> range(start: -1s) |> limit(n: 1)"
        return self.ask("POST", "/api/v2/query", {"query": flux}, token, org=org)


def _object(content: bytes) -> dict[str, Any]:
    """Return the JSON object of an answer; an empty one for anything else (a query answers CSV)."""
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _only_id(answer: Answer, plural: str, name: str) -> str | None:
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise SetupError(f"InfluxDB does not tell about {plural}: {answer.message}", "Give a token that it knows.")
    return next((str(found["id"]) for found in answer.body.get(plural) or () if found.get("name") == name), None)
