"""InfluxDB 2.7 with an organisation, a bucket and a token, and the questions that tests ask it, in Flux."""

from __future__ import annotations

import csv
import itertools
import json
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

from . import influxd
from .base import HOST, ServerError, require
from .process import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CONVERT: dict[str, Callable[[str], Any]] = {
    "boolean": lambda text: text == "true",
    "double": float,
    "long": int,
    "unsignedLong": int,
}


class FreshInfluxDB(Server):
    """One server that nobody has set up yet."""

    def __init__(self) -> None:
        super().__init__(require(influxd))
        self.url = f"http://{HOST}:{self.port}"
        self.environment = {
            "INFLUXD_BOLT_PATH": str(self.directory / "bolt"),
            "INFLUXD_SQLITE_PATH": str(self.directory / "sqlite"),
            "INFLUXD_ENGINE_PATH": str(self.directory / "engine"),
            "INFLUXD_HTTP_BIND_ADDRESS": f"{HOST}:{self.port}",
        }
        self.arguments += ["run", "--reporting-disabled"]

    def answers(self) -> bool:
        """Whether its health check passes."""
        try:
            return bool(json.loads(self._request("/health", timeout=1))["status"] == "pass")
        except (OSError, HTTPException, ServerError):
            return False

    def set_up(self, org: str, bucket: str, token: str) -> None:
        """Set it up as somebody else would."""
        owner = {"username": "edge", "password": "edge-energy", "token": token}
        self._post("/api/v2/setup", {**owner, "org": org, "bucket": bucket})

    def _post(self, path: str, body: dict[str, Any], token: str = "") -> str:
        return self._request(path, json.dumps(body).encode(), token=token)

    def _request(self, path: str, body: bytes | None = None, timeout: float = 30, token: str = "") -> str:
        headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}
        with closing(HTTPConnection(self.host, self.port, timeout=timeout)) as connection:
            connection.request("GET" if body is None else "POST", path, body, headers)
            response = connection.getresponse()
            answer = response.read().decode()
        if response.status >= 300:
            raise ServerError(f"{path}: {response.status} {answer}")
        return answer


class InfluxDB(FreshInfluxDB):
    """One server; `bucket` is where `write` and `count` look, `fresh_bucket` gives the next test its own."""

    def __init__(self) -> None:
        super().__init__()
        self.org, self.bucket, self.token = "home", "energy", "token-of-a-test"
        self._buckets = itertools.count(1)

    def __enter__(self) -> Self:
        super().__enter__()
        self.set_up(self.org, self.bucket, self.token)
        return self

    def fresh_bucket(self, retention_seconds: int = 0) -> str:
        """Make a new, empty bucket (0 keeps points for ever) and look there from now on."""
        self.bucket = f"bucket-{next(self._buckets)}"
        org_id = json.loads(self._request(f"/api/v2/orgs?org={self.org}"))["orgs"][0]["id"]
        rules = [{"type": "expire", "everySeconds": retention_seconds}] if retention_seconds else []
        self._post("/api/v2/buckets", {"name": self.bucket, "orgID": org_id, "retentionRules": rules})
        return self.bucket

    def write(self, lines: str) -> None:
        """Write line protocol with nanosecond timestamps into the bucket."""
        where = urlencode({"org": self.org, "bucket": self.bucket, "precision": "ns"})
        self._request(f"/api/v2/write?{where}", lines.encode())

    def query(self, flux: str) -> list[dict[str, Any]]:
        """Return the rows of all tables; numbers and booleans converted, times as InfluxDB prints them."""
        answer = self._post(
            f"/api/v2/query?org={self.org}",
            {"query": flux, "dialect": {"annotations": ["datatype"], "header": True}},
        )
        return list(_rows(answer))

    def points(self, measurement: str = "energy") -> list[dict[str, Any]]:
        """Return the bucket's points in order of time: tags, fields, and `_time` in nanoseconds."""
        return self.query(
            f"{self._everything(measurement)}"
            ' |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")'
            ' |> drop(columns: ["_start", "_stop"]) |> map(fn: (r) => ({r with _time: int(v: r._time)}))'
            ' |> group() |> sort(columns: ["_time"])'
        )

    def count(self, field: str = "", measurement: str = "energy") -> int:
        """Return how many values the bucket holds, of one field or of all."""
        only = f' |> filter(fn: (r) => r._field == "{field}")' if field else ""
        rows = self.query(f"{self._everything(measurement)}{only} |> count() |> group() |> sum()")
        return int(rows[0]["_value"]) if rows else 0

    def _everything(self, measurement: str) -> str:
        # `range` ends now unless told otherwise, and a device's clock may be ahead.
        return (
            f'from(bucket: "{self.bucket}") |> range(start: 0, stop: 2200-01-01T00:00:00Z)'
            f' |> filter(fn: (r) => r._measurement == "{measurement}")'
        )

    def _request(self, path: str, body: bytes | None = None, timeout: float = 30, token: str = "") -> str:
        return super()._request(path, body, timeout, token or self.token)


def _rows(annotated: str) -> Iterator[dict[str, Any]]:
    """Read annotated CSV: tables with a line of types and one of names each, an empty line between."""
    types: list[str] = []
    names: list[str] = []
    for cells in csv.reader(annotated.splitlines()):
        if not cells:
            continue
        if cells[0] == "#datatype":
            types, names = cells, []
        elif not names:
            names = cells
            if "error" in names:
                raise ServerError(annotated)
        else:
            values = zip(names, types, cells, strict=True)
            yield {name: _CONVERT.get(kind, str)(text) if text else None for name, kind, text in values if name}
