"""The InfluxDB v2 sink."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, NoReturn, Self

import aiohttp
from influxdb_client import WritePrecision
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.rest import ApiException

from edge_energy.errors import Rejected, TooLarge, Unavailable
from edge_energy.sinks.line_protocol import LineProtocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_energy.config import Influxdb
    from edge_energy.interfaces import Entry

LONGEST_RETRY_AFTER = 300.0

# What InfluxDB says when it is the data that it cannot take, whatever else is right.
_ABOUT_THE_DATA = ("field type conflict", "retention policy")


class InfluxdbSink:
    """Writes entries as points. The same entry written twice is the same point: same series, same time."""

    name = "influxdb"

    def __init__(self, settings: Influxdb, appliance: str) -> None:
        self.batch_size = settings.batch_size
        self.batch_age = settings.batch_age
        self._settings = settings
        self._lines = LineProtocol(appliance)
        self._client: InfluxDBClientAsync | None = None

    async def __aenter__(self) -> Self:
        settings = self._settings
        self._client = InfluxDBClientAsync(
            url=settings.url,
            token=settings.token.get_secret_value(),
            org=settings.org,
            timeout=int(settings.timeout * 1000),
            enable_gzip=settings.use_gzip,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def write(self, entries: Sequence[Entry]) -> None:
        """Write a batch; returns when InfluxDB answered 204."""
        lines = self._lines.lines(entries)
        if not lines:
            return
        assert self._client is not None, "write() outside of `async with`"  # noqa: S101 - a programmer's mistake
        settings = self._settings
        try:
            accepted = await self._client.write_api().write(
                settings.bucket, settings.org, lines, write_precision=WritePrecision.NS
            )
        except ApiException as error:
            self._refused(error)
        except TimeoutError as error:
            raise Unavailable(f"{settings.url} did not answer within {settings.timeout:g} s") from error
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise Unavailable(f"cannot reach {settings.url}: {error or type(error).__name__}") from error
        if not accepted:  # such as the 200 of a captive portal: nobody has the entries
            raise Unavailable(f"{settings.url} does not answer as InfluxDB does: correct [influxdb] url")

    def _refused(self, error: ApiException) -> NoReturn:
        """Translate an answer into what it means for the entries, and for whom."""
        settings = self._settings
        status, message = error.status, _message(error)
        if status in (400, 422):
            raise Rejected(message, certain=any(words in message for words in _ABOUT_THE_DATA)) from error
        if status == 413:
            raise TooLarge(message) from error
        advice = {
            401: "it refuses the token: correct [influxdb] token",
            403: f"the token may not write to bucket {settings.bucket!r}: correct [influxdb] token or bucket",
            404: f"it has no bucket {settings.bucket!r} in organisation {settings.org!r}: "
            "correct [influxdb] bucket or org",
        }.get(status, "it cannot serve now")
        raise Unavailable(f"{settings.url} answered {status}: {advice} ({message})", _retry_after(error)) from error


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, TypeError, KeyError):
        return str(error.reason or "no explanation")


def _retry_after(error: ApiException) -> float | None:
    """Return the seconds of a Retry-After header, bounded; the date form is left to our own backoff."""
    headers = error.headers or {}
    text = next((value for key, value in headers.items() if key.lower() == "retry-after"), "")
    try:
        return min(LONGEST_RETRY_AFTER, max(0.0, float(text)))
    except ValueError:
        return None
