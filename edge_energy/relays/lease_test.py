"""Finds out on the real device what its timer does when it is sent again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from edge_energy.errors import NotSwitched

if TYPE_CHECKING:
    from edge_energy.reading import Reading
    from edge_energy.relays.actor import Actor

TIMER = 6.0  # seconds
_LATE = 1.5  # seconds by which a device may be late


class Finding(NamedTuple):
    """What a device's timer does; `detail` is for people."""

    verified: bool
    detail: str


CLICKS = Finding(verified=False, detail="it opens and closes when its timer is sent again")


async def carry_out(actor: Actor, on: bool) -> Finding:  # noqa: FBT001 - a value
    """Switch with the timer, send it again when half of it is over, and look who is right afterwards.

    Raises `Unavailable` and `NotSwitched` where the device cannot even be switched.
    """
    await actor.probe(on, TIMER, again=False)
    await asyncio.sleep(TIMER / 2)
    await actor.probe(on, TIMER, again=True)
    await asyncio.sleep(TIMER / 2 + _LATE)
    try:  # the first timer is over, the second is not
        await actor.probe(on, TIMER, again=True)
    except NotSwitched:
        return Finding(verified=False, detail="the timer is not restarted when it is sent again")
    await asyncio.sleep(TIMER + _LATE)
    try:
        await actor.probe(on, 0.1, again=True)
    except NotSwitched:
        return Finding(verified=True, detail="the timer is restarted without a click, and switches back")
    return Finding(verified=False, detail="the timer does not switch back")


def clicks(readings: asyncio.Queue[Reading], output: str, on: bool) -> int:  # noqa: FBT001 - a value
    """Return how often the relay went to the other state and back, as far as its reports say."""
    seen: list[bool | float] = []
    while not readings.empty():
        value = readings.get_nowait().values.get(output)
        if value is not None and seen[-1:] != [value]:
            seen.append(value)
    while seen and seen[0] != on:
        del seen[0]
    return max(0, len(seen) - 2)
