"""From a reading to live and the journal, for every source that hands over readings one by one."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_energy.devices.payload import believable, encode
from edge_energy.errors import JournalFull
from edge_energy.interfaces import APPLIANCE, READING, NewEntry
from edge_energy.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_energy.clock import Clock
    from edge_energy.increments import Increments
    from edge_energy.interfaces import Durable, Recorder
    from edge_energy.live import Live
    from edge_energy.ways import Ways

DESCRIBED = "device/"
"""Of the keys in the journal's state: `device/<device>` has its name and model."""
SOON = 5.0  # seconds until a name is on disk
LATE = 60_000_000_000  # ns; a reading that is older says nothing of the present


class Recorded(NamedTuple):
    """What became of readings: how many go to the journal, and when they, and all before them, are on disk."""

    number: int
    durable: Durable


class Collector:
    """Places readings in time, drops what another way has just told, sums increments, tells live, records.

    For sources without packets to acknowledge; MQTT's intake does the same beside its own book-keeping.
    """

    def __init__(  # noqa: PLR0913 - what a reading touches
        self,
        recorder: Recorder,
        live: Live,
        clock: Clock,
        ways: Ways,
        increments: Increments,
        described: Mapping[str, list[str]] = MappingProxyType({}),
    ) -> None:
        """Begin with what the journal's state has under `DESCRIBED`: what devices are called already."""
        self.recorded = 0
        self.repeated = 0
        self.not_recorded = 0
        """Came while the disk was full."""
        self._recorder = recorder
        self._live = live
        self._clock = clock
        self._ways = ways
        self._increments = increments
        self._described = dict(described)
        self._pending: deque[Recorded] = deque()

    def record(
        self, readings: Iterable[Reading], way: str, within: float, state: Mapping[str, Any] | None = None
    ) -> Recorded:
        """Take readings; `way` names how they came ("webhook"), `within` (s) how soon they must be on disk.

        A reading's time is its own if that can be believed, else that of arrival. `state` is written in the same
        transaction. Increments (Wh) under the names of `reading.INCREMENTS` become counters. Raises `JournalFull`
        (live was told all the same) and `TooManyDevices` (nothing of the call was taken).
        """
        self._settle()
        entries = [entry for reading in readings if (entry := self._take(reading, way)) is not None]
        try:
            durable = self._recorder.record(entries, within, {**(state or {}), **self._increments.state()})
        except JournalFull:
            self._increments.recorded(None)
            self._ways.recorded(None)
            self.not_recorded += len(entries)
            raise
        self._increments.recorded(durable)
        self._ways.recorded(durable)
        recorded = Recorded(len(entries), durable)
        if entries:
            self.recorded += len(entries)
            self._pending.append(recorded)
        return recorded

    def describe(self, device: str, name: str, model: str) -> None:
        """Take a device's friendly name and model; they are recorded when they change."""
        self._live.describe(device, name, model)
        key, told = f"{DESCRIBED}{device}", [name, model]
        if self._described.get(key) == told:
            return
        with suppress(JournalFull):  # then it is told again at the next connection
            self._recorder.record([description(device, name, model, self._clock)], SOON, {key: told})
            self._described[key] = told

    def _settle(self) -> None:
        """Count what did not get to the disk as what it is."""
        while self._pending and self._pending[0].durable.done():
            number, durable = self._pending.popleft()
            if durable.failed():
                self.recorded -= number
                self.not_recorded += number

    def _take(self, reading: Reading, way: str) -> NewEntry | None:
        device, own_time, _ = reading
        now, uptime = self._clock.now()
        if own_time is not None and (now is None or not believable(own_time, now)):
            reading = reading._replace(time=None)
        late = reading.time is not None and now is not None and now - reading.time >= LATE
        news = self._ways.news(reading, way, uptime, late=late)
        if news is None:
            self.repeated += 1
            return None
        values = self._increments.sum(device, news.values)
        at = now if news.time is None else news.time
        if news.newest:
            self._live.update(Reading(device, at, values))
        return NewEntry(READING, device, at, uptime, encode(values))


def description(device: str, name: str, model: str, clock: Clock) -> NewEntry:
    """Return the entry that tells a device's friendly name and model."""
    now, uptime = clock.now()
    return NewEntry(APPLIANCE, device, now, uptime, encode({"event": "device", "name": name, "model": model}))
