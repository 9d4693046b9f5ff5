"""The yardstick of webhooks: aiohttp, a grouped SQLite commit, the answer after it. Nothing else."""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import time

import orjson
import uvloop
from aiohttp import web

ROWS = 1_000
DEADLINE = 0.25  # seconds from the first of a group to its commit, as in the product


class Server:
    """Commits in the loop's own thread."""

    def __init__(self, database: str) -> None:
        self._database = sqlite3.connect(database, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute("CREATE TABLE messages (time INTEGER, device TEXT, body BLOB)")
        self._rows: list[tuple[int, str, bytes]] = []
        self._durable: asyncio.Future[None] | None = None

    async def take(self, request: web.Request) -> web.Response:
        """Take one webhook."""
        values = {name: float(value) for name, value in request.query.items()}
        if self._durable is None:
            loop = asyncio.get_running_loop()
            self._durable = loop.create_future()
            loop.call_later(DEADLINE, self._commit, self._durable)
        durable = self._durable
        self._rows.append((time.time_ns(), request.match_info["device"], orjson.dumps(values)))
        if len(self._rows) >= ROWS:
            self._commit(durable)
        await durable
        return web.Response(body=b'{"status":"ok","recorded":1}', content_type="application/json")

    def _commit(self, durable: asyncio.Future[None]) -> None:
        if durable is not self._durable:
            return
        rows, self._rows, self._durable = self._rows, [], None
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO messages VALUES (?, ?, ?)", rows)
        self._database.execute("COMMIT")
        durable.set_result(None)


async def serve(port: int, database: str) -> None:
    """Serve until killed."""
    application = web.Application()
    application.router.add_get("/webhook/{device}", Server(database).take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


def main() -> None:
    """Run the server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", required=True)
    args = parser.parse_args()
    uvloop.run(serve(args.port, args.database))


if __name__ == "__main__":
    main()
