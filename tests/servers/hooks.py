"""Devices that send webhooks at a given rate, whatever becomes of them, every answer noted.

An open loop: a slow answer holds no later request up, as devices do not wait for each other. Nothing is sent twice.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from statistics import quantiles
from typing import Any, NamedTuple, Self

import aiohttp

from .base import HOST, ServerError, wait_until

DEVICES = 50
_TIMEOUT = 30.0


@dataclass(frozen=True)
class Load:
    """What is sent: so many requests, so many a second, numbered from `first`."""

    count: int
    rate: float
    first: int = 0


class Answer(NamedTuple):
    """What became of a request: the status and Retry-After of its answer, or 0 for none; after how many seconds."""

    seq: int
    status: int
    retry_after: str | None
    seconds: float


def device(seq: int) -> str:
    """Return the device that sends a request."""
    return f"hook-{seq % DEVICES:02}"


def power(seq: int) -> float:
    """Return the power (W) that a request tells."""
    return seq % 4000 / 10


class Hooks:
    """Sends in a thread of its own, every other request as a query or as JSON. Use it as a context manager."""

    def __init__(self, port: int, load: Load) -> None:
        self.answers: list[Answer] = []
        self._url = f"http://{HOST}:{port}"
        self._load = load
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="hooks", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(self._load.count / self._load.rate + 2 * _TIMEOUT)

    def wait_answered(self, count: int) -> None:
        """Wait until so many requests have their answer, or will have none."""
        wait_until(lambda: len(self.answers) >= count or not self._thread.is_alive(), 60, f"{count} answers")

    def wait(self) -> list[Answer]:
        """Wait for all answers and return them in the order of the requests."""
        self._thread.join(self._load.count / self._load.rate + 2 * _TIMEOUT)
        if self._thread.is_alive() or self._error is not None:
            raise ServerError(f"the requests were not all sent: {self._error!r}")
        return sorted(self.answers)

    def _run(self) -> None:
        try:
            asyncio.run(self._send_all())
        except BaseException as error:  # noqa: BLE001 - told by `wait`
            self._error = error

    async def _send_all(self) -> None:
        connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(_TIMEOUT)
        async with aiohttp.ClientSession(self._url, connector=connector, timeout=timeout) as session:
            session._retry_connection = False  # aiohttp would send again what was cut off
            begun = time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                for number in range(self._load.count):
                    due = begun + number / self._load.rate
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    tasks.create_task(self._send(session, self._load.first + number, due))

    async def _send(self, session: aiohttp.ClientSession, seq: int, due: float) -> None:
        status, retry_after, target = 0, None, f"/webhook/{device(seq)}"
        values: dict[str, Any] = {"seq": seq, "power": power(seq), "voltage": 230.1, "current": 0.52}
        sent = session.post(target, json=values) if seq % 2 else session.get(target, params=values)
        try:
            async with sent as answer:
                await answer.read()
                status, retry_after = answer.status, answer.headers.get("Retry-After")
        except (aiohttp.ClientError, TimeoutError):
            status = 0
        self.answers.append(Answer(seq, status, retry_after, time.monotonic() - due))


def latencies(answers: list[Answer]) -> str:
    """Return median, 99th percentile and maximum of what was answered, in words."""
    seconds = [answer.seconds for answer in answers if answer.status]
    points = quantiles(seconds, n=100, method="inclusive")
    return f"p50 {points[49] * 1e3:.0f} ms, p99 {points[98] * 1e3:.0f} ms, slowest {max(seconds) * 1e3:.0f} ms"
