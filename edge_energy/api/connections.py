"""The open connections of the HTTP server: so many and no more, and none that is too slow.

aiohttp bounds neither how long a request may take to arrive nor how many connections wait for one; a few hundred
clients that send a byte now and then would keep every webhook out.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Protocol

from edge_energy.api.rates import owner

MOST_CONNECTIONS = 512
MOST_SOCKETS = 256
SWEEP = 0.5  # seconds
_GRACE = 1.0  # seconds for the guard to answer a late body itself


class Held(Protocol):
    """What takes a place among the connections."""

    owner: str
    """The address, as `rates.owner` has it."""
    deadline: float
    """When (loop time) it must have sent what is awaited."""

    def stalled(self, now: float) -> float:
        """Return for how many seconds it has not read what was sent to it."""
        ...

    def expire(self) -> None:
        """End it because it was too slow."""
        ...

    def drop(self) -> None:
        """End it at once, unheard."""
        ...


class Connections:
    """All connections of one server.

    At most `most` are open. One too many ends one that has no whole request: of those of the address that has
    the most, the one that has waited longest. So whoever sends a request swiftly gets in, however many others
    are slow, and those of an address that opens few are safe. WebSockets are counted apart.
    """

    def __init__(self, timeout: float, most: int = MOST_CONNECTIONS, most_sockets: int = MOST_SOCKETS) -> None:
        """`timeout` is the setting (s): a request must have arrived whole in that time."""
        self.timeout = timeout
        self.most = most
        self.most_sockets = most_sockets
        self.answers: Counter[int] = Counter()
        """By hundreds of the status."""
        self.slow = 0
        self.displaced = 0
        self._open: set[Held] = set()
        self._waiting: dict[Held, None] = {}
        """Those without a whole request, the longest first."""
        self._sockets: set[Held] = set()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def sockets(self) -> int:
        """How many WebSockets are open."""
        return len(self._sockets)

    def opened(self, connection: Held) -> None:
        """Take a new one in."""
        self._open.add(connection)
        self.await_request(connection)
        if len(self._open) > self.most:
            self.displaced += 1
            chosen = self._displaceable()
            self._forget(chosen)
            chosen.drop()

    def _displaceable(self) -> Held:
        """Return the longest waiting one of the address that has the most of those that wait."""
        owners = Counter(connection.owner for connection in self._waiting)
        ((greedy, _),) = owners.most_common(1)
        return next(connection for connection in self._waiting if connection.owner == greedy)

    def await_request(self, connection: Held) -> None:
        """Note that it has no whole request now."""
        if connection in self._open:
            self._waiting[connection] = None

    def has_request(self, connection: Held) -> None:
        """Note that it has one."""
        self._waiting.pop(connection, None)

    def became_socket(self, connection: Held) -> None:
        """Note that it is a WebSocket from now on."""
        if connection in self._open:
            self._forget(connection)
            self._sockets.add(connection)

    def closed(self, connection: Held) -> None:
        """Note that it is no more."""
        self._forget(connection)
        self._sockets.discard(connection)

    def close_sockets(self) -> None:
        """End the WebSockets that their handlers have not ended."""
        for connection in list(self._sockets):
            connection.drop()

    async def watch(self) -> None:
        """End those that are too slow to send, or to read, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP)
            now = loop.time()
            for connection in list(self._open):
                if now > connection.deadline + _GRACE or connection.stalled(now) > self.timeout:
                    self.slow += 1
                    self._forget(connection)
                    connection.expire()

    def _forget(self, connection: Held) -> None:
        self._open.discard(connection)
        self._waiting.pop(connection, None)


def owner_of(transport: asyncio.BaseTransport) -> str:
    """Return whose connection it is, as `Held.owner` has it."""
    peer = transport.get_extra_info("peername")
    return owner(str(peer[0])) if peer else ""
