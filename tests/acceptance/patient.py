"""An appliance for the doctor: a daemon with all that it needs, examined with some of its settings changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.servers.base import HOST, free_port
from tests.servers.daemon import ROOT, Daemon, influxdb_section, mqtt_section

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.influxdb import InfluxDB
    from tests.servers.mosquitto import Mosquitto

USER, PASSWORD = "edge-energy", "password-of-a-test"
GOOD = {"device_options": {"qos": 1}, "advanced": {"last_seen": "ISO_8601", "cache_state": False}}


class Findings(NamedTuple):
    """What one run of the doctor found."""

    code: int
    checks: dict[str, dict[str, str]]
    text: str

    def wrong(self) -> dict[str, str]:
        """Return the verdicts of all that are a failure."""
        return {name: check["found"] for name, check in self.checks.items() if check["verdict"] == "failure"}

    def one(self, part: str) -> dict[str, str]:
        """Return the check of this name, or the only one whose name has these words."""
        if part in self.checks:
            return self.checks[part]
        (found,) = [check for name, check in self.checks.items() if part in name]
        return found

    def explained(self, part: str, verdict: str, cause: str, remedy: str) -> None:
        """Hold that a check has this verdict, and names cause and remedy."""
        found = self.one(part)
        assert found["verdict"] == verdict, found
        assert cause in found["cause"], found
        assert remedy in found["remedy"], found


class Appliance:
    """A daemon with all that it needs; `examine` runs the doctor with some settings changed."""

    def __init__(self, broker: Mosquitto, influxdb: InfluxDB, directory: Path) -> None:
        self.broker, self.influxdb = broker, influxdb
        self.http = free_port()
        self.daemon = Daemon(directory, "")
        self.daemon.configure(self.configuration())
        self.daemon.config.chmod(0o600)
        self._other = directory / "other.toml"

    def configuration(self, **change: Any) -> str:
        """Return the configuration of the daemon, or one like it."""
        wanted: dict[str, Any] = {"port": self.broker.port, "http": self.http, "login": True}
        wanted |= {"bucket": self.influxdb.bucket, "token": self.influxdb.token} | change
        login = f'username = "{USER}"\npassword = "{PASSWORD}"\n' if wanted["login"] else ""
        database = influxdb_section(self.influxdb.url, wanted["bucket"], wanted["token"])
        http = f'[http]\nhost = "{HOST}"\nport = {wanted["http"]}\n'
        return f"{mqtt_section(wanted['port'], login + wanted.get('more', ''))}{http}{database}"

    def examine(self, state: Path | None = None, at: Path | None = None, **change: Any) -> Findings:
        """Run the doctor with these changes, and ask the daemon `at` its socket."""
        appliance = f'[appliance]\nid = "house-1"\nstate_dir = "{state or self.daemon.state}"\n'
        self._other.write_text(appliance + self.configuration(**change))
        self._other.chmod(0o600)
        return doctor(self._other, at or self.daemon.socket)

    def tell(self, name: str, payload: dict[str, Any]) -> None:
        """Say something as Zigbee2MQTT does."""
        self.broker.publish(f"zigbee2mqtt/bridge/{name}", json.dumps(payload), retain=True)


def doctor(config: Path, at: Path) -> Findings:
    """Run it as a program would, and hold that it shows no secret."""
    command = [sys.executable, "-m", "edge_energy", "doctor", "--json", "--config", str(config), "--socket", str(at)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)
    assert done.stderr == ""
    assert PASSWORD not in done.stdout
    assert "token-of" not in done.stdout
    return Findings(
        done.returncode, {check["name"]: check for check in json.loads(done.stdout)["checks"]}, done.stdout
    )
