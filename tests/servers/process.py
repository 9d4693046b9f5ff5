"""A subprocess of a test's own: awaited until ready, stopped, killed, frozen, started again on its data."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from .base import HOST, ServerError, accepts, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Process:
    """One subprocess; what it prints goes to the file `log` in its directory."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        directory: Path,
        ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.arguments = [str(argument) for argument in arguments]
        self.directory = directory
        self.environment = dict(environment or {})
        self.log = directory / "log"
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process is None:
            raise ServerError(f"{self.arguments[0]} was not started")
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended; None while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self, timeout: float = 120) -> None:
        """Start it and return when it is ready; ServerError shows the end of its log."""
        if self.running:
            raise ServerError(f"{self.arguments[0]} runs already")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.arguments,
                cwd=self.directory,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C on the tests must not reach it before its fixture ends it
            )
        try:
            wait_until(lambda: not self.running or self._ready(), timeout, "readiness")
        except BaseException as error:
            self.kill()
            raise self._failure(str(error)) from error
        if not self.running:
            raise self._failure(f"ended with {self.returncode}")

    def stop(self, timeout: float = 15) -> None:
        """Ask it to end (SIGTERM), kill it when it does not; nothing happens when it has ended."""
        self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        self._end(signal.SIGKILL, 15)

    def restart(self) -> None:
        """Stop it in good order and start it again on the same data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing is answered."""
        self._send(signal.SIGSTOP)
        # The kernel stops one thread after the other; a busy machine gives some of them time for an answer.
        wait_until(lambda: not self.running or self._frozen(), what="the freeze")

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._send(signal.SIGCONT)

    def _frozen(self) -> bool:
        threads = Path(f"/proc/{self.pid}/task")
        if not threads.exists():  # not Linux: nobody can see it
            return True
        try:
            states = {(thread / "stat").read_text().rpartition(") ")[2][0] for thread in threads.iterdir()}
        except OSError:  # one has just ended
            return False
        return states <= set("TZX")

    def _send(self, what: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(what)  # nothing happens when it has ended, even if its id is another's now

    def _end(self, how: signal.Signals, timeout: float) -> None:
        if self._process is None:
            return
        self._send(how)
        self._send(signal.SIGCONT)  # a frozen process hears nothing else
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _failure(self, reason: str) -> ServerError:
        tail = self.log.read_text(errors="replace").splitlines()[-30:]
        return ServerError("\n".join([f"{self.arguments[0]}: {reason}", *tail]))


class Server(Process):
    """A process in a temporary directory of its own that listens on a free port on 127.0.0.1.

    A subclass completes `arguments` in its constructor; port and data outlive stop, kill and restart, and
    leaving the context removes the data.
    """

    def __init__(self, binary: Path, environment: Mapping[str, str] | None = None) -> None:
        directory = Path(tempfile.mkdtemp(prefix=f"{binary.name}-"))
        super().__init__([binary], directory, self.answers, environment)
        self.host = HOST
        self.port = free_port()

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def answers(self) -> bool:
        """Whether the server is ready."""
        return accepts(self.port)
