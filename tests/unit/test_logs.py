"""The log: two forms, one door, no secrets."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import warnings
from secrets import token_hex
from typing import TYPE_CHECKING

import pytest
import structlog
from pydantic import SecretStr

from edge_energy import logs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    yield
    structlog.configure(**before)
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = handlers, level


def test_people_read_one_line_of_key_and_value(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", json=False)
    structlog.get_logger().warning("broker away", host="127.0.0.1", reason="no route", name="a\nb", empty="")
    line = capfd.readouterr().err
    assert line.endswith('warning broker away host=127.0.0.1 reason="no route" name="a\\nb" empty=""\n')
    assert line[:4].isdecimal()


def test_events_cannot_forge_lines(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", json=False)
    structlog.get_logger().info("hello\n2026 error forged\x1b[31m")
    assert capfd.readouterr().err.count("\n") == 1


def test_machines_read_json(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug", json=True)
    structlog.get_logger().debug("température", token=SecretStr("hunter2"), path=object)
    line = capfd.readouterr().err
    assert "hunter2" not in line
    assert json.loads(line).items() >= {"level": "debug", "event": "température"}.items()


def test_the_level_filters_and_can_change(capfd: pytest.CaptureFixture[str]) -> None:
    log = structlog.get_logger()
    for level, seen in (("error", False), ("info", True), ("warning", False)):
        logs.configure(level, json=True)
        log.info("hello")
        assert bool(capfd.readouterr().err) is seen


def test_libraries_are_heard_from_warning_on(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug", json=True)
    logging.getLogger("paho").info("chatter")
    logging.getLogger("aiohttp.client").log(35, "slow %s", "peer")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", stacklevel=1)
    slow, old = capfd.readouterr().err.splitlines()
    assert json.loads(slow).items() >= {"level": "warning", "event": "slow peer", "logger": "aiohttp.client"}.items()
    assert "old" in json.loads(old)["event"]


@pytest.mark.parametrize("form", [True, False])
@pytest.mark.parametrize("through", ["structlog", "logging"])
def test_a_traceback_shows_no_locals(capfd: pytest.CaptureFixture[str], through: str, *, form: bool) -> None:
    logs.configure("info", json=form)
    try:
        hidden = token_hex()
        os.environ[hidden[:0]]
    except KeyError:
        log = structlog.get_logger() if through == "structlog" else logging.getLogger("library")
        log.exception("failed")
    text = capfd.readouterr().err
    assert "KeyError" in text
    assert "test_logs.py" in text
    assert hidden not in text
    assert (text.count("\n") == 1) is form


_PROGRAM = """
import os, sys
if "same" in sys.argv:
    stream = os.fstat(2)
    os.environ["JOURNAL_STREAM"] = f"{stream.st_dev}:{stream.st_ino}"
from edge_energy import logs
assert "structlog" not in sys.modules
logs.configure("info", json=None if "plain" not in sys.argv else False)
import logging, structlog
structlog.get_logger().info("one")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("library").exception("two")
"""


def _run(*arguments: str, stderr: int = subprocess.PIPE) -> list[str]:
    command = [sys.executable, "-c", _PROGRAM, *arguments]
    environ = os.environ | {"JOURNAL_STREAM": "1:2", "PYTHONPATH": os.pathsep.join(sys.path)}
    return str(subprocess.run(command, stderr=stderr, text=True, check=True, env=environ).stderr).splitlines()


def test_journald_gets_json_with_priorities() -> None:
    one, two = _run("same")
    assert one.startswith('<6>{"')
    assert two.startswith('<3>{"')
    assert "ZeroDivisionError" in json.loads(two[3:])["exception"]
    assert "time" not in json.loads(one[3:])


def test_every_line_that_journald_gets_has_its_priority() -> None:
    lines = _run("same", "plain")
    assert lines[0] == "<6>info    one"
    assert len(lines) > 3
    assert all(line.startswith("<3>") for line in lines[1:])


def test_a_stream_that_is_not_journald_s_gets_plain_lines() -> None:
    assert _run()[0].endswith("info    one")


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    full = "/dev/full" if os.path.exists("/dev/full") else str(tmp_path / "log")  # noqa: PTH110 - a device
    with open(full, "wb") as stream:  # noqa: PTH123 - as above
        _run(stderr=stream.fileno())
