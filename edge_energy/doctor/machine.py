"""The machine as checks see it: its files below one root, and its programs; tests give another root."""

from __future__ import annotations

import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Found = TypeVar("Found")

MOST = 4 << 20  # bytes of a file that are read
PROGRAM_PATIENCE = 4.0
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def run_program(*arguments: str) -> str | None:
    """Return what a program prints; None where there is no such program, or it failed. Raises `TimeoutError`."""
    try:
        done = subprocess.run(  # noqa: S603 - constant programs, and no shell
            arguments,
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=PROGRAM_PATIENCE,
            env=_ENVIRONMENT,
        )
    except FileNotFoundError:
        return None
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"`{' '.join(arguments)}` did not answer within {PROGRAM_PATIENCE:g} s") from None
    return done.stdout[:MOST].decode(errors="replace") if done.returncode == 0 else None


@dataclass(frozen=True)
class Machine:
    """Where to look. `run` is called with a program and its arguments, as `run_program`."""

    root: Path = Path("/")
    run: Callable[..., str | None] = run_program
    _found: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    _looking: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def path(self, name: str | Path) -> Path:
        """Return where an absolute path of the machine lies."""
        return self.root / str(name).lstrip("/")

    def text(self, name: str | Path) -> str | None:
        """Return the beginning of a file; None where there is none. Raises `OSError`, such as `PermissionError`."""
        try:
            with self.path(name).open("rb") as file:
                return file.read(MOST).decode(errors="replace").strip("\0\n ")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def files(self, directory: str | Path, pattern: str) -> list[Path]:
        """Return what matches in a directory, sorted; nothing where there is no such directory."""
        return sorted(self.path(directory).glob(pattern))

    def once(self, look: Callable[[Machine], Found]) -> Found:
        """Return what `look` finds here: it looks once, however many checks want to know, side by side."""
        with self._looking:
            if look not in self._found:
                self._found[look] = look(self)
            found: Found = self._found[look]
            return found

    @property
    def raspberry_pi(self) -> str | None:
        """The model, where this is a Raspberry Pi."""
        model = self.text("/proc/device-tree/model") or ""
        return model if "Raspberry Pi" in model else None

    @property
    def systemd(self) -> bool:
        """Whether systemd runs this machine."""
        return self.path("/run/systemd/system").is_dir()

    def uptime(self) -> float | None:
        """Return the seconds since boot; None where the kernel does not say."""
        text = self.text("/proc/uptime")
        return None if text is None else float(text.split()[0])

    def unit(self, name: str, *properties: str) -> dict[str, str]:
        """Return properties of a systemd unit; nothing without systemd."""
        if not self.systemd:
            return {}
        shown = self.run("systemctl", "show", name, f"--property={','.join(properties)}") or ""
        return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
