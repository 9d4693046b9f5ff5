"""`forward`: what its commands ask of the daemon, what they print, and how they exit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from edge_energy import cli, client

if TYPE_CHECKING:
    from collections.abc import Iterator

HOPS = [
    {"hop": "journal", "passed": True, "text": "recorded at position 7", "milliseconds": 3.2},
    {"hop": "kafka", "passed": True, "text": "confirmed, as abc/7", "milliseconds": 900.0},
]
MESSAGE = {
    "topic": "shelly_data",
    "time": "2026-11-20T09:30:00.123Z",
    "attributes": {"ce_id": "a/7"},
    "body": {"x": 1.0},
}


class Daemon:
    """Answers as told, and keeps what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer: Any = None
        self.asked: tuple[Any, ...] = ()
        monkeypatch.setattr(client, "ask", self._ask)
        monkeypatch.setattr(client, "stream", self._stream)

    def _ask(self, _path: Any, method: str, target: str, body: Any, timeout: float | None) -> Any:
        self.asked = (method, target, body, timeout)
        return self.answer

    def _stream(self, _path: Any, target: str) -> Iterator[Any]:
        self.asked = (target,)
        yield from self.answer

    def run(self, *arguments: str) -> Result:
        """Run `edge-energy forward …`."""
        return CliRunner().invoke(cli.main, ["forward", *arguments, "--socket", "/nowhere"])


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    return Daemon(monkeypatch)


def test_status_shows_sinks_and_commands_only(daemon: Daemon) -> None:
    daemon.answer = {"sinks": [], "commands": [], "journal": {}}
    assert daemon.run("status").stdout == "No sink is configured: readings stay in the journal.\n"
    assert daemon.asked[:2] == ("GET", "/status")
    assert json.loads(daemon.run("status", "--json").stdout) == {"sinks": [], "commands": []}


def test_a_test_exits_with_0_only_if_every_hop_passed(daemon: Daemon) -> None:
    """A script can rely on it; the daemon has longer to answer than the test may last."""
    daemon.answer = {"test": "abc", "hops": HOPS}
    result = daemon.run("test", "kafka", "--timeout", "300")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)
    assert daemon.asked[:3] == ("POST", "/forward/test", {"sink": "kafka", "timeout": 300.0})
    assert daemon.asked[3] > 300
    daemon.answer = {"test": "abc", "hops": [HOPS[0], {**HOPS[1], "passed": False}]}
    for options in ([], ["--json"]):
        assert daemon.run("test", "kafka", *options).exit_code == 1


def test_topics_are_made_with_the_numbers_that_were_given(daemon: Daemon) -> None:
    daemon.answer = {"topics": [{"sink": "kafka", "topic": "shelly_data", "outcome": "created"}]}
    result = daemon.run("create-topics", "--partitions", "12", "--replication", "3")
    assert (result.exit_code, result.stdout) == (0, "kafka  shelly_data  created\n")
    assert daemon.asked[2] == {"partitions": 12, "replication": 3}


def test_what_arrives_is_shown_until_the_end(daemon: Daemon) -> None:
    """As one line each, for people or for programs; nothing in it can give orders to the terminal."""
    daemon.answer = [MESSAGE, {**MESSAGE, "body": "\x1b[2J"}]
    result = daemon.run("tail", "kafka", "--from-beginning")
    assert daemon.asked == ("/forward/tail?sink=kafka&from_beginning=1",)
    assert result.stdout.splitlines()[0] == '2026-11-20T09:30:00.123Z  shelly_data  a/7  {"x":1.0}'
    assert "\x1b" not in result.stdout
    result = daemon.run("tail", "kafka", "--json")
    assert daemon.asked == ("/forward/tail?sink=kafka",)
    assert json.loads(result.stdout.splitlines()[0]) == MESSAGE


def test_a_broker_that_goes_away_is_told_and_exits_with_1(daemon: Daemon) -> None:
    daemon.answer = [MESSAGE, {"error": "kafka1:9092 has gone away"}]
    result = daemon.run("tail", "kafka")
    assert (result.exit_code, result.stderr) == (1, "kafka1:9092 has gone away\n")


def test_ctrl_c_ends_it_without_a_traceback(daemon: Daemon) -> None:
    def interrupted() -> Iterator[Any]:
        yield MESSAGE
        raise KeyboardInterrupt

    daemon.answer = interrupted()
    result = daemon.run("tail", "kafka")
    assert (result.exit_code, len(result.stdout.splitlines()), result.stderr) == (0, 1, "")
