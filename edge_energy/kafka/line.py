"""Sends batches in a thread of its own, by one session after another: each lasts until its first failure."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from edge_energy.kafka.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_energy.config import Kafka
    from edge_energy.messages import Message

_LONGEST_CLOSE = 1.0  # seconds
_LISTEN = 60.0  # seconds; a broker that is away is tried, and complained of, some times a second


class Line:
    """From its opening to its `close`; whatever its thread does after that concerns no other line."""

    def __init__(self, settings: Kafka, client_id: str) -> None:
        """Begin: there is no session before the first batch."""
        self._new_session = partial(Session, settings, client_id)
        self._session: Session | None = None
        """Is the thread's."""
        self._thread = ThreadPoolExecutor(1, "kafka")
        self._listening = asyncio.create_task(self._listen())

    async def send(self, batch: Iterable[tuple[int, str, Message]]) -> None:
        """Do what `Session.send` does; the batch is made in the thread, and stops when we are cancelled."""
        if self._listening.done():
            await self._listening  # a defect: with nobody listening, memory fills up
        stop = threading.Event()
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._send, batch, stop)
        finally:
            stop.set()

    async def close(self) -> None:
        """End soon; a thread that takes longer is left alone with that."""
        self._listening.cancel()
        closing = asyncio.wrap_future(self._thread.submit(self._end))
        self._thread.shutdown(wait=False)
        await asyncio.wait([closing, self._listening], timeout=_LONGEST_CLOSE)
        if closing.done():
            await closing

    async def _listen(self) -> None:
        while True:
            await asyncio.sleep(_LISTEN)
            await asyncio.get_running_loop().run_in_executor(self._thread, self._hear)

    # -- in the thread ----------------------------------------------------------------------------------------

    def _send(self, batch: Iterable[tuple[int, str, Message]], stop: threading.Event) -> None:
        if self._session is None:
            self._session = self._new_session()
        try:
            self._session.send(batch, stop)
        finally:
            self._renew(self._session)

    def _hear(self) -> None:
        """Let an idle session speak."""
        if self._session is not None:
            self._session.listen()
            self._renew(self._session)

    def _renew(self, session: Session) -> None:
        """Let a session that cannot be relied upon any more make room for a new one."""
        if not session.usable:
            self._end()

    def _end(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
