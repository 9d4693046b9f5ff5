"""curl: the HTTP client that people have, for what the manual tells them to type."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .base import apt_install, find_binary, require

if TYPE_CHECKING:
    from pathlib import Path

NAME = "curl"


def find() -> Path | None:
    """Return the program."""
    return find_binary(NAME)


def make() -> Path:
    """Install Debian's package."""
    apt_install(NAME)
    return require(sys.modules[__name__])
