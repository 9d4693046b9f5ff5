"""Webhooks at a rate, or as fast as they are answered; prints what it took as a line of JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from statistics import quantiles

import uvloop

DEVICES = 50
_REQUEST = (
    "GET /webhook/plug-{device}?power={power}&voltage=230.1&current=0.52&energy={energy}&seq={number} HTTP/1.1\r\n"
    "Host: 127.0.0.1\r\n\r\n"
)


class Hooks:
    """Takes its requests from one counter and sends each on whichever connection is free."""

    def __init__(self, port: int, count: int, rate: float | None) -> None:
        self._port = port
        self._count = count
        self._rate = rate
        self._next = 0
        self._begun = 0.0
        self._latencies: list[float] = []

    async def run(self, connections: int) -> dict[str, float]:
        """Send all of them; return seconds, and the latencies' median and 99th percentile in ms.

        At a rate, a request's latency counts from when it was due: what waits for a connection waits for the server.
        """
        lines = [await asyncio.open_connection("127.0.0.1", self._port) for _ in range(connections)]
        self._begun = time.perf_counter()
        await asyncio.gather(*(self._work(*line) for line in lines))
        seconds = time.perf_counter() - self._begun
        points = quantiles(self._latencies, n=100, method="inclusive")
        return {"seconds": seconds, "p50": points[49] * 1e3, "p99": points[98] * 1e3}

    async def _work(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (number := self._next) < self._count:
            self._next += 1
            due = time.perf_counter()
            if self._rate is not None:
                due = self._begun + number / self._rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            writer.write(_request(number))
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            body = await reader.readexactly(int(length))
            if not head.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"{head!r} {body!r}")
            self._latencies.append(time.perf_counter() - due)
        writer.close()


def _request(number: int) -> bytes:
    numbers = {"device": number % DEVICES, "power": number % 4000 / 10, "energy": number, "number": number}
    return _REQUEST.format(**numbers).encode()


def main() -> None:
    """Send webhooks."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("port", "count", "connections"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--rate", type=float)
    args = parser.parse_args()
    print(json.dumps(uvloop.run(Hooks(args.port, args.count, args.rate).run(args.connections))))


if __name__ == "__main__":
    main()
