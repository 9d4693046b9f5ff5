"""The InfluxDB v2 sink.

Source: InfluxDB 2.7's API reference, "Write data"; what 2.7.12 answers beyond it was seen.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

import aiohttp

from edge_energy.errors import Rejected, TooLarge, Unavailable
from edge_energy.sinks.line_protocol import LineProtocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_energy.config import Influxdb
    from edge_energy.interfaces import Entry

LONGEST_RETRY_AFTER = 300.0
LARGEST_ANSWER = 64 * 1024
"""Bytes that are read of it."""
LONGEST_EXPLANATION = 1000

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
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        settings = self._settings
        self._session = aiohttp.ClientSession(
            headers={
                "Authorization": f"Token {settings.token.get_secret_value()}",
                "Accept": "application/json",
                "Content-Type": "text/plain; charset=utf-8",
            },
            timeout=aiohttp.ClientTimeout(total=settings.timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def write(self, entries: Sequence[Entry]) -> None:
        """Write a batch; returns when InfluxDB answered 204."""
        lines = self._lines.lines(entries)
        if not lines:
            return
        assert self._session is not None, "write() outside of `async with`"  # noqa: S101 - a programmer's mistake
        settings = self._settings
        try:
            async with self._session.post(
                f"{settings.url.rstrip('/')}/api/v2/write",
                params={"org": settings.org, "bucket": settings.bucket, "precision": "ns"},
                data=lines,
                compress="gzip" if settings.use_gzip else None,
                allow_redirects=False,  # no token follows it elsewhere
            ) as response:
                if response.status == HTTPStatus.NO_CONTENT:
                    return
                refusal = self._refusal(response, await _explanation(response))
        except TimeoutError as error:
            raise Unavailable(f"{settings.url} did not answer within {settings.timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"cannot reach {settings.url}: {error or type(error).__name__}") from error
        raise refusal

    def _refusal(self, response: aiohttp.ClientResponse, explanation: str) -> Rejected | TooLarge | Unavailable:
        """Return what an answer means for the entries, and for whom."""
        settings, status = self._settings, response.status
        if status in (400, 422):
            return Rejected(explanation, certain=any(words in explanation for words in _ABOUT_THE_DATA))
        if status == 413:
            return TooLarge(explanation)
        if status < 400:  # such as the 200 of a captive portal: nobody has the entries
            return Unavailable(f"{settings.url} does not answer as InfluxDB does: correct [influxdb] url")
        advice = {
            401: "it refuses the token: correct [influxdb] token",
            403: f"the token may not write to bucket {settings.bucket!r}: correct [influxdb] token or bucket",
            404: f"it has no bucket {settings.bucket!r} in organisation {settings.org!r}: "
            "correct [influxdb] bucket or org",
        }.get(status, "it cannot serve now")
        return Unavailable(f"{settings.url} answered {status}: {advice} ({explanation})", _retry_after(response))


async def _explanation(response: aiohttp.ClientResponse) -> str:
    """Return InfluxDB's `message`, or what the status is called."""
    body = bytearray()
    while len(body) < LARGEST_ANSWER and (piece := await response.content.read(LARGEST_ANSWER - len(body))):
        body += piece
    try:
        return str(json.loads(body)["message"])[:LONGEST_EXPLANATION]
    except (ValueError, TypeError, KeyError):
        return str(response.reason or "no explanation")


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Return the seconds of a Retry-After header, bounded; the date form is left to our own backoff."""
    try:
        return min(LONGEST_RETRY_AFTER, max(0.0, float(response.headers.get("Retry-After", ""))))
    except ValueError:
        return None
