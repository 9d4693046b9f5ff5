"""Publishes pre-encoded QoS 1 messages as fast as the broker takes them, for little CPU; a process of its own.

Broker, appliance and database share two cores with it, so it is a raw socket, packets made before the start, and a
window of unacknowledged messages. `python -m benchmarks.load --help`.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import selectors
import socket
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TOPICS = 50
BASE = "zigbee2mqtt"
CHUNK = 64  # messages to a send
WINDOW = 2_048  # unacknowledged messages
_PACKET_IDS = 65_535


def device(number: int) -> str:
    """Return the friendly name of the plug that message `number` is from."""
    return f"plug-{number % TOPICS:02}"


def payload(number: int, at: float, chance: random.Random, **more: float) -> bytes:
    """Return what a metering plug publishes through Zigbee2MQTT, with a sequence number."""
    power = round(chance.uniform(20, 2300), 1)
    voltage = round(chance.uniform(226, 238), 1)
    seen = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    values: dict[str, object] = {
        "current": round(power / voltage, 2),
        "energy": round(100 + number / 10_000, 2),
        "last_seen": seen,
        "linkquality": chance.randrange(60, 255),
        "power": power,
        "state": "ON",
        "voltage": voltage,
        "seq": number,
        **more,
    }
    return json.dumps(values, separators=(",", ":")).encode()


def packet(number: int, body: bytes) -> bytes:
    """Return the PUBLISH packet (3.1.1, QoS 1) of message `number`."""
    topic = f"{BASE}/{device(number)}".encode()
    rest = len(topic).to_bytes(2) + topic + (number % _PACKET_IDS + 1).to_bytes(2) + body
    return b"\x32" + _length(len(rest)) + rest


def _length(size: int) -> bytes:
    encoded = bytearray()
    while True:
        size, low = divmod(size, 128)
        encoded.append(low | (128 if size else 0))
        if not size:
            return bytes(encoded)


def connect(port: int, client_id: str) -> socket.socket:
    """Open a clean 3.1.1 session."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    name = client_id.encode()
    rest = b"\x00\x04MQTT\x04\x02\x00\x00" + len(name).to_bytes(2) + name
    sock.sendall(b"\x10" + _length(len(rest)) + rest)
    if sock.recv(4, socket.MSG_WAITALL) != b"\x20\x02\x00\x00":
        raise ConnectionError("the broker refused the connection")
    return sock


def chunks(first: int, count: int, seed: int) -> Iterator[tuple[int, bytes]]:
    """Yield (messages, packets) to send at once.

    A plug's readings are a millisecond apart, so that none is the same point as another.
    """
    chance = random.Random(seed)
    start = time.time()
    for begin in range(first, first + count, CHUNK):
        numbers = range(begin, min(begin + CHUNK, first + count))
        made = [packet(n, payload(n, start + (n - first) // TOPICS / 1000, chance)) for n in numbers]
        yield len(numbers), b"".join(made)


def flood(sock: socket.socket, work: list[tuple[int, bytes]], window: int) -> None:
    """Send everything, never more than `window` messages ahead of the acknowledgements."""
    sock.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(sock, selectors.EVENT_READ)
    queue = iter(work)
    waiting = b""
    total, taken, acknowledged = sum(count for count, _ in work), 0, 0
    while acknowledged < total:
        while not waiting and taken < total and taken - acknowledged <= window - CHUNK:
            count, waiting = next(queue)
            taken += count
            waiting = _send(sock, waiting)
        selector.modify(sock, selectors.EVENT_READ | (selectors.EVENT_WRITE if waiting else 0))
        for _, events in selector.select():
            if events & selectors.EVENT_WRITE:
                waiting = _send(sock, waiting)
            if events & selectors.EVENT_READ:
                acknowledged += _acknowledgements(sock)


def _acknowledgements(sock: socket.socket) -> int:
    """Receive PUBACKs, four bytes each; nothing else comes."""
    size = len(sock.recv(65536))
    if not size:
        raise ConnectionError("the broker closed the connection")
    if rest := size % 4:
        sock.setblocking(True)
        size += len(sock.recv(4 - rest, socket.MSG_WAITALL))
        sock.setblocking(False)
    return size // 4


def _send(sock: socket.socket, data: bytes) -> bytes:
    try:
        return data[sock.send(data) :]
    except BlockingIOError:
        return data


def pace(sock: socket.socket, args: argparse.Namespace) -> None:
    """Send one message at a time at a steady rate; each says when it was published."""
    chance = random.Random(args.seed)
    start = time.time()
    for number in range(args.first, args.first + args.count):
        due = start + (number - args.first) / args.rate
        time.sleep(max(0.0, due - time.time()))
        body = payload(number, time.time(), chance, published=time.time_ns())
        sock.sendall(packet(number, body))
        sock.recv(4, socket.MSG_WAITALL)


def main() -> None:
    """Prepare, say `ready`, publish after a line on standard input, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--first", type=int, default=0, help="first sequence number")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--window", type=int, default=WINDOW, help="unacknowledged messages")
    parser.add_argument("--rate", type=float, default=math.inf, help="messages a second (default: all there is)")
    args = parser.parse_args()
    work = [] if math.isfinite(args.rate) else list(chunks(args.first, args.count, args.seed))
    with connect(args.port, f"load-{args.first}-{args.seed}") as sock:
        print("ready", flush=True)
        sys.stdin.readline()
        begun, before = time.time(), resource.getrusage(resource.RUSAGE_SELF)
        if work:
            flood(sock, work, args.window)
        else:
            pace(sock, args)
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        report = {"begun": begun, "seconds": time.time() - begun, "cpu": cpu}
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
