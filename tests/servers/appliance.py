"""The repository in a container, and an appliance that install.sh has made of one: once per state of the sources."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from .base import making
from .container import Container

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = Path(__file__).parents[2]
CHECKOUT = "/root/edge_energy"
"""Where the repository lies in a container."""
NOT_SHIPPED = {"tests", "benchmarks"}
KEPT = 4  # layers of the same options


def sources(*, all_of_them: bool = False) -> list[Path]:
    """Return the repository's files, tracked or new, relative to it; without the tests unless all are wanted."""
    listed = subprocess.run(
        ["git", "-C", REPOSITORY, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    )
    files = [Path(name) for name in sorted(set(listed.stdout.split("\0"))) if (REPOSITORY / name).is_file()]
    return [file for file in files if all_of_them or file.parts[0] not in NOT_SHIPPED]


def copy_repository(container: Container) -> None:
    """Lay the repository into the container as a user's clone lies there."""
    for file in sources():
        target = container.path(f"{CHECKOUT}/{file}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / file, target)


def install(container: Container, *options: str, timeout: float = 600) -> str:
    """Run install.sh in the container and return what it said."""
    ran = container.run(f"{CHECKOUT}/install.sh", *options, timeout=timeout)
    return ran.stdout + ran.stderr


def installed(debian: str, options: Sequence[str] = ("--simulation",)) -> Path:
    """Return the layer of an appliance installed with these options; made anew when the sources have changed."""
    name = "-".join(["appliance", debian, *options])
    with making(name) as cache:
        layers = cache / name
        layer = layers / _state()
        if not layer.exists():
            layers.mkdir(exist_ok=True)
            with Container(debian) as container:
                copy_repository(container)
                install(container, *options)
                container.save(layer)
            # Others may still run on an older one.
            for old in sorted(layers.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT]:
                shutil.rmtree(old, ignore_errors=True)
    return layer


def _state() -> str:
    digest = hashlib.sha256()
    for file in sources():
        digest.update(f"{file}\0".encode() + hashlib.sha256((REPOSITORY / file).read_bytes()).digest())
    return digest.hexdigest()[:16]
