"""Numbered measurements sent to an appliance in a container, over MQTT and HTTP, and which were acknowledged."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Self

from tests.servers.base import ServerError

if TYPE_CHECKING:
    import subprocess

    from tests.servers.container import Container

PYTHON = "/opt/edge-energy/current/bin/python"
JOURNAL = "/var/lib/edge-energy/journal.db"
TOPIC = "numbered/sensor"
SENSOR = f"""
[[mqtt.sensors]]
topic = "{TOPIC}"
device = "mqtt"
"""
"""What the configuration needs at its end, for the daemon to hear them."""

# A unit ends in good order when the machine does.
_AS_UNIT = ("systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--unit=numbered")
# Runs in the container. A line of its output is a number whose acknowledgement has come.
_SEND = f"""
import http.client, itertools, json, sys, threading, time, urllib.request
import paho.mqtt.client as mqtt

def say(way, number):
    sys.stdout.write(f"{{way}} {{number}}\\n")
    sys.stdout.flush()

def over_mqtt(first):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="numbered")
    client.username_pw_set("devices", open("/etc/edge-energy/secrets/mqtt-devices.password").read().strip())
    client.connect("127.0.0.1")
    client.loop_start()
    while not client.is_connected():
        time.sleep(0.01)
    for number in itertools.count(first):
        client.publish("{TOPIC}", json.dumps({{"seq": number}}), qos=1).wait_for_publish()
        say("mqtt", number)
        time.sleep(0.02)

def over_http(first):
    for number in itertools.count(first):
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:8000/webhook/?device=http&seq={{number}}", timeout=20):
                    say("http", number)
                    break
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)

threading.Thread(target=over_mqtt, args=[int(sys.argv[1])], daemon=True).start()
over_http(int(sys.argv[1]))
"""

# The numbers are the only values: in the journal their names stand apart, and the body is what is between brackets.
_READ = """
import json, sqlite3, sys
journal = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
rows = journal.execute("SELECT name, body FROM entries JOIN devices ON devices.id = entries.device "
                       "WHERE name IN ('mqtt', 'http')")
found = {"mqtt": [], "http": []}
for name, body in rows:
    found[name].append(int(json.loads(body[body.index("["):])[0]))
print(json.dumps(found))
"""


class Numbered:
    """Sends as fast as it is acknowledged, at most 50 a second, while in its context."""

    def __init__(self, container: Container) -> None:
        self.acknowledged: dict[str, set[int]] = defaultdict(set)
        self.complaints: list[str] = []
        self._container = container
        self._next = 0
        self._program: subprocess.Popen[str] | None = None
        self._reader = threading.Thread()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Go on with numbers that were not sent before."""
        self._program = self._container.start(*_AS_UNIT, PYTHON, "-c", _SEND, str(self._next))
        self._reader = threading.Thread(target=self._read, args=[self._program])
        self._reader.start()

    def stop(self) -> None:
        """End, also where the container has ended before."""
        if self._program:
            with contextlib.suppress(ServerError):  # where the container has ended, so has all in it
                self._container.run("systemctl", "stop", "numbered.service", check=False)
            self._program.kill()
            self._program.wait()
            self._reader.join()
            self.complaints.clear()  # what it says of its end
            self._next = max((0, *self.acknowledged["mqtt"], *self.acknowledged["http"])) + 1000

    def recorded(self) -> dict[str, set[int]]:
        """Return the numbers that are in the journal."""
        answer = json.loads(self._container.run(PYTHON, "-c", _READ, JOURNAL).stdout)
        return {way: set(numbers) for way, numbers in answer.items()}

    def newest(self, way: str) -> int:
        """Return the highest number that was acknowledged."""
        return max(self.acknowledged[way], default=-1)

    def _read(self, program: subprocess.Popen[str]) -> None:
        assert program.stdout
        with program.stdout as lines:
            for line in lines:
                way, _, number = line.partition(" ")
                if way in {"mqtt", "http"}:
                    self.acknowledged[way].add(int(number))
                else:
                    self.complaints.append(line)
