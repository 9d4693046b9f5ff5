"""A proxy in front of a Kafka broker that loses its answers to produce requests: what makes duplicates."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

from .base import HOST
from .proxy import FaultProxy
from .relay import reset

if TYPE_CHECKING:
    from .kafka import Kafka

_SIZE = struct.Struct(">i")
_HEAD = struct.Struct(">hhi")  # of a request: what it is, its version, the number that its answer begins with
_PRODUCE = 0
_LARGEST = 104_857_600  # the broker takes no larger request


class ProduceProxy(FaultProxy):
    """The way to `proxied_brokers` while it is entered; faults are those of FaultProxy without HTTP.

    `requests` counts produce requests that reached the broker, `dropped` their answers that did not come back,
    and `uploaded` is how many bytes the clients sent.
    """

    def __init__(self, kafka: Kafka) -> None:
        super().__init__(kafka.behind_proxy, http=False)
        self.port = kafka.proxy_port  # the broker tells clients this one
        self.dropped = 0
        self.uploaded = 0
        self._to_drop = 0
        self._cuts = True

    def drop_responses(self, count: int, *, cut: bool = True) -> None:
        """Lose the answers to the next produce requests that the broker carried out.

        The connection is reset in their place, or with cut=False stays open and the client waits.
        """
        with self._lock:
            self._to_drop, self._cuts = count, cut

    async def _relay_bytes(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_broker, to_broker = await asyncio.open_connection(HOST, self.target)
        asked: set[int] = set()
        answers = asyncio.create_task(self._answers(from_broker, writer, asked))
        try:
            while True:
                request = await _frame(reader)
                await self._flowing()
                kind, _, number = _HEAD.unpack_from(request, _SIZE.size)
                if kind == _PRODUCE:
                    asked.add(number)
                    self.requests += 1
                self.uploaded += len(request)
                to_broker.write(request)
                await to_broker.drain()
        finally:
            answers.cancel()
            to_broker.close()

    async def _answers(self, broker: asyncio.StreamReader, client: asyncio.StreamWriter, asked: set[int]) -> None:
        try:
            while True:
                answer = await _frame(broker)
                await self._flowing()
                (number,) = _SIZE.unpack_from(answer, _SIZE.size)
                if number in asked:
                    asked.remove(number)
                    if self._drops():
                        if self._cuts:
                            break
                        continue
                client.write(answer)
                await client.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # one of the two has left
        reset(client)

    def _drops(self) -> bool:
        with self._lock:
            if not self._to_drop:
                return False
            self._to_drop -= 1
            self.dropped += 1
            return True


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """Return one request or answer as it was sent, its size in front."""
    size = await reader.readexactly(_SIZE.size)
    (length,) = _SIZE.unpack(size)
    if not 0 <= length <= _LARGEST:
        raise ConnectionError(f"no Kafka message has {length} bytes")
    return size + await reader.readexactly(length)
