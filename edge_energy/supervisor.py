"""Keeps components running: the only restart loop, and the only catch-all."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from edge_energy.errors import ConfigError, JournalError, JournalFull, Unavailable

if TYPE_CHECKING:
    from edge_energy.interfaces import Component

log = structlog.get_logger()

FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0


@dataclass(slots=True)
class Outage:
    """Why a component is not up, since when (monotonic seconds), and how often it was restarted."""

    reason: str
    since: float
    attempts: int = 0


class Supervisor:
    """Runs one component for ever. An outage is one log line when it begins and one when it ends."""

    def __init__(self, component: Component, longest_wait: float = LONGEST_WAIT) -> None:
        """`longest_wait` (s) is the most between two attempts."""
        self.component = component
        self._longest_wait = longest_wait
        self.outage: Outage | None = None
        self.last_error: str | None = None
        self.defect: str | None = None
        """The last error that only a programmer can mend."""

    async def run(self) -> None:
        """Run the component, again and again. Ends with what the process cannot live with, and when cancelled."""
        while True:
            watch = asyncio.create_task(self._watch())
            try:
                retry_after = await self._run_once()
            finally:
                watch.cancel()
                self.component.up.clear()
            await asyncio.sleep(max(self._pause(), retry_after))

    async def _run_once(self) -> float:
        """Run until it ends; return the seconds that the peer wants to be left alone."""
        try:
            await self._run_component()
        except Unavailable as error:
            self._failed(str(error))
            return error.retry_after or 0
        except JournalFull as error:
            self._failed(str(error))
        except (JournalError, ConfigError):
            raise
        except Exception as error:
            log.exception("a defect stopped a component; it is started again", component=self.component.name)
            self.defect = f"{type(error).__name__}: {error}"
            self._failed(self.defect)
        else:
            self._failed("ended by itself")
        return 0

    async def _run_component(self) -> None:
        """Run it in a task of its own: an error of it at the moment of a stop must not hide that we are to end.

        A TaskGroup that is cancelled while it fails raises the failure alone.
        """
        task = asyncio.create_task(self.component.run())
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # of no interest any more
            raise
        task.result()

    def _failed(self, reason: str) -> None:
        self.last_error = reason
        if self.outage is None:
            log.warning("unavailable", component=self.component.name, reason=reason)
            self.outage = Outage(reason, time.monotonic())
        elif self.outage.reason != reason:
            log.warning("still unavailable", component=self.component.name, reason=reason)
            self.outage.reason = reason
        self.outage.attempts += 1

    def _pause(self) -> float:
        """Return an exponential wait with jitter, so that what failed together does not come back together."""
        attempts = self.outage.attempts if self.outage else 1
        longest: float = min(self._longest_wait, FIRST_WAIT * 2 ** min(attempts - 1, 10))
        return random.uniform(0.5, 1.0) * longest  # noqa: S311

    async def _watch(self) -> None:
        await self.component.up.wait()
        if self.outage is not None:
            seconds = round(time.monotonic() - self.outage.since, 1)
            log.info("available again", component=self.component.name, after_seconds=seconds)
            self.outage = None
