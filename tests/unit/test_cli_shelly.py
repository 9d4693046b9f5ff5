"""`edge-energy shelly`: what the commands ask of the daemon, what they print, and how they exit."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner, Result

from edge_energy import cli, client, reports

REPORT = {
    "status": "ok",
    "device": "shelly-ec62608ab9a4",
    "name": "Boiler",
    "model": "Pro1PM SPSW-201PE16EU",
    "changes": [{"what": "outbound WebSocket", "before": "off", "after": "ws://192.168.1.5:8000/shelly/ws/…"}],
    "rebooted": True,
    "verified_seconds": 9.4,
    "problems": ["the restart can switch relay 0, now ON: its initial_state is off"],
}


class Daemon:
    """Answers as told, and keeps what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer: Any = REPORT
        self.asked: tuple[str, str, Any] = ("", "", None)
        self.patience: float | None = None
        monkeypatch.setattr(client, "ask", self._ask)
        for name in ("SHELLY_PASSWORD", "SHELLY_MQTT_PASSWORD"):
            monkeypatch.delenv(name, raising=False)

    def _ask(self, _path: Any, method: str, target: str, body: Any, timeout: float | None) -> Any:
        self.asked, self.patience = (method, target, body), timeout
        return self.answer

    def run(self, *arguments: str, typed: str = "", **environment: str) -> Result:
        """Run `edge-energy shelly …`."""
        command = ["shelly", *arguments, "--socket", "/nowhere"]
        return CliRunner().invoke(cli.main, command, input=typed, env=environment)


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    return Daemon(monkeypatch)


def test_adopt_prints_what_it_changed(daemon: Daemon) -> None:
    result = daemon.run("adopt", "192.168.1.7")
    assert result.exit_code == 0
    assert result.output == (
        "shelly-ec62608ab9a4  Boiler  Pro1PM SPSW-201PE16EU\n"
        "  outbound WebSocket\n"
        "    was  off\n"
        "    now  ws://192.168.1.5:8000/shelly/ws/…\n"
        "  restarted, so that this counts\n"
        "  ! the restart can switch relay 0, now ON: its initial_state is off\n"
        "  a reading came after 9.4 s\n"
    )
    wish = {"address": "192.168.1.7", "via": "websocket", "dry_run": False, "replace": False, "wait": 60.0}
    assert daemon.asked == ("POST", "/shelly/adopt", wish)
    assert daemon.patience is not None
    assert daemon.patience > 60


def test_adopt_fails_where_no_reading_came(daemon: Daemon) -> None:
    daemon.answer = {**REPORT, "verified_seconds": None}
    result = daemon.run("adopt", "192.168.1.7")
    assert (result.exit_code, "NO READING CAME" in result.output) == (1, True)


def test_a_dry_run_is_no_failure(daemon: Daemon) -> None:
    daemon.answer = {**REPORT, "verified_seconds": None, "rebooted": False}
    result = daemon.run("adopt", "192.168.1.7", "--dry-run")
    assert (result.exit_code, "nothing was changed" in result.output) == (0, True)
    assert daemon.asked[2]["dry_run"] is True


def test_passwords_come_from_the_environment_or_the_keyboard(daemon: Daemon) -> None:
    """Never from the command line, which everybody on the machine can read."""
    daemon.run("adopt", "192.168.1.7", SHELLY_PASSWORD="hush")
    assert daemon.asked[2]["password"] == "hush"
    result = daemon.run("adopt", "192.168.1.7", "--password", typed="typed\n", SHELLY_PASSWORD="hush")
    assert daemon.asked[2]["password"] == "typed"
    assert "typed" not in result.output
    daemon.run("adopt", "192.168.1.7", "--mqtt-user", "plug", SHELLY_MQTT_PASSWORD="secret")
    assert (daemon.asked[2]["mqtt_user"], daemon.asked[2]["mqtt_password"]) == ("plug", "secret")
    daemon.run("adopt", "192.168.1.7", "--mqtt-user", "plug", typed="typed\n")
    assert daemon.asked[2]["mqtt_password"] == "typed"
    daemon.run("adopt", "192.168.1.7", SHELLY_MQTT_PASSWORD="secret")
    assert "mqtt_password" not in daemon.asked[2]


def test_discover_shows_who_is_there(daemon: Daemon) -> None:
    found = {"device": "shelly-a1b2c3", "generation": 1, "model": "", "version": "", "ways": {}}
    daemon.answer = {
        "devices": [
            {**found, "id": "shelly1pm-A1B2C3", "address": "192.168.1.7", "port": 80},
            {**found, "id": "shellyplug", "address": "fd00::7", "port": 8080, "generation": 0, "ways": {"rpc": 3.0}},
        ]
    }
    lines = daemon.run("discover", "--interface", "127.0.0.1").output.splitlines()
    assert daemon.asked[:2] == ("GET", "/shelly/discover?interface=127.0.0.1&seconds=5.0")
    assert lines[1].split() == ["shelly1pm-A1B2C3", "192.168.1.7", "1", "not", "adopted"]
    assert lines[2].split() == ["shellyplug", "[fd00::7]:8080", "?", "rpc"]
    assert "by their address" in reports.discovered([])


def test_list_shows_how_each_is_heard(daemon: Daemon) -> None:
    known = {"device": "shelly-a1b2c3", "name": "Boiler", "model": "Plus1PM", "address": "192.168.1.7"}
    daemon.answer = {"devices": [{**known, "available": False, "ways": {"webhook": 3700.0, "rpc": 2.0}}]}
    assert daemon.run("list").output.splitlines()[1].endswith("NO         webhook 1 h 1 min ago, rpc 2 s ago")
    assert daemon.asked[:2] == ("GET", "/shelly/devices")
    assert "discover" in reports.shellies([])
