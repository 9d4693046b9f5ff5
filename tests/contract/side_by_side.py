"""Runs a test of the contract suite of relays with devices of several kinds at once: most of it is waiting."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.contract.relay_devices import KINDS, rig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from tests.contract.relay_devices import Rig
    from tests.servers.mosquitto import Mosquitto

    Brokers = Callable[..., Mosquitto]
    Promise = Callable[[Rig], Awaitable[None]]
    Test = Callable[[Path, Brokers], Awaitable[None]]


def over(*names: str) -> Callable[[Promise], Test]:
    """Let a test run with each of these kinds; `house` is its device and what reaches it."""

    def decorate(promise: Promise) -> Test:
        async def test(tmp_path: Path, mosquitto: Brokers) -> None:
            await _side_by_side(names, promise, tmp_path, mosquitto)

        test.__doc__ = promise.__doc__
        return test

    return decorate


@asynccontextmanager
async def connected(name: str, directory: Path, mosquitto: Brokers) -> AsyncIterator[Rig]:
    """Give a device, its relay open; at the end what must hold in every test is checked."""
    async with rig(KINDS[name], directory, mosquitto) as found:
        await found.relay.switch(False)
        yield found
        if found.shelly is not None and found.process.running:
            assert (await found.truth())["most_connections"] <= found.most_connections
    assert "Traceback" not in found.process.log.read_text(errors="replace")


async def _side_by_side(names: tuple[str, ...], promise: Promise, directory: Path, mosquitto: Brokers) -> None:
    all_started = asyncio.Barrier(len(names))

    async def one(name: str) -> None:
        async with AsyncExitStack() as stack:
            try:
                house = await stack.enter_async_context(connected(name, directory / name, mosquitto))
            finally:  # starting takes the whole machine, and what is promised has its time
                await all_started.wait()
            await promise(house)

    ended = await asyncio.gather(*map(one, names), return_exceptions=True)
    _raise({name: error for name, error in zip(names, ended, strict=True) if error is not None})


def _raise(errors: Mapping[str, BaseException]) -> None:
    """Fail with everything that failed; skip only if nothing did."""
    for name, error in errors.items():
        error.add_note(f"This was with {name}.")
    if failures := [error for error in errors.values() if not isinstance(error, pytest.skip.Exception)]:
        raise failures[0] if len(failures) == 1 else BaseExceptionGroup("several kinds failed", failures)
    for skipped in errors.values():
        raise skipped
