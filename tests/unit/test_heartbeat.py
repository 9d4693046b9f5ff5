"""systemd hears that the daemon is ready, and then only while the loop and the journal's threads answer."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import pytest

from edge_energy.heartbeat import Heartbeat, notify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_energy.journal.journal import Journal

SOON = 5.0


@pytest.fixture(params=["path", "abstract"])
def systemd(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """Listen where systemd would."""
    address = str(tmp_path / "notify") if request.param == "path" else f"\0edge-energy-{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", address.replace("\0", "@"))
        yield listening


class FakeJournal:
    """Answers pings unless it hangs."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = asyncio.Event()

    async def ping(self) -> None:
        """Answer, or hang."""
        self.asked.set()
        await self.answers.wait()


async def heard(systemd: socket.socket) -> str:
    async with asyncio.timeout(SOON):
        return (await asyncio.get_running_loop().sock_recv(systemd, 4096)).decode()


async def test_ready_comes_first_and_then_beats_with_a_status(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """READY waits for nobody; each beat feeds the watchdog and says how things are, at a third of the interval."""
    monkeypatch.setenv("WATCHDOG_USEC", "60000")
    summaries = iter(range(100))
    heartbeat = Heartbeat(cast("Journal", FakeJournal()), lambda: f"state {next(summaries)}")
    running = asyncio.create_task(heartbeat.run())
    began = asyncio.get_running_loop().time()
    assert [await heard(systemd) for _ in range(4)] == [
        "READY=1\nSTATUS=state 0",
        *(f"WATCHDOG=1\nSTATUS=state {n}" for n in (1, 2, 3)),
    ]
    assert asyncio.get_running_loop().time() - began >= 0.055
    assert heartbeat.up.is_set()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_a_journal_that_hangs_stops_the_watchdog_s_food(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon that does not answer is restarted; when it answers again in time, the beats go on."""
    monkeypatch.setenv("WATCHDOG_USEC", "3000")
    journal: Any = FakeJournal()
    journal.answers.clear()
    running = asyncio.create_task(Heartbeat(journal, lambda: "x").run())
    assert (await heard(systemd)).startswith("READY=1")
    async with asyncio.timeout(SOON):
        await journal.asked.wait()
    with pytest.raises(BlockingIOError):
        systemd.recv(4096)
    journal.answers.set()
    assert (await heard(systemd)).startswith("WATCHDOG=1")
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def test_without_systemd_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a laptop there is no socket and no error."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
