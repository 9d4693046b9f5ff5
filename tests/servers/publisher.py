"""A house that talks: Zigbee2MQTT's payloads at a given rate, every acknowledgement of the broker noted.

Speaks MQTT 3.1.1 over a socket of its own, because a client library would be the slowest part of a benchmark.
"""

from __future__ import annotations

import random
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Self

import orjson

from .base import HOST, ServerError, wait_until

BASE = "zigbee2mqtt"
MOST_UNACKNOWLEDGED = 2_000
_MOST_AT_ONCE = 200
_CONNECT_FLAGS_CLEAN = 2
_TIMEOUT = 30.0


@dataclass(frozen=True)
class Plan:
    """What is published. Printed by the tests: the same plan publishes the same values again.

    A `rate` of 0 is as fast as the broker acknowledges. `power` is a fixed value for every message, else each
    plug has its own, which changes now and then.
    """

    count: int
    rate: float
    plugs: int = 50
    seed: int = 1
    last_seen: bool = False
    first: int = 0
    power: float | None = None


class Sent(NamedTuple):
    """One message: its sequence number, its device, when it was sent and what `last_seen` it had (UTC ns)."""

    seq: int
    device: str
    time: int
    last_seen: int | None


class _Plug:
    """The state of one plug. Like a real one, it repeats its last power in the first payloads after a switch."""

    def __init__(self, number: int, chance: random.Random, power: float | None) -> None:
        self.name = f"plug-{number:02}"
        self.device = f"zigbee-{address(number)}"
        self.topic = f"{BASE}/{self.name}".encode()
        self.last_seen = 0
        self._chance = chance
        self._fixed = power
        self._on = True
        self._power = power if power is not None else round(chance.uniform(1, 2000), 1)
        self._energy = chance.uniform(1, 100)

    def payload(self, seq: int, now: int, *, last_seen: bool) -> bytes:
        """Return the next payload. A float holds 2**53: the nanosecond of sending goes in two fields."""
        dice = self._chance.random()
        if dice < 0.05:
            self._on = not self._on
        elif dice < 0.5 and self._fixed is None:
            self._power = round(self._chance.uniform(1, 2000), 1) if self._on else 0.0
        self._energy += 0.01
        seen = ""
        if last_seen:
            # Milliseconds are all that Zigbee2MQTT gives, and two messages of a device never share one.
            self.last_seen = max(self.last_seen + 1_000_000, now // 1_000_000 * 1_000_000)
            moment = datetime.fromtimestamp(self.last_seen // 10**9, UTC)
            seen = f'"last_seen":"{moment:%Y-%m-%dT%H:%M:%S}.{self.last_seen // 10**6 % 1000:03}Z",'
        return (
            f'{{"current":{self._power / 230:.2f},"energy":{self._energy:.2f},{seen}"linkquality":200,'
            f'"power":{self._power},"state":"{"ON" if self._on else "OFF"}","voltage":230,'
            f'"seq":{seq},"sent_s":{now // 10**9},"sent_ns":{now % 10**9}}}'
        ).encode()


class Publisher:
    """Publishes a plan at QoS 1 in a thread of its own, begun by `start` or as a context.

    Sends nothing beyond `limit` messages, which may be set anew at any time; `sent` holds what went out, and the
    first `acknowledged` of that are the broker's. `wait` returns when the broker has everything.
    """

    def __init__(self, port: int, plan: Plan, *, limit: int | None = None) -> None:
        self.plan = plan
        self.limit = plan.count if limit is None else limit
        self.sent: list[Sent] = []
        self.acknowledged = 0
        self.began = 0.0
        self.seconds = 0.0
        """How long the publishing took, to the last acknowledgement."""
        self._port = port
        self._error: OSError | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        chance = random.Random(plan.seed)
        self._plugs = [_Plug(number, chance, plan.power) for number in range(plan.plugs)]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def stop(self) -> None:
        """End, wherever it is."""
        self._stopping = True
        self._thread.join()

    def wait(self, timeout: float = 120) -> list[Sent]:
        """Wait until every message is acknowledged; return them."""
        self._thread.join(timeout)
        if self._error or self._thread.is_alive():
            done = f"{self.acknowledged} of {self.plan.count} messages were acknowledged"
            raise ServerError(f"{done}: {self._error or 'it takes too long'}")
        return self.sent

    def wait_sent(self, count: int, timeout: float = 120) -> None:
        """Wait until so many messages have left."""
        wait_until(lambda: len(self.sent) >= count or self._error, timeout, f"{count} messages sent")

    # -- the thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with socket.create_connection((HOST, self._port), _TIMEOUT) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _connect(connection, f"publisher-{self._port}-{id(self)}")
                self._publish(connection)
                connection.sendall(b"\xe0\x00")
        except OSError as error:
            self._error = error

    def _publish(self, connection: socket.socket) -> None:
        plan = self.plan
        self.began = time.monotonic()
        beginning = self.began
        answers = _Answers(connection)
        while self.acknowledged < plan.count and not self._stopping:
            due = self._due(beginning)
            if due > 0:
                connection.sendall(b"".join([self._next() for _ in range(due)]))
            elif len(self.sent) >= self.limit:
                beginning = time.monotonic() - len(self.sent) / plan.rate if plan.rate else beginning
            pause = 0.001 if due <= 0 or plan.rate else 0
            self.acknowledged += answers.read(pause)
        self.seconds = time.monotonic() - self.began

    def _due(self, beginning: float) -> int:
        """Return how many messages may be sent now."""
        sent, plan = len(self.sent), self.plan
        room = MOST_UNACKNOWLEDGED - (sent - self.acknowledged)
        paced = (time.monotonic() - beginning) * plan.rate - sent + 1 if plan.rate else room
        return min(int(paced), room, self.limit - sent, plan.count - sent, _MOST_AT_ONCE)

    def _next(self) -> bytes:
        plan, number = self.plan, len(self.sent)
        plug = self._plugs[number % plan.plugs]
        seq, now = plan.first + number, time.time_ns()
        payload = plug.payload(seq, now, last_seen=plan.last_seen)
        self.sent.append(Sent(seq, plug.device, now, plug.last_seen if plan.last_seen else None))
        return publish_packet(plug.topic, payload, number % 65_535 + 1)


class _Answers:
    """Reads acknowledgements, which a broker gives in order."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""
        self._expected = 0

    def read(self, wait: float) -> int:
        """Wait a moment for acknowledgements; return how many came."""
        if not select.select([self._connection], [], [], wait)[0]:
            return 0
        received = self._connection.recv(65_536)
        if not received:
            raise ConnectionResetError("the broker closed the connection")
        data = self._rest + received
        whole = len(data) // 4
        for kind, length, packet in struct.iter_unpack(">BBH", data[: whole * 4]):
            if (kind, length, packet) != (0x40, 2, self._expected % 65_535 + 1):
                raise ConnectionAbortedError(f"not the acknowledgement of message {self._expected}")
            self._expected += 1
        self._rest = data[whole * 4 :]
        return whole


def address(number: int) -> str:
    """Return the Zigbee address of a plug."""
    return f"0x00158d{number:010x}"


def announce(plugs: int) -> dict[str, str]:
    """Return what Zigbee2MQTT publishes retained about its plugs, by topic."""
    definition = {
        "model": "SP 240",
        "vendor": "Innr",
        "exposes": [
            {"property": "power", "unit": "W"},
            {"property": "current", "unit": "A"},
            {"property": "voltage", "unit": "V"},
            {"property": "energy", "unit": "kWh"},
        ],
    }
    devices = [
        {
            "ieee_address": address(number),
            "friendly_name": f"plug-{number:02}",
            "type": "Router",
            "definition": definition,
        }
        for number in range(plugs)
    ]
    return {
        f"{BASE}/bridge/state": '{"state":"online"}',
        f"{BASE}/bridge/devices": orjson.dumps(devices).decode(),
    }


def publish_packet(topic: bytes, payload: bytes, packet: int) -> bytes:
    """Return a PUBLISH packet of QoS 1."""
    body = struct.pack(">H", len(topic)) + topic + struct.pack(">H", packet) + payload
    return b"\x32" + _length(len(body)) + body


def _connect(connection: socket.socket, client: str) -> None:
    name = client.encode()
    body = b"\x00\x04MQTT\x04" + struct.pack(">BHH", _CONNECT_FLAGS_CLEAN, 0, len(name)) + name
    connection.sendall(b"\x10" + _length(len(body)) + body)
    answer = connection.recv(4)
    if answer != b"\x20\x02\x00\x00":
        raise ConnectionRefusedError(f"the broker refuses the publisher: {answer.hex()}")


def _length(number: int) -> bytes:
    """Return MQTT's variable byte integer."""
    encoded = bytearray()
    while True:
        number, digit = divmod(number, 128)
        encoded.append(digit | (128 if number else 0))
        if not number:
            return bytes(encoded)
