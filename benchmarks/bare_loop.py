"""The yardstick: paho, orjson, a grouped SQLite commit, one HTTP request per commit. Nothing else.

What a sensible engineer would write without wanting anything of the appliance but speed: MQTT 5, manual
acknowledgement after the commit, 1,000 rows to a commit (WAL, synchronous=FULL), and the lines of each commit posted
from a second thread, while the first goes on receiving. On a slow disk it is faster to commit in a thread as well.
"""

from __future__ import annotations

import argparse
import queue
import sqlite3
import threading
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage

ROWS = 1_000


class Group(NamedTuple):
    """What shares a commit."""

    rows: list[tuple[int, str, bytes | bytearray]]
    lines: list[str]
    packets: list[int]


class Loop:
    """Receives, commits and acknowledges in paho's thread (or commits in its own); posts in another."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.group = Group([], [], [])
        self.groups: queue.Queue[Group] = queue.Queue(maxsize=4)
        self.posts: queue.Queue[bytes] = queue.Queue(maxsize=4)
        self.database = sqlite3.connect(args.database, isolation_level=None, check_same_thread=False)
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute("PRAGMA synchronous=FULL")
        self.database.execute("CREATE TABLE IF NOT EXISTS messages (time INTEGER, topic TEXT, payload BLOB)")
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=args.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            manual_ack=True,
        )
        self.client.on_connect = lambda client, *_: client.subscribe("zigbee2mqtt/+", 1)
        self.client.on_message = self.on_message
        self.client.on_subscribe = lambda *_: print("ready", flush=True)

    def on_message(self, _client: paho.Client, _data: object, message: MQTTMessage) -> None:
        """Take one message; commit, acknowledge and hand over the lines at the thousandth."""
        now = time.time_ns()
        topic, payload = message.topic, message.payload
        values: dict[str, Any] = orjson.loads(payload)
        fields = ",".join([f"{key}={value}" for key, value in values.items() if type(value) in (int, float)])
        group = self.group
        group.lines.append(f"energy,device={topic[12:]} {fields} {now}")
        group.rows.append((now, topic, payload))
        group.packets.append(message.mid)
        if len(group.rows) >= ROWS:
            self.group = Group([], [], [])
            if self.args.commit_thread:
                self.groups.put(group)
            else:
                self.commit(group)

    def commit(self, group: Group) -> None:
        """Make the group durable, then acknowledge it."""
        self.database.execute("BEGIN")
        self.database.executemany("INSERT INTO messages VALUES (?, ?, ?)", group.rows)
        self.database.execute("COMMIT")
        for packet in group.packets:
            self.client.ack(packet, 1)
        self.posts.put("\n".join(group.lines).encode())

    def commit_groups(self) -> None:
        """Commit in a thread."""
        while True:
            self.commit(self.groups.get())

    def post(self) -> None:
        """Send each group to InfluxDB."""
        args = self.args
        connection = HTTPConnection("127.0.0.1", args.influxdb_port)
        path = f"/api/v2/write?org={args.org}&bucket={args.bucket}&precision=ns"
        while True:
            connection.request("POST", path, self.posts.get(), {"Authorization": f"Token {args.token}"})
            response = connection.getresponse()
            response.read()
            if response.status != 204:
                raise RuntimeError(f"InfluxDB answered {response.status}")

    def run(self) -> None:
        """Run until killed."""
        for work in (self.post, self.commit_groups):
            threading.Thread(target=work, daemon=True).start()
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 3600
        properties.ReceiveMaximum = self.args.receive_maximum
        self.client.connect("127.0.0.1", self.args.mqtt_port, clean_start=False, properties=properties)
        self.client.loop_forever()


def main() -> None:
    """Run the loop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mqtt-port", type=int, required=True)
    parser.add_argument("--receive-maximum", type=int, required=True)
    parser.add_argument("--influxdb-port", type=int, required=True)
    for name in ("client-id", "org", "bucket", "token", "database"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--commit-thread", action="store_true")
    Loop(parser.parse_args()).run()


if __name__ == "__main__":
    main()
