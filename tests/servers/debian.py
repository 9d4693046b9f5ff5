"""Debian roots for the containers: made once per release and architecture by mmdebstrap, never changed afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .base import CACHE, MissingError, apt_install, find_binary, making, require

NAME = "mmdebstrap"
RELEASES = ("bookworm", "trixie")
"""What today's Raspberry Pi OS is made of."""
# What Raspberry Pi OS Lite has and install.sh may count on; what install.sh itself has to bring is not here.
PACKAGES = (
    "systemd,systemd-sysv,dbus,init,udev,ca-certificates,python3,python3-venv,iproute2,curl,gpg,openssl,procps,sudo,"
    "adduser,gawk"
)
HOSTNAME = "raspberrypi"
TIMERS = "apt-daily.timer apt-daily-upgrade.timer"
"""They would run apt beside the tests."""


def find() -> Path | None:
    """Return mmdebstrap, when what boots a root is there too."""
    return find_binary(NAME) if find_binary("systemd-nspawn") else None


def make() -> Path:
    """Install Debian's packages."""
    apt_install(NAME, "systemd-container")
    return require(sys.modules[__name__])


def root(release: str, architecture: str = "") -> Path:
    """Return the root of a Debian release; it takes a minute the first time. MissingError says what it would take."""
    if os.geteuid() != 0:
        raise MissingError("a container is booted: run these tests as root")
    mmdebstrap = require(sys.modules[__name__])
    name = "-".join(["debian", release, *([architecture] if architecture else [])])
    with making(name) as cache:
        made = cache / name
        if not made.exists():
            unfinished = cache / f"{name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            _bootstrap(mmdebstrap, release, architecture, unfinished)
            unfinished.rename(made)
    return made


def _bootstrap(mmdebstrap: Path, release: str, architecture: str, target: Path) -> None:
    hook = f'echo {HOSTNAME} > "$1/etc/hostname" && echo "127.0.0.1 localhost {HOSTNAME}" > "$1/etc/hosts" && '
    hook += f'systemd-machine-id-setup --root="$1" && systemctl --root="$1" mask {TIMERS}'
    options = ["--variant=minbase", f"--include={PACKAGES}", "--skip=cleanup/apt", f"--customize-hook={hook}"]
    options += [f"--aptopt={file}" for file in apt_configuration()]
    if architecture:
        options.append(f"--arch={architecture}")
    with (CACHE / f"{target.stem}.log").open("wb") as log:
        made = subprocess.run([mmdebstrap, *options, release, target], check=False, stdout=log, stderr=log)
    if made.returncode:
        raise MissingError(f"mmdebstrap could not make Debian {release}: see {log.name}")


def apt_configuration() -> list[Path]:
    """Return the files in which this machine tells apt how to reach its packages (proxy, dates)."""
    files = sorted(Path("/etc/apt/apt.conf.d").glob("*"))
    return [file for file in files if "Acquire::" in file.read_text(errors="replace") and "docker" not in file.name]
