"""From what one Shelly says to readings in the collector."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from edge_energy.devices import shelly_rpc
from edge_energy.devices.shelly_gen2 import Status
from edge_energy.errors import JournalFull, Unavailable
from edge_energy.reading import Reading
from edge_energy.ways import TooManyDevices, pushed_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_energy.clock import Clock
    from edge_energy.collector import Collector
    from edge_energy.devices.shelly_rpc import Frame
    from edge_energy.interfaces import Durable
    from edge_energy.live import Live
    from edge_energy.reading import Values

    _Take = Callable[[Mapping[str, Any]], Values]

log = structlog.get_logger()

WITHIN = 1.0  # seconds until a reading is on disk; whoever sent it waits for nothing
MOST_WAITING = 500  # readings of one device that wait for one commit; a flood of more is only live
AT_ONCE = 20  # frames of one device, after which others get their turn
LOG_EVERY = 60.0


@dataclass(slots=True)
class Counters:
    """What one device has sent, by one way, since the start; `peer` is its address or its id."""

    peer: str
    frames: int = 0
    """Messages of any kind, also answers to polls."""
    readings: int = 0
    garbage: int = 0
    throttled: int = 0
    """How often it asked to be left alone (429)."""
    implausible: int = 0
    not_recorded: int = 0
    """Came while the disk was full, or as a part of a flood."""
    last_message: float | None = None
    """Monotonic seconds."""
    logged: float = float("-inf")

    def unreadable(self, reason: str) -> None:
        """Count something that cannot be read; once a minute it is in the log."""
        self.garbage += 1
        if time.monotonic() - self.logged >= LOG_EVERY:
            self.logged = time.monotonic()
            log.warning("unreadable message", source=f"shelly {self.peer}", reason=reason, so_far=self.garbage)

    def report(self) -> dict[str, Any]:
        """Return what `status` shows of them."""
        last = self.last_message
        return {
            "last_message_seconds_ago": None if last is None else round(time.monotonic() - last, 1),
            "frames": self.frames,
            "readings": self.readings,
            "garbage": self.garbage,
            "throttled": self.throttled,
            "implausible": self.implausible,
            "not_recorded": self.not_recorded,
        }


class Receivers(NamedTuple):
    """Where readings go, and what time it is there."""

    collector: Collector
    live: Live
    clock: Clock


class Recording:
    """What is known of one device by one way, and what it says from now on."""

    def __init__(self, device: str, way: str, counters: Counters, receivers: Receivers) -> None:
        self.device = device
        self.status = Status()
        self._way = way
        self._counters = counters
        self._receivers = receivers
        self._durable: Durable | None = None
        self._waiting = 0

    def notification(self, frame: Frame) -> None:
        """Take a frame that the device sent on its own; others than those of its status say nothing to us."""
        self._heard()
        if frame.method == "NotifyStatus":
            self._take_status(self.status.change, frame.params, self._pushed_at(frame))
        elif frame.method == "NotifyFullStatus":
            self._take_status(self.status.full, frame.params, self._pushed_at(frame))

    def full(self, status: Mapping[str, Any]) -> None:
        """Take the answer to `Shelly.GetStatus`: true now."""
        self._heard()
        self._take_status(self.status.full, status, None)

    def answer(self, values: Values) -> None:
        """Take values that were asked for: true now."""
        self._heard()
        self._record(values, None)

    def _record(self, values: Values, time: int | None) -> None:
        """Record values of an instant (UTC ns; None for now). Raises `Unavailable` if the device is one too many."""
        self._receivers.live.availability(self.device, available=True, by=self._counters.peer)
        if not values:
            return
        if self._waiting >= MOST_WAITING and self._durable is not None and not self._durable.done():
            # Safety depends on what it says now, and on answers behind it: nothing waits here for the disk.
            self._counters.not_recorded += 1
            self._receivers.live.update(Reading(self.device, self._receivers.clock.now()[0], values))
            return
        try:
            recorded = self._receivers.collector.record([Reading(self.device, time, values)], self._way, WITHIN)
        except JournalFull:
            self._counters.not_recorded += 1
            return
        except TooManyDevices as error:
            raise Unavailable(str(error)) from None
        self._counters.readings += recorded.number
        if recorded.durable is not self._durable:
            self._durable, self._waiting = recorded.durable, 0
        self._waiting += recorded.number

    async def room(self) -> None:
        """Let others have their turn now and then, however much the device says."""
        if self._counters.frames % AT_ONCE == 0:
            await asyncio.sleep(0)

    def _heard(self) -> None:
        self._counters.frames += 1
        self._counters.last_message = time.monotonic()

    def _take_status(
        self, take: Callable[[Mapping[str, Any]], Values], told: Mapping[str, Any], time: int | None
    ) -> None:
        before = self.status.implausible
        values = take(told)
        self._counters.implausible += self.status.implausible - before
        self._record(values, time)

    def _pushed_at(self, frame: Frame) -> int | None:
        return pushed_at(shelly_rpc.own_time(frame.params), self._receivers.clock.now()[0])
