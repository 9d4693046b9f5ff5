"""Whatever one check does, the others go on, and it becomes a finding."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from edge_energy.doctor.case import Case
from edge_energy.doctor.examination import checks, examine
from edge_energy.doctor.finding import Check, Finding, Verdict, ok
from edge_energy.errors import Unavailable
from tests.unit.doctor.tree import machine

if TYPE_CHECKING:
    from pathlib import Path


def raising(error: BaseException) -> Check:
    def look() -> Finding:
        raise error

    return Check("raises", look)


async def one(check: Check) -> Finding:
    (result,) = await examine([("group", check)])
    return result.finding


async def test_a_check_that_hangs_is_a_failure_and_holds_nobody_up() -> None:
    """Each has its own time; all wait side by side."""
    never = threading.Event()

    def hang() -> Finding:
        never.wait()
        return ok("too late")

    hanging = [("group", Check(f"hangs {number}", hang, 0.2)) for number in range(20)]
    results = await examine([*hanging, ("group", Check("quick", lambda: ok("fine")))])
    never.set()
    assert [result.finding.verdict for result in results] == [Verdict.FAILURE] * 20 + [Verdict.OK]
    assert results[0].finding.found == "no answer within 0.2 s"
    assert results[0].finding.remedy


async def test_what_may_not_be_seen_is_not_permitted() -> None:
    """It names the command that may."""
    found = await one(raising(PermissionError(13, "Permission denied", "/proc/1/io")))
    assert found.verdict is Verdict.NOT_PERMITTED
    assert "/proc/1/io" in found.found
    assert found.remedy == "sudo edge-energy doctor"


async def test_what_strange_files_and_servers_raise_is_no_failure() -> None:
    """It could not be found out, which is neither good nor bad."""
    for error in (OSError("odd"), ValueError("odd"), KeyError("odd"), Unavailable("odd"), TimeoutError("odd")):
        found = await one(raising(error))
        assert found.verdict is Verdict.WARNING, error
        assert "odd" in found.cause


async def test_a_mistake_of_ours_is_told_as_one() -> None:
    """It names the error and where it was, and stops nothing."""
    results = await examine(
        [("a", raising(AttributeError("no such thing"))), ("b", Check("fine", lambda: ok("yes")))]
    )
    assert results[0].finding.found == "this check is broken"
    assert "AttributeError (look, line" in results[0].finding.cause
    assert results[1].finding == ok("yes")


@given(st.lists(st.sampled_from([ValueError, AttributeError, PermissionError, None]), max_size=12))
async def test_results_come_in_the_order_of_the_checks(kinds: list[type[Exception] | None]) -> None:
    wanted = []
    for number, kind in enumerate(kinds):
        look = (lambda: ok("yes")) if kind is None else raising(kind("odd")).look
        wanted.append((f"group {number // 3}", Check(str(number), look)))
    results = await examine(wanted)
    assert [(result.group, result.name) for result in results] == [(group, check.name) for group, check in wanted]
    assert [result.finding.verdict is Verdict.OK for result in results] == [kind is None for kind in kinds]


async def test_a_daemon_of_another_release_may_say_less(tmp_path: Path) -> None:
    """What its status lacks is told by the checks that miss it; the others go on."""
    status = {"version": "0.0.1", "sources": [{"kind": "mqtt"}]}
    results = await examine(checks(Case(machine(tmp_path), tmp_path / "none.toml", status=status)))
    found = {result.name: result.finding for result in results}
    assert "restart edge-energy" in found["daemon"].remedy
    assert found["daemon: journal"].found == found["daemon: sources"].found == "could not be found out"
    assert not [name for name, finding in found.items() if "broken" in finding.found]


async def test_on_a_machine_that_tells_nothing_no_check_breaks(tmp_path: Path) -> None:
    """A laptop without /proc, /sys, systemd, and without valid settings."""
    results = await examine(checks(Case(machine(tmp_path), tmp_path / "none.toml", problems=("x: y",))))
    wrong = {result.name: result.finding for result in results if result.finding.verdict is Verdict.WARNING}
    assert not wrong
    failed = [result.name for result in results if result.finding.verdict is Verdict.FAILURE]
    assert failed == ["configuration", "daemon"]
