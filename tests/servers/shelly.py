"""Simulated Shelly devices as a process of their own, and the door through which a test disturbs them."""

from __future__ import annotations

import http.client
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from .base import HOST, ServerError, accepts, free_port
from .process import Process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]


class SimulatedShelly(Process):
    """`python -m simulator.shelly` with the given devices ("pro1pm", "plus1pm", "pro3em", "gen1").

    Ports outlive stop, kill and restart; settings, counters and relays do not. `shelly["pro1pm"]` is one device.
    `options` are further ones of the command line; the password goes through the environment.
    """

    def __init__(
        self,
        directory: Path,
        *devices: str,
        password: str | None = None,
        firmware: int = 1,
        seed: int = 1,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        directory = directory / "shelly"
        directory.mkdir(parents=True, exist_ok=True)
        self.control_port = free_port()
        self._devices: dict[str, SimulatedDevice] = {}
        arguments = [sys.executable, "-m", "simulator.shelly", "--control-port", str(self.control_port)]
        for device in devices:
            arguments += ["--device", device, "--port", str(free_port())]
        arguments += ["--firmware", str(firmware), "--seed", str(seed), *options]
        secrets = {} if password is None else {"SHELLY_PASSWORD": password}
        surroundings = {"PYTHONPATH": str(ROOT), **secrets, **(environment or {})}
        super().__init__(arguments, directory, self._is_ready, surroundings)

    def __getitem__(self, name: str) -> SimulatedDevice:
        """Give a device by its name."""
        return self._devices[name]

    def __iter__(self) -> Any:
        """Go through the devices."""
        return iter(self._devices.values())

    def start(self, timeout: float = 120) -> None:
        """Start it; what it printed before is forgotten."""
        self.log.unlink(missing_ok=True)
        super().start(timeout)

    def _is_ready(self) -> bool:
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith('{"control"') and line.endswith("}"):
                devices = [SimulatedDevice(self.control_port, **each) for each in orjson.loads(line)["devices"]]
                self._devices = {device.name: device for device in devices}
                return accepts(self.control_port)
        return False


class SimulatedDevice:
    """One device: where it is, what it really measures, and what can be done to it."""

    def __init__(self, control_port: int, **identity: Any) -> None:
        self._control_port = control_port
        self.name: str = identity["name"]
        self.id: str = identity["id"]
        self.mac: str = identity["mac"]
        self.gen: int = identity["gen"]
        self.port: int = identity["port"]
        self.host = HOST
        self.url = f"http://{HOST}:{self.port}"

    def state(self) -> dict[str, Any]:
        """Return the truth: relay, its edges and timer, measurements, counters in Wh, connections, requests, 429s."""
        return self._ask("GET", "")

    def load(self, watts: float | None) -> dict[str, Any]:
        """Force the load, negative to let it produce; None gives the house's own load back."""
        return self._do("load" if watts is None else f"load?watts={watts}")

    def reboot(self, *, reset_counters: bool = False) -> dict[str, Any]:
        """Reboot now."""
        return self._do(f"reboot?reset_counters={int(reset_counters)}")

    def wifi(self, seconds: float) -> dict[str, Any]:
        """Cut its network for so long."""
        return self._do(f"wifi?seconds={seconds}")

    def slow(self, seconds: float) -> dict[str, Any]:
        """Delay each answer; 0 ends it."""
        return self._do(f"slow?seconds={seconds}")

    def garbage(self, on: bool) -> dict[str, Any]:  # noqa: FBT001 - shelly.garbage(True) says it
        """Let it answer nonsense."""
        return self._do(f"garbage?on={int(on)}")

    def clock(self, known: bool) -> dict[str, Any]:  # noqa: FBT001
        """Give it the date or take it away."""
        return self._do(f"clock?set={int(known)}")

    def minute(self) -> dict[str, Any]:
        """Let it report a full minute."""
        return self._do("minute")

    def deaf(self, on: bool) -> dict[str, Any]:  # noqa: FBT001
        """Let it take commands, say yes and do nothing."""
        return self._do(f"deaf?on={int(on)}")

    def weld(self, on: bool) -> dict[str, Any]:  # noqa: FBT001
        """Let its contact stick: opened, it still conducts."""
        return self._do(f"weld?on={int(on)}")

    def press(self) -> dict[str, Any]:
        """Press its own button, which toggles the relay."""
        return self._do("press")

    def _do(self, what: str) -> dict[str, Any]:
        return self._ask("POST", f"/{what}")

    def _ask(self, method: str, what: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection(HOST, self._control_port, timeout=10)
        try:
            connection.request(method, f"/{self.name}{what}")
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise ServerError(f"{self.name}{what}: {response.status} {body.decode(errors='replace')}")
        state: dict[str, Any] = orjson.loads(body)
        return state
