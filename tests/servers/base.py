"""What all servers of the tests need: finding or installing a program, a free port, waiting."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

HOST = "127.0.0.1"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-energy" / "servers"
# Outside the range from which the kernel takes ports for outgoing connections (32768 and above): a client
# that keeps dialling a server that is down would otherwise connect to itself one day and hold the port.
# Each of several test processes has its own, and gives none twice: a server that is down for a while wants its port.
PORTS = range(20_000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), 32_000, 8)
_given: set[int] = set()


class ServerError(Exception):
    """A server could not be started, or did not do what a test waited for."""


class MissingError(ServerError):
    """A server is not on this machine and could not be brought; the text says what it would take."""


class ServerModule(Protocol):
    """One server's module: where its binary is, and how to bring it."""

    NAME: str

    def find(self) -> Path | None:
        """Return the binary, or None when it has to be made."""
        ...

    def make(self) -> Path:
        """Bring the binary, or raise MissingError."""
        ...


def find_binary(name: str, variable: str = "") -> Path | None:
    """Look for a program in the named environment variable, on PATH (daemons live in sbin), in the cache."""
    if variable and (named := os.environ.get(variable)):
        return Path(named)
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"])
    if found := shutil.which(name, path=path):
        return Path(found)
    cached = CACHE / name
    return cached if cached.exists() else None


def require(server: ServerModule) -> Path:
    """Return the server's binary, or say which command brings it."""
    if binary := server.find():
        return binary
    raise MissingError(f"{server.NAME} is not on this machine: `make servers` brings it")


def apt_install(*packages: str) -> None:
    """Install Debian packages where the caller may, else name them."""
    wanted = " ".join(packages)
    if not shutil.which("apt-get"):
        raise MissingError(f"install what this system calls the Debian packages {wanted}")
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if sudo and not shutil.which("sudo"):
        raise MissingError(f"neither root nor sudo: apt-get install {wanted}")
    apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    # The update may fail on one of several sources and the packages still be there: the install decides.
    subprocess.run([*apt, "update"], check=False, stdout=subprocess.DEVNULL)
    install = [*apt, "install", "-y", "--no-install-recommends", *packages]
    if subprocess.run(install, check=False, stdout=subprocess.DEVNULL).returncode:
        raise MissingError(f"apt-get install {wanted} failed")


@contextlib.contextmanager
def making(name: str) -> Iterator[Path]:
    """Hold the cache for the making of one server, so that two test runs do not build it at once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield CACHE


def free_port() -> int:
    """Return a port on 127.0.0.1 that nobody listens on."""
    free = [port for port in PORTS if port not in _given]
    for port in random.SystemRandom().sample(free, min(200, len(free))):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                _given.add(port)
                return port
    raise ServerError("no free port")


def accepts(port: int) -> bool:
    """Tell whether something accepts connections on this port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def say(text: str) -> None:
    """Print one line for the user of `make servers`, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def wait_until(condition: Callable[[], T], timeout: float = 10, what: str = "") -> T:
    """Ask until the answer is true and return it; TimeoutError names what was waited for."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what or condition} did not come true within {timeout:g} s")
        time.sleep(0.01)
    return answer
