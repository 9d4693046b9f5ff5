"""What fails is started again, alone, with patience; what the process cannot live with ends it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from edge_energy.errors import ConfigError, JournalError, JournalFull, Unavailable
from edge_energy.supervisor import FIRST_WAIT, LONGEST_WAIT, Outage, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

SOON = 5.0
UP = "up"
"""In a script: the peer answers."""


class Scripted:
    """A component whose runs end one after the other as the script says; the last goes on for ever."""

    name = "scripted"

    def __init__(self, *runs: list[Any]) -> None:
        self.up = asyncio.Event()
        self.runs = [*runs]
        self.started = 0
        self.settled = asyncio.Event()

    async def run(self) -> None:
        """Play the next run."""
        self.started += 1
        if not self.runs:
            self.settled.set()
            await asyncio.Event().wait()
        for step in self.runs.pop(0):
            if step is not UP:
                raise step
            self.up.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note how long the supervisor would have waited, without waiting."""
    noted: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        if seconds:
            noted.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    return noted


async def supervise(component: Scripted) -> tuple[Supervisor, list[Any]]:
    """Run until the script is played; return the supervisor and its log."""
    supervisor = Supervisor(component)
    with capture_logs() as log:
        running, settled = asyncio.create_task(supervisor.run()), asyncio.create_task(component.settled.wait())
        async with asyncio.timeout(SOON):
            await asyncio.wait([running, settled], return_when=asyncio.FIRST_COMPLETED)
        settled.cancel()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    return supervisor, log


def events(log: list[Any]) -> list[tuple[str, str | None]]:
    return [(line["event"], line.get("reason")) for line in log]


@pytest.mark.parametrize(
    "failure", [Unavailable("away"), JournalFull("no space"), KeyError("defect"), asyncio.QueueEmpty()]
)
async def test_a_component_that_fails_is_started_again(waits: list[float], failure: Exception) -> None:
    """An absent peer, a full disk and a defect all end in another attempt."""
    component = Scripted([failure], [failure], [])
    supervisor, _ = await supervise(component)
    assert component.started == 4
    assert supervisor.last_error == "ended by itself"
    assert len(waits) == 3


@pytest.mark.parametrize("end", [JournalError("the card is broken"), ConfigError(["no such setting"])])
@pytest.mark.usefixtures("waits")
async def test_what_the_process_cannot_live_with_ends_it(end: Exception) -> None:
    """A broken journal or configuration is not tried again."""
    with pytest.raises(type(end)):
        await supervise(Scripted([end]))


@pytest.mark.usefixtures("waits")
async def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends() -> None:
    """Fifty failed attempts do not fill the log; another reason is worth another line."""
    away, slow = [Unavailable("away")], [Unavailable("slow")]
    _, log = await supervise(Scripted([UP], *[away] * 50, slow, slow, [UP, Unavailable("away")]))
    assert events(log) == [
        ("unavailable", "ended by itself"),
        ("still unavailable", "away"),
        ("still unavailable", "slow"),
        ("available again", None),
        ("unavailable", "away"),
    ]


@pytest.mark.usefixtures("waits")
async def test_a_defect_is_logged_with_its_traceback() -> None:
    """A programmer must see where it was; a peer that is away has no traceback."""
    _, log = await supervise(Scripted([ZeroDivisionError("x")], [Unavailable("away")]))
    defects = [line for line in log if "exc_info" in line]
    assert [line["component"] for line in defects] == ["scripted"]
    assert "defect" in defects[0]["event"]


async def test_attempts_wait_longer_and_longer_and_begin_anew_after_success(waits: list[float]) -> None:
    """Patience grows to a limit, and is forgotten once the peer answered."""
    away = [Unavailable("away")]
    await supervise(Scripted(*[away] * 12, [UP, Unavailable("away")]))
    assert all(FIRST_WAIT * 2**n / 2 <= wait <= FIRST_WAIT * 2**n for n, wait in enumerate(waits[:6]))
    assert all(LONGEST_WAIT / 2 <= wait <= LONGEST_WAIT for wait in waits[7:12])
    assert waits[12] <= FIRST_WAIT


def test_what_failed_together_does_not_come_back_together() -> None:
    """The wait has jitter."""
    supervisor = Supervisor(Scripted())
    supervisor.outage = Outage("away", 0, attempts=4)
    assert len({supervisor._pause() for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ("wish", "respected"), [(120.0, lambda w: w == 120), (None, lambda w: w <= 1), (0.0, lambda w: w > 0)]
)
async def test_the_peer_s_wish_is_respected(
    waits: list[float], wish: float | None, respected: Callable[[float], bool]
) -> None:
    """Retry-After lengthens the wait and never shortens it."""
    await supervise(Scripted([Unavailable("429", retry_after=wish)]))
    assert respected(waits[0])


@pytest.mark.usefixtures("waits")
async def test_a_component_is_not_up_between_its_runs() -> None:
    """`up` is cleared by the supervisor, so that status never shows a dead component as connected."""
    component = Scripted([UP, Unavailable("away")])
    supervisor, _ = await supervise(component)
    assert not component.up.is_set()
    assert supervisor.outage is not None
    assert (supervisor.outage.reason, supervisor.outage.attempts) == ("away", 1)


async def test_stop_means_cancel() -> None:
    """Cancelling the supervisor cancels its component, which is not started again."""
    component = Scripted()
    running = asyncio.create_task(Supervisor(component).run())
    await component.settled.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert component.started == 1
