"""How a container reaches the package servers: by a network of its own, in the way this machine does, cached."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .base import CACHE, ServerError, apt_install, find_binary, require
from .debian import apt_configuration

NAME = "slirp4netns"
COPIED = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf", "/root/.config/pip/pip.conf", "/root/.npmrc")
PASSED = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_DEFAULT_TIMEOUT", "NPM_CONFIG_REGISTRY"),
)
SHARED = {"pip": "/root/.cache/pip", "npm": "/root/.npm"}
ARCHIVES = "var/cache/apt/archives"
RESOLVER = "nameserver 10.0.2.3\n"  # slirp4netns asks this machine's own


def find() -> Path | None:
    """Return what gives a container its network."""
    return find_binary(NAME)


def make() -> Path:
    """Install Debian's package."""
    apt_install(NAME)
    return require(sys.modules[__name__])


def connect(init: int) -> subprocess.Popen[bytes]:
    """Give the network namespace of a process a way out; it reaches this machine's loopback as 10.0.2.2."""
    command = ["setpriv", "--pdeathsig", "KILL", str(require(sys.modules[__name__])), "--configure", "--mtu=65520"]
    ready, told = os.pipe()
    try:
        network = subprocess.Popen(
            [*command, f"--ready-fd={told}", str(init), "tap0"],
            pass_fds=[told],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(told)
        if os.read(ready, 1) != b"1":
            network.wait()
            raise ServerError(f"slirp4netns ended with {network.returncode}: the container has no network")
    finally:
        os.close(ready)
    return network


def outfit(layer: Path, debian: str) -> None:
    """Lay this machine's configuration, and the packages that were fetched before, into a container's layer."""
    for source in (*map(Path, COPIED), *apt_configuration()):
        if source.exists():
            shutil.copy2(source, _made(layer / source.relative_to("/")))
    _made(layer / "etc/apt/apt.conf.d/90keep").write_text('APT::Keep-Downloaded-Packages "true";\n')
    _made(layer / "etc/resolv.conf").write_text(RESOLVER)
    _link(_cache(debian), layer / ARCHIVES)


def harvest(layer: Path, debian: str) -> None:
    """Keep the packages that were fetched, and none of them in the layer."""
    _link(layer / ARCHIVES, _cache(debian))
    for package in (layer / ARCHIVES).glob("*.deb"):
        package.unlink()


def options() -> list[str]:
    """Return what nspawn has to be told of the caches."""
    for name in SHARED:
        (CACHE / name).mkdir(parents=True, exist_ok=True)
    return [f"--bind={CACHE / name}:{target}" for name, target in SHARED.items()]


def environment() -> dict[str, str]:
    """Return the variables that say how the network is reached."""
    return {name: os.environ[name] for name in PASSED if name in os.environ}


def _cache(debian: str) -> Path:
    return CACHE / f"apt-{debian}"


def _made(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def _link(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for package in source.glob("*.deb"):
        if not (target / package.name).exists():
            shutil.copy2(package, target / f"{package.name}.unfinished")
            (target / f"{package.name}.unfinished").rename(target / package.name)
