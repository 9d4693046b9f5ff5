"""The machine's files and programs, those that are not there, and those that hang."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_energy.doctor import machine as module
from edge_energy.doctor.machine import MOST, Machine, run_program
from tests.unit.doctor.tree import machine

if TYPE_CHECKING:
    from pathlib import Path


def test_programs_that_lack_fail_or_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell, no terminal, and no waiting for ever."""
    assert run_program("echo", "$HOME;") == "$HOME;\n"
    assert run_program("no-such-program-at-all") is None
    assert run_program("false") is None
    monkeypatch.setattr(module, "PROGRAM_PATIENCE", 0.1)
    with pytest.raises(TimeoutError, match="`sleep 60` did not answer within"):
        run_program("sleep", "60")


def test_files_are_read_below_the_root_and_not_without_end(tmp_path: Path) -> None:
    here = machine(tmp_path, {"/etc/name": "pi\n\0", "/long": "x" * (MOST + 1)})
    assert here.text("/etc/name") == "pi"
    assert here.text("/etc/other") is None
    assert here.text("/etc/name/below-a-file") is None
    assert len(here.text("/long") or "") == MOST
    assert here.files("/etc", "n*") == [tmp_path / "etc/name"]
    assert here.files("/nowhere", "*") == []


def test_units_without_systemd_are_unknown(tmp_path: Path) -> None:
    """The program may be there all the same, as in most containers."""
    shown = {"systemctl show edge-energy.service": "ActiveState=active\nStatusText=a=b\n"}
    assert machine(tmp_path / "a", {}, shown).unit("edge-energy.service", "ActiveState") == {}
    booted = machine(tmp_path / "b", {"/run/systemd/system/x": ""}, shown)
    assert booted.unit("edge-energy.service", "ActiveState") == {"ActiveState": "active", "StatusText": "a=b"}
    assert Machine().path("/etc/hosts").as_posix() == "/etc/hosts"
