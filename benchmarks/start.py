"""How long a start takes until READY, and what an idle appliance costs."""

from __future__ import annotations

import queue
import socket
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.report import Figure, at_most
from benchmarks.usage import memory, usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.options import Options
    from benchmarks.surroundings import Surroundings
    from tests.servers.daemon import Daemon

    Arrivals = queue.Queue[tuple[float, bytes]]

IDLE = 20.0  # seconds
_SETTLE = 3.0


def measure(around: Surroundings, options: Options) -> Iterator[Figure]:
    """Start it some times on the same journal, then leave it alone, connected to broker and database."""
    name = "start and idle"
    with tempfile.TemporaryDirectory(prefix="notify-") as directory:
        address = str(Path(directory) / "notify")
        daemon = around.appliance(environment={"NOTIFY_SOCKET": address})
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(address)
            arrivals: Arrivals = queue.Queue()
            thread = threading.Thread(target=_listen, args=(listener, arrivals), daemon=True)
            thread.start()
            _ready(daemon, arrivals)  # makes the journal
            times = [_ready(daemon, arrivals) for _ in range(2 if options.quick else 10)]
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
        yield at_most(name, "start to READY, s (median)", median(times), 1.5, "{:.2f}")
        yield Figure(name, "start to READY, s (longest)", f"{max(times):.2f}")
    yield from _idle(around, name, 5.0 if options.quick else IDLE)


def _ready(daemon: Daemon, arrivals: Arrivals) -> float:
    """Start and stop it; return the seconds from its start to the datagram."""
    begun = time.time()
    with daemon:
        while True:
            arrived, text = arrivals.get(timeout=30)
            if b"READY=1" in text:
                return arrived - begun


def _listen(listener: socket.socket, arrivals: Arrivals) -> None:
    """Note what is notified and when, until the socket is shut."""
    while text := listener.recv(4096):
        arrivals.put((time.time(), text))


def _idle(around: Surroundings, name: str, seconds: float) -> Iterator[Figure]:
    with around.appliance() as daemon:
        around.wait_connected(daemon)
        time.sleep(_SETTLE)
        before = usage(daemon.pid, around.directory)
        time.sleep(seconds)
        used = usage(daemon.pid, around.directory).since(before)
        yield at_most(name, f"idle CPU over {seconds:g} s, %", used.cpu / seconds * 100, 1.0, "{:.2f}")
        yield Figure(name, "idle RSS, MB", f"{memory(daemon.pid) / 1e6:.0f}")
        yield Figure(name, f"written in {seconds:g} idle s, bytes", f"{used.written:,}")
