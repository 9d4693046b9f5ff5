"""`edge-energy`: what the commands ask of the daemon, what they print, and how they exit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from edge_energy import cli, client

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("sink", ["a b", "é", "x&count=1", ""])
def test_any_sink_is_asked_for_as_it_is_named(sink: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is none gets the daemon's words, not a traceback."""
    asked = []

    def ask(_path: Any, _method: str, target: str, *_: Any) -> Any:
        asked.append(target)
        raise client.Refused("no sink named \x1b[2J")

    monkeypatch.setattr(client, "ask", ask)
    result = CliRunner().invoke(cli.main, ["journal", "retry", "--sink", sink, "--socket", "/nowhere"])
    assert (result.exit_code, result.output) == (1, "no sink named �[2J\n")
    (target,) = asked
    assert target.isascii()
    assert set(target) & set(" é") == set()
    assert target.count("&") == 0


@pytest.mark.parametrize(
    ("section", "said", "warned"),
    [
        ("", "0 brokers, 0 sinks", True),
        ("[http]\nport = 8001", "0 brokers, HTTP on port 8001, 0 sinks", False),
        ('[[shelly]]\nhost = "192.168.1.20"', "0 brokers, 1 Shelly device, 0 sinks", False),
        ("[[mqtt]]", "1 broker, 0 sinks", False),
        (
            '[[mqtt]]\n[[relay]]\ndevice = "shelly-ec62608ab9a4"\nsafe_state = "off"',
            "1 broker, 1 relay, 0 sinks",
            False,
        ),
    ],
)
def test_check_says_what_is_configured(tmp_path: Path, section: str, said: str, warned: bool) -> None:  # noqa: FBT001
    """And warns of a daemon that listens to nothing only where that is so."""
    file = tmp_path / "edge-energy.toml"
    file.write_text(section)
    result = CliRunner().invoke(cli.main, ["check", "--config", str(file)])
    assert result.exit_code == 0, result.output
    assert f"{said}." in result.output
    assert ("listen to nothing" in result.output) is warned


def test_every_command_is_explained_in_one_line() -> None:
    """In the list of commands nothing is cut off on a terminal of 80 columns."""
    for group in ([], ["journal"], ["shelly"], ["token"]):
        _, _, commands = CliRunner().invoke(cli.main, [*group, "--help"]).output.partition("\nCommands:\n")
        assert commands
        assert "..." not in commands
