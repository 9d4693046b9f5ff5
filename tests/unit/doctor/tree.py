"""Machines made of a few files, for checks that look at /proc, /sys and /etc."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edge_energy.config import load
from edge_energy.doctor.case import Case
from edge_energy.doctor.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edge_energy.config import Settings


NOBODY = 65534


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user without rights for a while, where this one is root."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(was)


def machine(root: Path, files: Mapping[str, str] | None = None, programs: Mapping[str, str] | None = None) -> Machine:
    """Return a machine with these files, and with programs that print this when they are called with these words."""
    for name, text in (files or {}).items():
        file = root / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    known = programs or {}

    def run(*arguments: str) -> str | None:
        called = " ".join(arguments)
        return next((said for words, said in known.items() if called.startswith(words)), None)

    return Machine(root, run)


def settings(root: Path, text: str = "") -> Settings:
    """Return settings as they would be without anything in the environment."""
    root.mkdir(parents=True, exist_ok=True)
    file = root / "edge-energy.toml"
    file.write_text(text)
    return load(file, {})


def case(here: Machine, text: str = "", **known: Any) -> Case:
    """Return a case with these settings."""
    file = here.root / "edge-energy.toml"
    return Case(here, file, settings(here.root, text), **known)


def process(pid: int, name: str, arguments: str, *, written: int = 0, started: float = 0.0) -> dict[str, str]:
    """Return the files of a process that began so many seconds after boot."""
    return {
        f"/proc/{pid}/comm": f"{name}\n",
        f"/proc/{pid}/cmdline": arguments.replace(" ", "\0") + "\0",
        f"/proc/{pid}/io": f"wchar: 7\nwrite_bytes: {written}\ncancelled_write_bytes: 0\n",
        f"/proc/{pid}/stat": f"{pid} ({name}) S " + "0 " * 18 + f"{int(started * 100)} 0 0\n",
    }


def listening(*rows: tuple[str, int, int]) -> str:
    """Return /proc/net/tcp: addresses as the kernel prints them, ports, inodes."""
    lines = ["  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"]
    for number, (address, port, inode) in enumerate(rows):
        lines.append(f"{number}: {address}:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 0 0 0 {inode} 1")
    return "\n".join(lines)


def holds(root: Path, pid: int, target: str) -> None:
    """Let a process have something open."""
    directory = root / f"proc/{pid}/fd"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / str(len(list(directory.iterdir())))).symlink_to(target)
