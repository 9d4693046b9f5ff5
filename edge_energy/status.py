"""What the appliance says of itself: derived when asked, from the parts that know."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from edge_energy import __version__
from edge_energy.interfaces import Component
from edge_energy.journal.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_energy.clock import Clock
    from edge_energy.collector import Collector
    from edge_energy.delivery import Delivery
    from edge_energy.journal.journal import Journal
    from edge_energy.live import Live
    from edge_energy.relays.controller import Controller
    from edge_energy.sources.shelly.outbound import OutboundSockets
    from edge_energy.supervisor import Supervisor


class Source(Component, Protocol):
    """A component that listens to somebody, and tells how that goes."""

    def status(self) -> dict[str, Any]:
        """Return its `kind` ("mqtt", "shelly", "http"), and what is its own."""
        ...


class Status:
    """Makes the reports of the local socket. Holds no state of its own but the moment of the start."""

    def __init__(self, appliance: str, journal: Journal, live: Live, clock: Clock, collector: Collector) -> None:
        self.sources: Sequence[Source] = ()
        self.servers: Sequence[Source] = ()
        self.inboxes: Sequence[Source] = ()
        self.outbound: OutboundSockets | None = None
        self.relays: Controller | None = None
        self.deliveries: Sequence[Delivery] = ()
        self.supervisors: Sequence[Supervisor] = ()
        self._appliance = appliance
        self._journal = journal
        self._live = live
        self._clock = clock
        self._collector = collector
        self._started = time.time()
        self._began = time.monotonic()

    def summary(self) -> str:
        """Return one line for systemd."""
        sources = sum(source.up.is_set() for source in self.sources)
        lag = sum(outbox.lag() for outbox in self._journal.outboxes.values())
        parts = [f"{sources}/{len(self.sources)} sources connected", f"{len(self._live.devices)} devices"]
        parts.append("journal FULL" if self._journal.full else f"{lag} entries to deliver")
        wrong = 0 if self.relays is None else sum(bool(relay["findings"]) for relay in self.relays.report())
        if wrong:
            parts.append(f"{wrong} relays need attention")
        return ", ".join(parts)

    async def report(self) -> dict[str, Any]:
        """Return everything that `edge-energy status --json` prints."""
        return {
            "appliance": self._appliance,
            "version": __version__,
            "started": self._started,
            "up_seconds": round(time.monotonic() - self._began, 1),
            "clock_trusted": self._clock.trusted,
            "devices": len(self._live.devices),
            "live_updates": self._live.updates,
            "sources": [self._source(source) for source in self.sources],
            "servers": [self._source(server) for server in self.servers],
            "outbound": self.outbound and self.outbound.status(),
            "collected": {
                "recorded": self._collector.recorded,
                "repeated": self._collector.repeated,
                "not_recorded": self._collector.not_recorded,
            },
            "relays": [] if self.relays is None else self.relays.report(),
            "commands": [self._source(inbox) for inbox in self.inboxes],
            "sinks": [await self.sink(delivery) for delivery in self.deliveries],
            "journal": await self.journal(),
            "defects": {each.component.name: each.defect for each in self.supervisors if each.defect},
        }

    def _component(self, component: Component) -> dict[str, Any]:
        supervisor = next(each for each in self.supervisors if each.component is component)
        outage = supervisor.outage
        return {
            "name": component.name,
            "connected": component.up.is_set(),
            "unavailable_seconds": round(time.monotonic() - outage.since, 1) if outage else None,
            "last_error": supervisor.last_error,
        }

    def _source(self, source: Source) -> dict[str, Any]:
        return {**self._component(source), **source.status()}

    async def sink(self, delivery: Delivery) -> dict[str, Any]:
        """Return how the delivery to one sink goes."""
        outbox = self._journal.outboxes[delivery.name]
        oldest = outbox.debt.oldest()
        seconds = None
        if oldest is not None and oldest <= self._journal.newest:
            at = await self._journal.query(Reader.time_of, oldest)
            seconds = None if at is None else round(max(0.0, time.time() - at / 1e9), 1)
        last = delivery.last_success
        return {
            **self._component(delivery),
            "lag_entries": outbox.lag(),
            "lag_seconds": seconds if outbox.lag() else 0.0,
            "backlog_entries": outbox.backlog.unread(),
            "replay_rate": delivery.replay_rate,
            "delivered": delivery.delivered,
            "set_aside": delivery.set_aside,
            "last_success_seconds_ago": _ago(last),
            "unanswered_seconds": _ago(delivery.asked_at),
        }

    async def journal(self) -> dict[str, Any]:
        """Return what `edge-energy journal stats` prints."""
        journal = self._journal
        oldest = await journal.query(Reader.oldest)
        set_aside = await journal.query(Reader.set_aside)
        unsaved = sum(len(outbox.refusals) for outbox in journal.outboxes.values())
        counters = journal.counters
        return {
            "id": journal.journal_id,
            "file": str(journal.path),
            "bytes": journal.used,
            "budget_bytes": journal.budget,
            "full": journal.full,
            "newest_position": journal.newest,
            "oldest_position": oldest[0] if oldest else None,
            "oldest_time": oldest[1] if oldest else None,
            "commits": counters.commits,
            "entries": counters.entries,
            "bytes_written": _bytes_written(),
            "trimmed": counters.trimmed,
            "dropped": counters.dropped,
            "dropped_ever": journal.dropped_ever,
            "refused": counters.refused,
            "set_aside": len(set_aside) + unsaved,
            "recovered": journal.recovered,
        }

    def devices(self) -> list[dict[str, Any]]:
        """Return the live state of every device."""
        return [
            {
                "device": device,
                "name": state.name,
                "model": state.model,
                "address": state.address,
                "available": state.available,
                "time": state.time,
                "values": state.values,
            }
            for device, state in sorted(self._live.devices.items())
        ]


def _ago(moment: float | None) -> float | None:
    """Return how many seconds ago a monotonic moment was."""
    return None if moment is None else round(time.monotonic() - moment, 1)


def _bytes_written() -> int | None:
    """Return what this process has written to storage, as the kernel counts it; None where it does not."""
    try:
        with open("/proc/self/io") as file:  # noqa: PTH123 - not a file to be thought of as a path
            counts = dict(line.split(": ") for line in file.read().splitlines())
        return int(counts["write_bytes"])
    except (OSError, KeyError, ValueError):
        return None
