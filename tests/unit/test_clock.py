"""Every arrival gets a stamp of its own, and a date that is not known is not invented."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_energy import clock as clock_module
from edge_energy.clock import Clock, boot_id, synchronised, uptime
from tests.unit.samples import NOON, SECOND

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def set_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Set what time it is, and for how long the machine has been up (ns)."""

    def set_both(now: int, up: int) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: now)
        monkeypatch.setattr(clock_module, "uptime", lambda: up)

    set_both(NOON, SECOND)
    return set_both


def test_no_two_stamps_are_equal(set_time: Callable[[int, int], None]) -> None:
    """Two messages in one tick of the clock must not become one point."""
    clock = Clock(lambda: True)
    stamps = [clock.now()[0] for _ in range(1_000)]
    set_time(NOON + 500, SECOND)
    stamps += [clock.now()[0] for _ in range(10)]
    set_time(NOON + SECOND, 2 * SECOND)
    stamps.append(clock.now()[0])
    assert len({*stamps}) == len(stamps)
    assert stamps == sorted(stamps, key=lambda stamp: stamp or 0)
    assert stamps[-1] == NOON + SECOND


def test_a_clock_that_was_set_back_is_followed(set_time: Callable[[int, int], None]) -> None:
    """A step of an hour is a correction, not a tick to be counted on."""
    clock = Clock(lambda: True)
    assert clock.now() == (NOON, SECOND)
    set_time(NOON - 3600 * SECOND, 2 * SECOND)
    assert clock.now() == (NOON - 3600 * SECOND, 2 * SECOND)


@pytest.mark.usefixtures("set_time")
def test_a_date_that_is_not_known_is_none() -> None:
    """A Pi without a battery must not stamp with the moment of its last shutdown; uptime is always known."""
    assert Clock(lambda: False).now() == (None, SECOND)


@pytest.mark.parametrize(
    ("was", "became", "step", "told"),
    [
        pytest.param(False, True, 0, True, id="the date became known"),
        pytest.param(True, True, 5 * SECOND, True, id="the clock was set forward"),
        pytest.param(True, True, -5 * SECOND, True, id="the clock was set back"),
        pytest.param(True, True, SECOND // 2, False, id="it was slewed"),
        pytest.param(False, False, 5 * SECOND, False, id="still not known"),
        pytest.param(True, False, 5 * SECOND, False, id="no longer known"),
    ],
)
async def test_whoever_keeps_anchors_is_told_when_the_date_is_known_or_was_changed(
    set_time: Callable[[int, int], None], step: int, *, was: bool, became: bool, told: bool
) -> None:
    """Only a date that can be believed makes an anchor, and each change of it makes one."""
    trusted = was
    clock = Clock(lambda: trusted)
    trusted = became
    set_time(NOON + 60 * SECOND + step, 61 * SECOND)
    clock.check()
    assert clock.set.is_set() is told
    assert clock.trusted is became
    clock.set.clear()
    clock.check()
    assert not clock.set.is_set(), "once"


@pytest.mark.parametrize(
    ("status", "answer", "known"),
    [(0x40, 5, False), (0x1, 0, True), (0, -1, False)],
    ids=["no NTP", "NTP", "the kernel may not be asked"],
)
def test_only_a_board_without_a_battery_needs_the_kernel_s_word(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, answer: int, *, known: bool
) -> None:
    """A laptop keeps time while it is off; a Raspberry Pi does not."""

    class Kernel:
        @staticmethod
        def adjtimex(timex: Any) -> int:
            timex._obj.status = status
            return answer

    monkeypatch.setattr(clock_module, "_BOARD", tmp_path / "model")
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Kernel)
    assert synchronised()
    (tmp_path / "model").write_text("Raspberry Pi 4")
    assert synchronised() is known


def test_boots_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The id is the same during one boot, also where the kernel gives none."""
    assert boot_id() == boot_id()
    monkeypatch.setattr(clock_module, "_BOOT_ID", Path("/nonexistent"))
    monkeypatch.setattr(time, "time", lambda: 1_790_000_000.0)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    first = boot_id()
    monkeypatch.setattr(time, "time", lambda: 1_790_000_500.0)
    assert boot_id() != first
    monkeypatch.setattr(time, "monotonic", lambda: 600.0)
    assert boot_id() == first


def test_uptime_only_grows() -> None:
    """Whatever happens to the date."""
    assert 0 < uptime() <= uptime()
