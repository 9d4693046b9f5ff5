"""Finding or installing Java: Kafka and the Pub/Sub emulator run in it."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from .base import MissingError, apt_install, find_binary, require

if TYPE_CHECKING:
    from pathlib import Path

NAME = "java"
NEEDED = 17
# Small machines, short lives: the parallel collector and the optimising compiler cost more than they bring.
FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def find() -> Path | None:
    """Return a Java that is new enough."""
    binary = find_binary(NAME)
    return binary if binary and _version(binary) >= NEEDED else None


def make() -> Path:
    """Install Debian's default one; an older Java that is first on PATH stays there, and is an error."""
    if binary := find():
        return binary
    apt_install("default-jre-headless")
    if (found := find_binary(NAME)) and _version(found) < NEEDED:
        raise MissingError(f"{found} is Java {_version(found)}: install {NEEDED} or newer, first on PATH")
    return require(sys.modules[__name__])


def _version(binary: Path) -> int:
    """Return 17 for `openjdk version "17.0.15"`, 1 for `"1.8.0"`, 0 when it does not say."""
    said = subprocess.run([binary, "-version"], check=False, capture_output=True, text=True).stderr
    match = re.search(r'version "(\d+)', said)
    return int(match[1]) if match else 0
