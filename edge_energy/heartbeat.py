"""Tells systemd that the daemon is ready, alive, and how it is doing."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_energy.journal.journal import Journal

STATUS_EVERY = 30.0


def notify(message: str) -> None:
    """Send a message by the protocol of sd_notify(3); does nothing without systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(message.encode(), address)


class Heartbeat:
    """Feeds the watchdog while the event loop and the journal's threads answer.

    A full disk or a silent house is no hang: they answer.
    """

    name = "heartbeat"

    def __init__(self, journal: Journal, summary: Callable[[], str]) -> None:
        self.up = asyncio.Event()
        self._journal = journal
        self._summary = summary

    async def run(self) -> None:
        """Beat until cancelled, at a third of the interval that systemd allows."""
        self.up.set()
        notify(f"READY=1\nSTATUS={self._summary()}")
        allowed = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
        every = allowed / 3 if allowed else STATUS_EVERY
        while True:
            await asyncio.sleep(every)
            await self._journal.ping()
            notify(f"WATCHDOG=1\nSTATUS={self._summary()}")
