"""Nothing that comes over HTTP harms the daemon: nonsense, floods and slow clients, against the process itself."""

from __future__ import annotations

import asyncio
import re
import socket
import time
import urllib.request
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz_corpus.hostile_http import REQUESTS, requests
from tests.servers.base import HOST, free_port
from tests.servers.daemon import Daemon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence


PATIENCE = 0.3  # seconds to wait for an answer; who announces more than it sends gets none
TOGETHER = 50
GROWTH = 6 * 1024  # KiB that the process may grow by while it is flooded
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) [^\r]*\r\n")


class Server(Daemon):
    """A daemon with an HTTP server, and no rate limit that a test would meet by chance."""

    def __init__(self, directory: Path, more: str = "rate_limit = 100000") -> None:
        self.port = free_port()
        super().__init__(directory, f'[http]\nhost = "{HOST}"\nport = {self.port}\n{more}\n')

    def wait_listening(self) -> None:
        """Wait until it does."""
        self.wait_for(lambda status: all(server["connected"] for server in status["servers"]), what="the server")

    def webhook(self) -> float:
        """Send a reading as a device would; return the seconds until its 200."""
        began = time.monotonic()
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/webhook/plug?power={began}", timeout=5) as answer:
            assert answer.status == 200
        return time.monotonic() - began

    def memory(self) -> int:
        """Return its resident memory in KiB."""
        found = re.search(r"VmRSS:\s+([0-9]+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1])

    def complaints(self) -> list[str]:
        """Return the lines of its log that speak of a defect."""
        words = ("Traceback", "defect", "Unhandled", "never retrieved", "exception")
        return [line for line in self.log.read_text(errors="replace").splitlines() if any(w in line for w in words)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("hostile")) as started:
        started.wait_listening()
        yield started
        assert started.complaints() == []


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[socket.socket]:
    """Connect; the end of the block hangs up at once."""
    with socket.socket() as made:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, (HOST, port))
        yield made


async def answers(port: int, request: bytes) -> list[int]:
    """Send a request on a connection of its own; return the statuses of all answers to it."""
    loop, received = asyncio.get_running_loop(), b""
    async with connection(port) as made:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await loop.sock_sendall(made, request)
                while data := await loop.sock_recv(made, 65_536):
                    received += data
    return [int(status) for status in _STATUS.findall(received)]


async def send_all(port: int, requests: Sequence[bytes]) -> list[tuple[bytes, list[int]]]:
    """Send requests, some at a time, and return the answers to each."""
    places = asyncio.Semaphore(TOGETHER)

    async def send(request: bytes) -> tuple[bytes, list[int]]:
        async with places:
            return request, await answers(port, request)

    return await asyncio.gather(*map(send, requests))


def defects(found: Sequence[tuple[bytes, list[int]]]) -> list[tuple[bytes, list[int]]]:
    """Return what was answered with a failure of the server; 503 is a decision."""
    return [(request, statuses) for request, statuses in found if any(s >= 500 and s != 503 for s in statuses)]


@pytest.mark.timeout(900)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(batch=st.lists(requests(), min_size=TOGETHER, max_size=TOGETHER))
def test_no_request_causes_a_defect(server: Server, batch: list[bytes]) -> None:
    """3,000 requests that are wrong in every place a request has: never a 500, and the next webhook is answered."""
    assert defects(asyncio.run(send_all(server.port, batch))) == []
    server.webhook()


@pytest.mark.alone
def test_a_flood_of_nonsense_leaves_no_trace_in_memory(server: Server, tell: Callable[[str], None]) -> None:
    """8,000 hostile requests: no 500, and as much memory at the end as after the first quarter."""
    flood = list(REQUESTS.values()) * (2_000 // len(REQUESTS) + 1)
    sizes, counted = [], 0
    for _ in range(4):
        found = asyncio.run(send_all(server.port, flood))
        assert defects(found) == []
        counted += len(found)
        sizes.append(server.memory())
    tell(f"{counted} hostile requests; resident memory {' '.join(f'{size // 1024}' for size in sizes)} MiB")
    assert sizes[-1] - sizes[0] < GROWTH
    assert server.webhook() < 1


@asynccontextmanager
async def slow_connections(port: int, count: int) -> AsyncIterator[list[int]]:
    """Keep so many connections that each send a byte now and then, half of them in a head, half in a body.

    Gives a list with the number of those that were ended so far.
    """
    head = b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n"
    ended = [0]

    loop = asyncio.get_running_loop()

    async def trickle(start: bytes) -> None:
        while True:
            with suppress(OSError):
                async with connection(port) as made:
                    await loop.sock_sendall(made, start)
                    while True:
                        await asyncio.sleep(0.5)
                        await loop.sock_sendall(made, b"X")
            ended[0] += 1
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(trickle(head + b"\r\n" * (number % 2))) for number in range(count)]
        yield ended
        for task in tasks:
            task.cancel()


@pytest.mark.alone
async def test_slow_clients_do_not_keep_webhooks_out(server: Server, tell: Callable[[str], None]) -> None:
    """600 of them, more than there are places, for longer than the timeout: each webhook is answered at once."""
    delays = []
    async with slow_connections(server.port, 600) as ended:
        finish = time.monotonic() + 15
        while time.monotonic() < finish:
            delays.append(await asyncio.to_thread(server.webhook))
            await asyncio.sleep(0.05)
        status = await asyncio.to_thread(server.status)
    tell(
        f"600 slow clients, {ended[0]} times ended: {len(delays)} webhooks answered, the slowest after "
        f"{max(delays) * 1000:.0f} ms; {status['servers'][0]}"
    )
    assert ended[0] > 100
    assert max(delays) < 1


@pytest.mark.alone
async def test_slow_clients_do_not_delay_a_stop(tmp_path: Path) -> None:
    """SIGTERM ends the daemon within seconds, whoever holds a connection."""
    with Server(tmp_path) as server:
        server.wait_listening()
        async with slow_connections(server.port, 200):
            await asyncio.to_thread(server.webhook)
            began = time.monotonic()
            await asyncio.to_thread(server.stop)
            assert time.monotonic() - began < 5
        assert server.complaints() == []


@pytest.mark.alone
def test_a_flood_is_told_to_come_back_later(tmp_path: Path) -> None:
    """429 with Retry-After; who keeps to it is answered, and the command line is never concerned."""
    with Server(tmp_path, "rate_limit = 20") as server:
        server.wait_listening()
        request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with socket.create_connection((HOST, server.port), timeout=10) as connection:
            connection.sendall(request * 100 + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            received = b""
            while data := connection.recv(65_536):
                received += data
        statuses = [int(status) for status in _STATUS.findall(received)]
        assert len(statuses) == 101
        assert set(statuses) == {200, 429}
        assert 40 <= statuses.count(200) < 60
        assert received.count(b"Retry-After: 1\r\n") == statuses.count(429)
        time.sleep(1)
        server.webhook()
        assert server.status()["servers"][0]["rate_limited"] == statuses.count(429)
