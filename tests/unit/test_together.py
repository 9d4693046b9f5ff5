"""Coroutines side by side behave as one: one error, its own, and nothing left running."""

from __future__ import annotations

import asyncio

import pytest

from edge_energy.errors import JournalError, Unavailable
from edge_energy.together import together


async def for_ever(ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("cancelled")


async def fail(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


@pytest.mark.parametrize("error", [Unavailable("away", retry_after=7), JournalError("x"), KeyError("defect")])
async def test_the_first_error_cancels_the_others_and_is_raised_itself(error: Exception) -> None:
    """Callers tell errors apart by their class, so no group may hide it."""
    ended: list[str] = []
    with pytest.raises(type(error)) as caught:
        await together(for_ever(ended), fail(error), for_ever(ended))
    assert caught.value is error
    assert ended == ["cancelled", "cancelled"]


async def test_errors_of_nested_calls_come_through() -> None:
    """A component may use it inside another."""
    ended: list[str] = []
    with pytest.raises(Unavailable):
        await together(for_ever(ended), together(for_ever(ended), fail(Unavailable("away"))))
    assert len(ended) == 2


async def test_cancelling_cancels_all() -> None:
    """Stop means cancel."""
    ended: list[str] = []
    running = asyncio.create_task(together(for_ever(ended), for_ever(ended)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(ended) == 2


async def test_it_ends_when_all_have_ended() -> None:
    """The first to end does not end the others."""
    done: list[int] = []

    async def work(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        done.append(turns)

    await together(work(5), work(1), work(3))
    assert done == [1, 3, 5]
