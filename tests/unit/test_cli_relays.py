"""`switch`, `why` and `shelly test-lease`: what they ask of the daemon, what they print, and how they exit."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from edge_energy import cli, client

if TYPE_CHECKING:
    from pathlib import Path

BOILER = "shelly-ec62608ab9a4"
DONE = {
    "status": "ok",
    "relay": BOILER,
    "name": "Boiler",
    "on": True,
    "for": None,
    "command_id": "abc",
    "outcome": "confirmed",
    "reason": "",
    "milliseconds": 45.2,
}


class Daemon:
    """Answers as told, and keeps what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer: Any = DONE
        self.asked: tuple[str, str, Any] | None = None
        self.patience: float | None = None
        monkeypatch.setattr(client, "ask", self._ask)

    def _ask(self, _path: Any, method: str, target: str, body: Any, timeout: float | None) -> Any:
        self.asked, self.patience = (method, target, body), timeout
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def run(self, *arguments: str, typed: str = "") -> Result:
        """Run `edge-energy …`."""
        return CliRunner().invoke(cli.main, [*arguments, "--socket", "/nowhere"], input=typed)


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    return Daemon(monkeypatch)


def test_a_confirmed_command_is_told_and_exits_with_0(daemon: Daemon) -> None:
    result = daemon.run("switch", "Boiler", "ON")
    assert (result.exit_code, result.stdout) == (0, f"Boiler ({BOILER}) is ON (confirmed after 45 ms).\n")
    assert daemon.asked == (
        "POST",
        "/relays/switch",
        {"device": "Boiler", "state": "on", "for": None, "wait": True},
    )
    assert daemon.patience is not None
    assert daemon.patience > 50


def test_the_daemon_reads_the_duration(daemon: Daemon) -> None:
    """It knows how; the command line would need longer to learn it than to switch."""
    daemon.answer = {**DONE, "for": 1800.0, "name": BOILER}
    result = daemon.run("switch", BOILER, "toggle", "--for", "30m")
    assert result.stdout == f"{BOILER} is ON, and goes OFF in 30 min (confirmed after 45 ms).\n"
    assert daemon.asked is not None
    assert daemon.asked[2] == {"device": BOILER, "state": "toggle", "for": "30m", "wait": True}


@pytest.mark.parametrize("outcome", ["refused", "failed", "expired", "superseded", "pending"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_only_a_confirmed_command_exits_with_0(daemon: Daemon, outcome: str, options: list[str]) -> None:
    """The error tells why not; the reason comes from strangers' devices."""
    daemon.answer = {**DONE, "outcome": outcome, "reason": "interlock: \x1b[2Jpump is on"}
    result = daemon.run("switch", "Boiler", "on", *options)
    assert result.exit_code == 1
    if options:
        assert json.loads(result.stdout) == daemon.answer
    else:
        assert not result.stdout
        assert "Boiler" in result.stderr
        if outcome != "pending":
            assert result.stderr == (
                f"Boiler ({BOILER}) was NOT switched ON. {outcome.capitalize()}: interlock: �[2Jpump is on\n"
            )


def test_who_does_not_wait_learns_that_it_was_sent(daemon: Daemon) -> None:
    """Exit code 0 then says no more than that; a refusal at once is one all the same."""
    daemon.answer = {**DONE, "outcome": "pending", "milliseconds": None}
    result = daemon.run("switch", "Boiler", "off", "--no-wait")
    assert daemon.asked is not None
    assert (result.exit_code, daemon.asked[2]["wait"]) == (0, False)
    assert f"edge-energy why {BOILER}" in result.stdout
    daemon.answer = {**DONE, "outcome": "refused", "reason": "cut out"}
    assert daemon.run("switch", "Boiler", "off", "--no-wait").exit_code == 1


@pytest.mark.parametrize("arguments", [["Boiler"], ["Boiler", "up"], ["Boiler", "on", "--for"], ["Boiler", "1"], []])
def test_what_is_no_command_asks_nothing(daemon: Daemon, arguments: list[str]) -> None:
    result = CliRunner().invoke(cli.main, ["switch", *arguments])
    assert (result.exit_code, daemon.asked) == (2, None)


@pytest.mark.parametrize("command", [["switch", "x", "on"], ["why", "x"], ["shelly", "test-lease", "x", "--yes"]])
def test_refusals_and_an_absent_daemon_have_their_exit_codes(daemon: Daemon, command: list[str]) -> None:
    block = 'x may not be switched. Add:\n[[relay]]\ndevice = "x"\nsafe_state = "off"'
    daemon.answer = client.Refused(block)
    result = daemon.run(*command)
    assert (result.exit_code, block in result.stderr) == (1, True)
    daemon.answer = client.NoDaemon("No daemon listens on /nowhere.")
    assert daemon.run(*command).exit_code == 69


def test_the_help_says_what_ends_a_cut_out() -> None:
    """Whoever pressed the device's button in vain looks there."""
    said = " ".join(CliRunner().invoke(cli.main, ["switch", "--help"]).stdout.split())
    assert (
        "A cut-out ends when somebody switches the relay on by a command; the device's own button does not end it."
        in said
    )


def test_why_asks_for_the_relay_as_it_is_named(daemon: Daemon) -> None:
    daemon.answer = client.Refused("no")
    daemon.run("why", "hall & stairs é")
    assert daemon.asked == ("GET", "/relays/why?device=hall+%26+stairs+%C3%A9", None)


def test_the_test_of_a_lease_warns_and_asks(daemon: Daemon) -> None:
    """It switches a load on that may be dangerous now."""
    daemon.answer = {"status": "ok", "relay": BOILER, "name": "Boiler", "verified": True, "detail": "it restarts"}
    result = daemon.run("shelly", "test-lease", "Boiler", typed="n\n")
    assert (result.exit_code, daemon.asked) == (1, None)
    assert "unless that is on, the load is switched ON" in result.stderr
    assert "as it was wished before, and the test is recorded" in result.stderr
    result = daemon.run("shelly", "test-lease", "Boiler", typed="y\n")
    assert (result.exit_code, result.stdout) == (0, f"Boiler ({BOILER}): verified: it restarts.\n")
    assert daemon.asked == ("POST", "/relays/test-lease", {"device": "Boiler"})
    assert daemon.patience is not None
    assert daemon.patience > 30
    daemon.answer = {**daemon.answer, "verified": False, "detail": "it clicks"}
    result = daemon.run("shelly", "test-lease", "Boiler", "--yes", "--json")
    assert (result.exit_code, json.loads(result.stdout)["detail"]) == (1, "it clicks")
    assert "NOT VERIFIED: it clicks" in daemon.run("shelly", "test-lease", "Boiler", "--yes").stdout


def test_switch_imports_nothing_that_takes_long(tmp_path: Path) -> None:
    """A relay is switched within 150 ms, and most of that is the start of the command."""
    program = (
        "import sys\nfrom edge_energy import cli\n"
        f"try: cli.main(['switch', 'x', 'on', '--for', '5m', '--socket', {str(tmp_path / 'none')!r}])\n"
        "except SystemExit as end: print(end.code)\n"
        "print(*(m for m in ('pydantic', 'asyncio', 'http.client', 'ssl', 'email', 'aiohttp') if m in sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert result.stdout == "69\n\n"
