"""What time it is, and whether that can be believed."""

from __future__ import annotations

import asyncio
import ctypes
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_CHECK_EVERY = 10.0
_STEP = 1_000_000_000  # ns; a smaller difference is the slewing of a disciplined clock
_RESOLUTION = 1_000_000  # ns; within it, equal stamps are told apart by counting on
_UNSYNCHRONISED = 0x40  # STA_UNSYNC of adjtimex(2)
_BOARD = Path("/proc/device-tree/model")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_UPTIME_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), as far as `status`; the rest is padding."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def uptime() -> int:
    """Return nanoseconds since boot, sleep included."""
    return time.clock_gettime_ns(_UPTIME_CLOCK)


def uptime_seconds() -> float:
    """Return seconds since boot, sleep included: what durations and deadlines of ours are on."""
    return uptime() / 1e9


def boot_id() -> str:
    """Return an id that changes at every boot."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:  # macOS: the moment of boot, to the nearest minute, identifies it
        return str(uuid.uuid5(uuid.NAMESPACE_OID, str(round((time.time() - time.monotonic()) / 60))))


def synchronised() -> bool:
    """Tell whether the date can be believed.

    A board with a device tree (every Raspberry Pi) has no battery behind its clock: after a power cut it starts
    with the moment of the last shutdown, plausible and false, so only the kernel's word that NTP has set it
    counts, and where it may not be asked it has not given that. Other machines keep time while they are off.
    """
    if not _BOARD.exists():
        return True
    try:
        timex = _Timex()
        refused = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) < 0
    except (OSError, AttributeError):
        return True
    return not (refused or timex.status & _UNSYNCHRONISED)


class Clock:
    """Stamps arrivals. `time` is None until the date is known; no two stamps of a process are equal."""

    name = "clock"

    def __init__(self, trusted: Callable[[], bool] = synchronised) -> None:
        self.up = asyncio.Event()
        self.trusted = trusted()
        self._check = trusted
        self._last = 0
        self._offset = time.time_ns() - uptime()
        self.set = asyncio.Event()
        """Set when the date became known or was changed; whoever keeps anchors clears it."""

    def now(self) -> tuple[int | None, int]:
        """Return (UTC nanoseconds or None, uptime nanoseconds)."""
        up = uptime()
        if not self.trusted:
            return None, up
        now = time.time_ns()
        if self._last - _RESOLUTION < now <= self._last:  # further back is a step of the clock
            now = self._last + 1
        self._last = now
        return now, up

    async def run(self) -> None:
        """Watch for the date becoming known, and for steps of the clock."""
        self.up.set()
        while True:
            await asyncio.sleep(_CHECK_EVERY)
            self.check()

    def check(self) -> None:
        """Look once."""
        was, self.trusted = self.trusted, self._check()
        offset = time.time_ns() - uptime()
        stepped = abs(offset - self._offset) > _STEP
        self._offset = offset
        if self.trusted and (stepped or not was):
            self.set.set()
