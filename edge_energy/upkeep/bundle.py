"""`edge-energy support-bundle`: what somebody who helps needs to see, and no secret.

Names, ids, addresses and topics stay: without them nothing can be told apart. What the devices measured does not,
unless it is asked for.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import time
import tomllib
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_energy.config.credstore import daemon_environment
from edge_energy.config.sources import ALIASES
from edge_energy.upkeep import files
from edge_energy.upkeep.errors import NotDone
from edge_energy.upkeep.evidence import collect
from edge_energy.upkeep.manifest import ZIGBEE2MQTT
from edge_energy.upkeep.scrub import Scrubber, is_secret_name, key_forms, listed_keys, secrets_in, secrets_in_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_energy.upkeep.places import Places

_LARGEST_SECRET = 64 * 1024
_SHORTEST = 8
_HEX_KEY = re.compile("([0-9A-Fa-f]{2}){16}")
_NO_SECRETS = ("_DIRECTORY", "_FILE", "PWD")


def make(where: Places, socket: Path, target: Path, *, readings: bool = False) -> list[str]:
    """Write the bundle, a gzipped tar file; return the names of what is in it. Raises `NotDone`."""
    with files.written(target) as file, tarfile.open(fileobj=file, mode="w:gz") as packed:
        readable = os.access(where.credstore, os.R_OK)
        with daemon_environment(where.credstore) if readable else nullcontext(os.environ) as environ:
            scrubber = Scrubber(known_secrets(where, environ))
            found = list(collect(where, socket, environ, readings=readings))
        for name, tree in found:
            content = _encoded(scrubber, tree)
            info = tarfile.TarInfo(f"edge-energy-support/{name}")
            info.size, info.mtime, info.mode = len(content), int(time.time()), 0o600
            packed.addfile(info, io.BytesIO(content))
    return [name for name, _ in found]


def _encoded(scrubber: Scrubber, content: Any) -> bytes:
    if isinstance(content, str):
        return scrubber.text(content).encode(errors="backslashreplace")
    return json.dumps(scrubber.value(content), indent=1, default=str, ensure_ascii=False).encode(errors="replace")


# -- what is secret -----------------------------------------------------------------------------------------------


def known_secrets(where: Places, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield every secret that this machine knows: of the configuration, the environment, credentials and files."""
    yield from _secrets_of_config(where.config)
    names = {name for name, location in ALIASES.items() if is_secret_name(str(location[-1]))}
    for name, value in environ.items():
        if name in names or (is_secret_name(name) and not name.endswith(_NO_SECRETS)):
            yield value
        yield from secrets_in(value)
    for name, path in _secret_files(where):
        yield from _secrets_of_zigbee(path) if name.startswith(ZIGBEE2MQTT) else _secrets_of(path)
    if found := environ.get("CREDENTIALS_DIRECTORY"):
        for path in sorted(Path(found).glob("*")):
            yield from _secrets_of(path)


def _secrets_of_config(config: Path) -> Iterator[str]:
    """Yield the secrets in our configuration, also where it is no TOML, which may be why somebody asks for help."""
    try:
        text = config.read_bytes().decode("utf-8-sig", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise NotDone(f"{config} cannot be read ({error.strerror}): run this as root (sudo)") from None
    try:
        yield from secrets_in(tomllib.loads(text))
    except ValueError:
        yield from secrets_in_lines(text)


def _secret_files(where: Places) -> list[tuple[str, Path]]:
    """Return the files of this appliance that hold secrets; of a laptop there are none where we may not look."""
    if where.config.parent != where.etc and os.geteuid() != 0:
        return []
    found = [(name, path) for name, path in where.secrets() if path.suffix != ".pem"]  # certificates are everybody's
    if not all(os.access(path, os.R_OK) for _, path in found):
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


def _secrets_of_zigbee(path: Path) -> Iterator[str]:
    """Yield the keys and passwords in a file of Zigbee2MQTT, keys as every program may write them."""
    text = path.read_text("utf-8", errors="replace")
    found = [*secrets_in_lines(text)]
    with suppress(ValueError, RecursionError):
        found += secrets_in(json.loads(text))
    for key in listed_keys(text):
        yield from key_forms(key)
    for secret in found:
        if _HEX_KEY.fullmatch(secret):
            yield from key_forms(bytes.fromhex(secret))
        elif len(secret) >= _SHORTEST:  # counters are beside the keys
            yield secret
