"""What a mosquitto of this machine is told to keep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_energy.doctor import mosquitto
from edge_energy.doctor.finding import Verdict
from tests.unit.doctor.tree import case, machine, process

if TYPE_CHECKING:
    from edge_energy.doctor.finding import Finding

MAIN = "/etc/mosquitto/mosquitto.conf"
RUNNING = process(7, "mosquitto", f"/usr/sbin/mosquitto -c {MAIN}")
DEBIAN = "# a comment\npersistence true\nlog_dest syslog\ninclude_dir /etc/mosquitto/conf.d\n"
OURS = "/etc/mosquitto/conf.d/edge-energy.conf"


def look(root: Path, files: dict[str, str]) -> Finding:
    known = case(machine(root, files), "[[mqtt]]\nport = 1883\n")
    assert known.settings is not None
    return mosquitto.settings(known, known.settings.mqtt[0])


@pytest.mark.parametrize(
    ("ours", "verdict", "words"),
    [
        ("autosave_interval 300\nmax_queued_messages 100000\n", Verdict.OK, ""),
        ("autosave_interval 300\nmax_queued_messages 0\n", Verdict.OK, "unlimited is enough"),
        ("max_queued_messages 100000\n", Verdict.WARNING, "autosave_interval 300"),
        ("autosave_interval 5\nmax_queued_messages 100000\n", Verdict.WARNING, "autosave_interval 300"),
        ("autosave_interval 300\n", Verdict.WARNING, "max_queued_messages 100000"),
        ("persistence false\n", Verdict.FAILURE, "persistence true"),
    ],
)
def test_what_it_says_and_what_it_does_unless_told(tmp_path: Path, ours: str, verdict: Verdict, words: str) -> None:
    found = look(tmp_path, RUNNING | {MAIN: DEBIAN, OURS: ours})
    assert found.verdict is verdict
    if verdict is not Verdict.OK:
        assert words in found.remedy


def test_one_that_nobody_configured_keeps_nothing(tmp_path: Path) -> None:
    assert look(tmp_path, RUNNING | {MAIN: ""}).verdict is Verdict.FAILURE


def test_no_mosquitto_no_finding(tmp_path: Path) -> None:
    assert look(tmp_path / "a", {MAIN: DEBIAN}).verdict is Verdict.NOT_APPLICABLE
    assert look(tmp_path / "b", RUNNING).verdict is Verdict.NOT_APPLICABLE


def test_of_several_nobody_knows_which(tmp_path: Path) -> None:
    """Unless their sockets can be seen."""
    with pytest.raises(PermissionError, match="which of"):
        look(tmp_path, RUNNING | process(8, "mosquitto", "mosquitto -c /tmp/other.conf") | {MAIN: DEBIAN})


def test_a_directory_that_includes_itself_ends(tmp_path: Path) -> None:
    loop = "include_dir /etc/mosquitto/conf.d\npersistence true\n"
    assert mosquitto.read(machine(tmp_path, {MAIN: loop, OURS: loop}), Path(MAIN))["persistence"] == "true"
