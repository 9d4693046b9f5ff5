"""The simulated house behind Zigbee2MQTT as a process of its own, and the door through which a test disturbs it."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from .base import HOST, wait_until
from .process import Process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from paho.mqtt.client import MQTTMessage

ROOT = Path(__file__).parents[2]
BASE = "simulator"


class SimulatedZigbee(Process):
    """`python -m simulator --no-shelly` at a broker: a house whose relays go by their friendly names ("bureau").

    `options` are further ones of the command line. Disturbances return the truth when they have been carried out.
    Relays, counters and disturbances do not outlive a restart.
    """

    def __init__(
        self,
        directory: Path,
        broker_port: int,
        *options: str,
        seed: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        directory = directory / "zigbee"
        directory.mkdir(parents=True, exist_ok=True)
        arguments = [sys.executable, "-m", "simulator", "--no-shelly", "--port", str(broker_port)]
        arguments += ["--seed", str(seed), *options]
        super().__init__(arguments, directory, self._is_ready, {"PYTHONPATH": str(ROOT), **(environment or {})})
        self._broker_port = broker_port
        self._truths: dict[str, dict[str, Any]] = {}
        self._listening = threading.Event()
        self._client: Client | None = None

    def __iter__(self) -> Iterator[str]:
        """Go through the names of the relays."""
        return iter(sorted(self._truths))

    def start(self, timeout: float = 120) -> None:
        """Start it; what it printed and told before is forgotten."""
        self.log.unlink(missing_ok=True)
        if self._client is None:
            self._connect()
        self._truths = {}
        super().start(timeout)

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def truth(self, name: str) -> dict[str, Any]:
        """Return what a relay was doing when that last changed.

        That is output, edges (how often it moved), power (W), timer (seconds until it opens by itself, 0: none),
        the disturbances, and its ieee_address.
        """
        wait_until(lambda: name in self._truths, what=f"the truth about {name}")
        return self._truths[name]

    def device(self, name: str) -> str:
        """Return the device id under which the daemon knows a relay."""
        return f"zigbee-{self.truth(name)['ieee_address']}"

    def deaf(self, name: str, on: bool) -> dict[str, Any]:  # noqa: FBT001 - zigbee.deaf("bureau", True) says it
        """Let it take commands and do nothing."""
        return self._set(name, "deaf", {"on": on}, {"deaf": on})

    def mute(self, name: str, on: bool) -> dict[str, Any]:  # noqa: FBT001
        """Let it be out of reach."""
        return self._set(name, "mute", {"on": on}, {"mute": on})

    def weld(self, name: str, on: bool) -> dict[str, Any]:  # noqa: FBT001
        """Let its contact stick: opened, it still conducts."""
        return self._set(name, "weld", {"on": on}, {"welded": on})

    def load(self, name: str, watts: float | None) -> dict[str, Any]:
        """Force the load; None gives the house's own load back. The power follows within a second of house time."""
        return self._set(name, "load", {"watts": watts}, {"watts": watts})

    def press(self, name: str) -> dict[str, Any]:
        """Press its own button, which toggles the relay."""
        edges = self.truth(name)["edges"]
        self._publish(f"{BASE}/{name}/press", b"")
        wait_until(lambda: self.truth(name)["edges"] > edges, what=f"press of {name}")
        return self.truth(name)

    def command(self, name: str, payload: str) -> None:
        """Publish to `<name>/set` as anybody may who is allowed to."""
        self._publish(f"zigbee2mqtt/{name}/set", payload.encode())

    def _set(self, name: str, disturbance: str, wanted: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
        self._publish(f"{BASE}/{name}/{disturbance}", orjson.dumps(wanted))
        wait_until(lambda: expected.items() <= self.truth(name).items(), what=f"{disturbance} of {name}")
        return self.truth(name)

    def _publish(self, topic: str, payload: bytes) -> None:
        if self._client is None:
            raise RuntimeError("the simulated house was not started")
        self._client.publish(topic, payload, qos=1).wait_for_publish(10)

    def _connect(self) -> None:
        client = self._client = Client(CallbackAPIVersion.VERSION2)
        client.on_connect = self._subscribe
        client.on_subscribe = lambda *_: self._listening.set()
        client.on_message = self._take
        client.connect(HOST, self._broker_port)
        client.loop_start()
        if not self._listening.wait(10):
            raise TimeoutError(f"no subscription at the broker on port {self._broker_port}")

    @staticmethod
    def _subscribe(client: Client, *_: Any) -> None:
        client.subscribe([(f"{BASE}/+/truth", 1), (f"{BASE}/+/+/truth", 1)])

    def _take(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        if message.retain and not self._truths:
            return  # an earlier process's
        name = message.topic.removeprefix(f"{BASE}/").removesuffix("/truth")
        if message.payload:
            self._truths[name] = orjson.loads(message.payload)

    def _is_ready(self) -> bool:
        return bool(self._truths)
