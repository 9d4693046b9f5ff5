"""A Debian machine: real systemd, booted in a container on a throw-away layer above a root of `debian.py`."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from . import nspawn, outside
from .base import CACHE, ServerError, require, wait_until
from .debian import root

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LAYERS = CACHE / "containers"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}


class Container:
    """One machine, booted while in its context; `on`: layers of `save` above the bare Debian, the topmost first.

    It has a network of its own, in which nobody else listens; without `network` there is no way out of it. With
    `read_only` nothing is writable but the directories `writable` (and what systemd always keeps in memory); they
    outlive a reboot.
    """

    def __init__(
        self,
        debian: str = "bookworm",
        *,
        on: Path | Sequence[Path] = (),
        network: bool = True,
        read_only: bool = False,
        writable: Sequence[str] = (),
        architecture: str = "",
    ) -> None:
        self.debian, self.network = debian, network
        if network:
            require(outside)
        self._lower = [*([on] if isinstance(on, Path) else on), root(debian, architecture)]
        self._read_only, self._writable = read_only, writable
        LAYERS.mkdir(parents=True, exist_ok=True)
        nspawn.sweep(LAYERS)
        self.directory = LAYERS / f"{os.getpid()}-{secrets.token_hex(4)}"
        self.name = nspawn.machine_name(self.directory)
        self.log = self.directory / "console"
        for name in ("upper", "work", "root", "writable"):
            (self.directory / name).mkdir(mode=0o755, parents=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._started: list[subprocess.Popen[str]] = []
        self._network: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start_again()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The process id of its systemd, as this machine sees it; ServerError when it does not run."""
        if self._process and (init := nspawn.init_of(self._process)):
            return init
        raise ServerError(f"the container does not run\n{self._console()}")

    def run(
        self,
        *argv: str | Path,
        check: bool = True,
        timeout: float = 60,
        input: str | None = None,  # noqa: A002 - as subprocess.run calls it
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it as root; with `check`, a failure is a ServerError that shows what it said."""
        what = " ".join(str(word) for word in argv)
        try:
            ran = subprocess.run(
                self._inside(argv, env),
                check=False,
                capture_output=True,
                text=True,
                timeout=timeout,
                input=input or "",
            )
        except subprocess.TimeoutExpired as expired:
            said = b"".join(stream for stream in (expired.stdout, expired.stderr) if stream).decode(errors="replace")
            raise ServerError(f"{what}: no end within {timeout:g} s\n{said}") from expired
        if check and ran.returncode:
            raise ServerError(f"{what}: exit status {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran

    def start(self, *argv: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command in it, both outputs in `stdout`; it dies when its Popen is killed, its children do not."""
        started = subprocess.Popen(
            self._inside(argv, env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(started)
        return started

    def path(self, path: str) -> Path:
        """Return where a file of the running container lies for us; absolute links on the way lead astray."""
        return Path(f"/proc/{self.pid}/root", path.lstrip("/"))

    def put(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Write a file in it, with the directories on the way."""
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        target.chmod(mode)

    def active(self, unit: str) -> bool:
        """Whether systemd calls the unit active."""
        return self.run("systemctl", "is-active", "--quiet", unit, check=False).returncode == 0

    def wait(self, condition: Callable[[], object], timeout: float = 30, what: str = "") -> None:
        """Ask ten times a second until the answer is true; TimeoutError names what was waited for."""

        def answer() -> object:
            if not (given := condition()):
                time.sleep(0.1)  # each question starts a process
            return given

        wait_until(answer, timeout, what)

    def wait_active(self, unit: str, timeout: float = 30) -> None:
        """Return when the unit is active; ServerError shows its log."""
        try:
            self.wait(lambda: self.active(unit), timeout)
        except TimeoutError as error:
            said = self.run("systemctl", "status", "--no-pager", "--full", "--lines=40", unit, check=False)
            text = f"{unit} is not active after {timeout:g} s\n{said.stdout}{said.stderr}"
            raise ServerError(text) from error

    def start_again(self) -> None:
        """Boot it on what it has on its disk; returns when systemd has started everything."""
        if self.network:
            outside.outfit(self.directory / "upper", self.debian)
        self._process = nspawn.boot(self.name, self.directory, self._lower, self._options(), self.log)
        process = self._process
        wait_until(lambda: process.poll() is not None or nspawn.init_of(process), 30, "the container's systemd")
        if self.network:
            self._network = outside.connect(self.pid)
        up = {"running", "degraded"}
        self.wait(lambda: self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip() in up)

    def stop(self, timeout: float = 60) -> None:
        """Shut it down in good order; nothing happens when it does not run."""
        if self._process and self._process.poll() is None:
            self.run("systemctl", "poweroff", check=False)
            try:
                self.wait(self._ended, timeout)
            except TimeoutError as error:
                raise ServerError(f"no shutdown within {timeout:g} s\n{self._console()}") from error
        self.kill()

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL for everything that runs in it."""
        if self._process:
            nspawn.end(self._process, self.name)
            self._process = None
            self._started.clear()
        if self._network:
            self._network.kill()
            self._network.wait()
            self._network = None
            outside.harvest(self.directory / "upper", self.debian)

    def reboot(self) -> None:
        """Shut it down in good order and boot it again: /run is empty, the boot id another."""
        self.stop()
        self.start_again()

    def save(self, directory: Path) -> Path:
        """Shut it down and keep what it wrote as a layer for `on`; a layer holds nothing of the layers below it."""
        self.stop()
        shutil.move(self.directory / "upper", directory)
        (self.directory / "upper").mkdir(mode=0o755)
        return directory

    def _ended(self) -> bool:
        # The shutdown stops all processes before it ends them, and nsenter then stops itself, for ever.
        for started in self._started:
            started.send_signal(signal.SIGCONT)
        return self._process is None or self._process.poll() is not None

    def _inside(self, argv: Sequence[str | Path], env: Mapping[str, str] | None) -> list[str]:
        passed = outside.environment() if self.network else {}
        variables = [f"{name}={value}" for name, value in {**ENVIRONMENT, **passed, **(env or {})}.items()]
        enter = ["nsenter", f"--target={self.pid}", "--all", "setpriv", "--pdeathsig", "KILL", "env", "-i"]
        return [*enter, "--chdir=/root", *variables, *map(str, argv)]

    def _options(self) -> list[str]:
        options = outside.options() if self.network else []
        for path in self._writable:
            kept = self.directory / "writable" / path.strip("/").replace("/", "-")
            kept.mkdir(exist_ok=True)
            options.append(f"--bind={kept}:{path}")
        return [*options, "--read-only"] if self._read_only else options

    def _console(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:]) if self.log.exists() else ""
