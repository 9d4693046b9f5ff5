"""shellcheck: what reads shell scripts more carefully than their author."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .base import apt_install, find_binary, require

if TYPE_CHECKING:
    from pathlib import Path

NAME = "shellcheck"


def find() -> Path | None:
    """Return the program."""
    return find_binary(NAME)


def make() -> Path:
    """Install Debian's package."""
    apt_install(NAME)
    return require(sys.modules[__name__])
