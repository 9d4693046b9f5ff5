"""What each device said last and by which way, so that what two ways say is recorded once. No I/O.

A Shelly may push the same change by WebSocket, MQTT and webhook at once. While several ways tell of a device, a value
that one of them has told is no news; what is left of a reading is. Of a device with one way every reading counts.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from edge_energy.errors import EdgeEnergyError
from edge_energy.reading import INCREMENTS, Values, is_counter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_energy.interfaces import Durable
    from edge_energy.reading import Reading

SHELLY = "shelly-"
"""How our ids of these devices begin, which have so many ways to tell."""
TOGETHER = 5_000_000_000  # ns within which two ways tell of the same change; a poll comes later than that
ROUNDING = 1.0  # Wh; a counter that falls by less was rounded, not reset (firmware sends decreases of 0.001)
MOST_DEVICES = 1_000  # first heard by one way; a house has a hundred, and who invents names keeps no other way out
CLOCKS_APART = 2_000_000_000  # ns; a device that tells a change at once has a wrong clock if it says another time
MOST_FRAMES = 64  # remembered of each device by their own times
MOST_NAMES = 512  # remembered of each device


class TooManyDevices(EdgeEnergyError):  # noqa: N818 - a state of the world
    """Somebody sends for more devices than a house can have."""


class News(NamedTuple):
    """What is left of a reading: its new values, its own time if it has one, and whether none newer was seen."""

    values: Values
    time: int | None
    newest: bool


@dataclass(slots=True)
class _Device:
    values: dict[str, tuple[float | bool, str, int]] = field(default_factory=dict)
    """By name: the newest value, the way that told it first, and when (uptime, ns)."""
    heard: dict[str, int] = field(default_factory=dict)
    """By way: uptime (ns) of what came last."""
    frames: dict[int, tuple[Values, int]] = field(default_factory=dict)
    """By a reading's own time: its values, and the last time that was given to one of that time."""
    newest: int = 0


def pushed_at(own: int | None, now: int | None) -> int | None:
    """Return the own time (UTC ns) of what a device tells at once; None where it has none or its clock is wrong."""
    return None if own is None or now is None or abs(own - now) > CLOCKS_APART else own


class Ways:
    """Shared by all sources. Whoever records news tells `recorded` what the journal promised."""

    def __init__(self) -> None:
        self._devices: dict[str, _Device] = {}
        self._introduced: Counter[str] = Counter()
        """By way: how many devices were first heard by it."""
        self._unrecorded = False
        """Whether there was news that nobody has recorded yet."""
        self._pending: deque[Durable] = deque()

    def concern(self, device: str) -> bool:
        """Tell whether a device can be heard by more than MQTT, so that it has to be looked at."""
        return device.startswith(SHELLY) or device in self._devices

    def heard(self, device: str) -> Mapping[str, int]:
        """Return by which ways a device was heard, with the uptime (ns) of the last time."""
        known = self._devices.get(device)
        return {} if known is None else known.heard

    def news(self, reading: Reading, way: str, uptime: int, *, late: bool = False) -> News | None:
        """Take a reading; return what of it is new, or None where it only repeats.

        Its time is its own, if it has one that can be believed. `late` says that it tells of the past, so that
        what is known now neither makes it a repetition nor changes by it. Raises `TooManyDevices`.
        """
        self._settle()
        known = self._devices.get(reading.device)
        if known is None:
            if self._introduced[way] >= MOST_DEVICES:
                raise TooManyDevices(f"more than {MOST_DEVICES} devices by {way}: {reading.device} is not taken")
            self._introduced[way] += 1
            known = self._devices[reading.device] = _Device()
        values, time, newest = reading.values, reading.time, not late
        if time is not None:
            newest = newest and time >= known.newest
            known.newest = max(known.newest, time)
            values, time = _place(known, time, values)
        if newest:
            values = _steady(known, values)
        if not late and any(uptime - at < TOGETHER for other, at in known.heard.items() if other != way):
            values = {name: value for name, value in values.items() if not _told(known, name, value, way, uptime)}
        known.heard[way] = uptime
        if not values:
            return None
        self._unrecorded = True
        if newest:
            for name, value in values.items():
                if name not in INCREMENTS and (name in known.values or len(known.values) < MOST_NAMES):
                    known.values[name] = (value, way, uptime)
        return News(values, time, newest)

    def recorded(self, durable: Durable | None) -> None:
        """Note what the news went with; None where the journal refused it at once."""
        unrecorded, self._unrecorded = self._unrecorded, False
        if durable is None:
            self._forget()
        elif unrecorded and (not self._pending or self._pending[-1] is not durable):
            self._pending.append(durable)

    def _settle(self) -> None:
        """Let what did not get to the disk be news again."""
        while self._pending and self._pending[0].done():
            if self._pending.popleft().failed():
                self._forget()

    def _forget(self) -> None:
        for known in self._devices.values():
            known.values.clear()
            known.frames.clear()


def _steady(known: _Device, values: Values) -> Values:
    """Keep counters where they were if they only fell by rounding."""
    steady = dict(values)
    for name, value in values.items():
        before = known.values.get(name)
        if before is not None and is_counter(name) and 0 < before[0] - value < ROUNDING:
            steady[name] = before[0]
    return steady


def _place(known: _Device, time: int, values: Values) -> tuple[Values, int]:
    """Return what a reading adds to those with the same time of its own, and its time.

    Where it contradicts them it is put a nanosecond later, so that it does not overwrite them.
    """
    before, last = known.frames.pop(time, ({}, time))
    added = {name: value for name, value in values.items() if before.get(name) != value}
    if added.keys() & before.keys():
        last += 1
    known.frames[time] = (before | added, last)
    if len(known.frames) > MOST_FRAMES:
        del known.frames[next(iter(known.frames))]
    return added, last


def _told(known: _Device, name: str, value: float | bool, way: str, uptime: int) -> bool:  # noqa: FBT001 - a value
    """Tell whether this value was told already, and nothing else since.

    By another way, whenever that was; or by the same just now: two webhooks tell of one change, as do two topics.
    """
    told = known.values.get(name)
    return told is not None and told[0] == value and (told[1] != way or uptime - told[2] < TOGETHER)
