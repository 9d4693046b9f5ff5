"""The daemon under test as a process of its own, configured and asked as an operator would."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_energy import client
from tests.servers.base import wait_until
from tests.servers.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).parents[2]


class Daemon(Process):
    """`edge-energy run` with its state in `directory`; stop, kill and start again keep that state.

    `configuration` is the TOML behind the [appliance] section, which this class writes. It is ready when its
    local socket answers.
    """

    def __init__(
        self,
        directory: Path,
        configuration: str,
        *,
        appliance: str = "house-1",
        state: Path | None = None,
        environment: Mapping[str, str] | None = None,
        wrapper: tuple[str, ...] = (),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.config = directory / "edge-energy.toml"
        self.state = state or directory / "state"
        # The path of a unix socket may have 108 bytes at most, and pytest's directories are long.
        self.socket = Path(tempfile.mkdtemp(prefix="edge-")) / "api.sock"
        self._appliance = appliance
        run: list[str | Path] = [sys.executable, "-m", "edge_energy", "run", "--config", self.config]
        run += ["--socket", self.socket]
        super().__init__([*wrapper, *run], directory, self._answers, {"PYTHONPATH": str(ROOT), **(environment or {})})
        self.configure(configuration)

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.socket.parent, ignore_errors=True)

    def configure(self, configuration: str) -> None:
        """Write the configuration file; the running daemon does not notice until SIGHUP."""
        appliance = f'[appliance]\nid = "{self._appliance}"\nstate_dir = "{self.state}"\n'
        self.config.write_text(f"{appliance}{configuration}\n")

    def ask(self, target: str, method: str = "GET") -> Any:
        """Ask over the local socket."""
        return client.ask(self.socket, method, target)

    def status(self) -> dict[str, Any]:
        """Return `edge-energy status --json`."""
        report: dict[str, Any] = self.ask("/status")
        return report

    def wait_for(self, condition: Callable[[dict[str, Any]], bool], timeout: float = 20, what: str = "") -> None:
        """Wait until the status fulfils a condition."""
        wait_until(lambda: condition(self.status()), timeout, what or "the daemon's status")

    def wait_connected(self, timeout: float = 20) -> None:
        """Wait until every source is connected."""
        self.wait_for(lambda status: all(source["connected"] for source in status["sources"]), timeout, "the sources")

    def wait_delivered(self, timeout: float = 60) -> None:
        """Wait until no sink owes anything."""
        self.wait_for(lambda status: not any(sink["lag_entries"] for sink in status["sinks"]), timeout, "delivery")

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of an `edge-energy` command that asks this daemon."""
        return [sys.executable, "-m", "edge_energy", *arguments, "--socket", str(self.socket)]

    def _answers(self) -> bool:
        try:
            self.status()
        except (client.NoDaemon, client.Refused):
            return False
        return True


def influxdb_section(url: str, bucket: str, token: str, more: str = "") -> str:
    """Return the [influxdb] table for a test's database."""
    return f'[influxdb]\nurl = "{url}"\norg = "home"\nbucket = "{bucket}"\ntoken = "{token}"\n{more}\n'


def mqtt_section(port: int, more: str = "") -> str:
    """Return a [[mqtt]] table for a test's broker."""
    return f"[[mqtt]]\nport = {port}\n{more}\n"


def kafka_section(brokers: str, topics: Mapping[str, str], more: str = "") -> str:
    """Return the [kafka] table for a test's topics."""
    names = "".join(f'{setting} = "{topic}"\n' for setting, topic in topics.items())
    return f'[kafka]\nbrokers = "{brokers}"\n{names}{more}\n'


def pubsub_section(project: str, more: str = "") -> str:
    """Return the [pubsub] table for a test's project."""
    return f'[pubsub]\nproject = "{project}"\n{more}\n'
