"""`edge-energy support-bundle`: what somebody who helps needs to see, and no secret.

Names, ids, addresses and topics stay: without them nothing can be told apart. What the devices measured does not,
unless it is asked for.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_energy.config.sources import ALIASES
from edge_energy.upkeep import places
from edge_energy.upkeep.errors import NotDone
from edge_energy.upkeep.evidence import collect
from edge_energy.upkeep.scrub import Scrubber, is_secret_name, secrets_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_energy.upkeep.places import Places

_LARGEST_SECRET = 64 * 1024
_NO_SECRETS = ("_DIRECTORY", "_FILE", "PWD")


def make(where: Places, socket: Path, target: Path, *, readings: bool = False) -> list[str]:
    """Write the bundle, a gzipped tar file; return the names of what is in it. Raises `NotDone`."""
    if target.is_dir():
        raise NotDone(f"{target} is a directory: name the file to write")
    with places.credentials(where) as environ:
        scrubber = Scrubber(known_secrets(where, environ))
        found = list(collect(where, socket, environ, readings=readings))
    scrubbed = {name: _encoded(scrubber, content) for name, content in found}
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz") as packed:
                for name, content in scrubbed.items():
                    info = tarfile.TarInfo(f"edge-energy-support/{name}")
                    info.size, info.mtime, info.mode = len(content), int(time.time()), 0o600
                    packed.addfile(info, io.BytesIO(content))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise NotDone(f"{target} cannot be written: {error.strerror or error}") from None
    return list(scrubbed)


def _encoded(scrubber: Scrubber, content: Any) -> bytes:
    if isinstance(content, str):
        return scrubber.text(content).encode(errors="backslashreplace")
    return json.dumps(scrubber.value(content), indent=1, default=str, ensure_ascii=False).encode(errors="replace")


# -- what is secret -----------------------------------------------------------------------------------------------


def known_secrets(where: Places, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield every secret that this machine knows: of the configuration, the environment, credentials and files."""
    with suppress(OSError, ValueError):
        yield from secrets_in(tomllib.loads(where.config.read_bytes().decode("utf-8-sig")))
    names = {name for name, location in ALIASES.items() if is_secret_name(str(location[-1]))}
    for name, value in environ.items():
        if name in names or (is_secret_name(name) and not name.endswith(_NO_SECRETS)):
            yield value
        yield from secrets_in(value)
    for path in _secret_files(where):
        yield from _secrets_of(path)
    if found := environ.get("CREDENTIALS_DIRECTORY"):
        for path in sorted(Path(found).iterdir()):
            yield from _secrets_of(path)


def _secret_files(where: Places) -> list[Path]:
    """Return the files of this appliance that hold secrets; of a laptop there are none where we may not look."""
    if where.config.parent != where.etc and os.geteuid() != 0:
        return []
    found = [path for _, path in where.secrets() if path.suffix != ".pem"]  # certificates are for everybody
    if not all(os.access(path, os.R_OK) for path in found):
        raise NotDone(
            "what is secret must be known to be left out, and only root can read it: run this as root (sudo)"
        )
    return found


def _secrets_of(path: Path) -> Iterator[str]:
    """Yield what is secret in a file that holds nothing else; of a JSON key, every longer text in it."""
    with suppress(OSError, UnicodeDecodeError):
        if path.is_file() and path.stat().st_size <= _LARGEST_SECRET:
            content = path.read_text("utf-8")
            yield content
            with suppress(ValueError):
                yield from secrets_in(json.loads(content))
