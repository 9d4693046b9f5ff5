"""Where settings come from: the file, the environment, credentials; merged, each value with its origin.

`EDGE_ENERGY_…` variables override credentials, and credentials override the file. The names of older
installations override nothing: where they say something else, nobody knows which one is out of date.
"""

from __future__ import annotations

import os
import re
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_energy.config.problems import ENVIRONMENT, Location, line
from edge_energy.config.tree import Sources
from edge_energy.config.values import timezone
from edge_energy.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

DEFAULT_ID = "house-1"
DEFAULT_PATH = Path("/etc/edge-energy/edge-energy.toml")
FILE_VARIABLE = ENVIRONMENT + "CONFIG"
ALIASES: dict[str, Location] = {
    "MQTT_BROKER_ADDRESS": ("mqtt", 0, "host"),
    "MQTT_BROKER_PORT": ("mqtt", 0, "port"),
    "MQTT_CLIENT_ID": ("mqtt", 0, "client_id"),
    "INFLUXDB_URL": ("influxdb", "url"),
    "INFLUXDB_ORG": ("influxdb", "org"),
    "INFLUXDB_BUCKET": ("influxdb", "bucket"),
    "INFLUXDB_TOKEN": ("influxdb", "token"),
    "KAFKA_BROKER": ("kafka", "brokers"),
    "KAFKA_TOPIC": ("kafka", "readings_topic"),
}
_NAMED_AFTER_US: dict[Location, str] = {
    ("kafka", "group"): "edge-energy-",
    ("pubsub", "send_command_subscription"): "send_command-",
}
"""Settings that each appliance has for itself, unless they are set: a prefix, and the id of the appliance."""


def config_path(option: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the configuration file: the one of the command line, of the environment, or the default."""
    return option or Path(environ.get(FILE_VARIABLE) or DEFAULT_PATH)


def gather(root: type[BaseModel], option: Path | None, environ: Mapping[str, str]) -> Sources:
    """Merge all sources. Raises `ConfigError` at once where the file cannot be read or is not TOML."""
    file = config_path(option, environ)
    sources = Sources(root, file)
    # Only the default file may be absent; whoever names one wants it to be read.
    named = option is not None or bool(environ.get(FILE_VARIABLE))
    sources.tree.update(_toml(file, named=named))
    _environment(sources, environ)
    for name, location in ALIASES.items():
        if environ.get(name):
            sources.agree(location, environ[name], name)
    if directory := environ.get("CREDENTIALS_DIRECTORY"):
        _credentials(sources, Path(directory))
    _machine(sources, environ)
    return sources


def _toml(file: Path, *, named: bool) -> dict[str, Any]:
    text = ""
    try:
        text = file.read_bytes().decode("utf-8-sig")
        return tomllib.loads(text)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not named:
            return {}
        problem = f"{file}: cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        row = error.object.count(b"\n", 0, error.start) + 1
        problem = f"{file}: line {row}: not UTF-8; save the file in this encoding"
    except tomllib.TOMLDecodeError as error:
        end = f"line {text.count(chr(10)) + 1}, column {len(text) - text.rfind(chr(10))}"
        what, _, where = str(error).removesuffix(")").rpartition(" (at ")
        problem = f"{file}: {end if where == 'end of document' else where}: not valid TOML: {what}"
    raise ConfigError([problem])


def _environment(sources: Sources, environ: Mapping[str, str]) -> None:
    # Numbers in the order of numbers, so that a list is filled from its beginning.
    for name in sorted(environ, key=lambda name: [part.zfill(9) for part in name.split("__")]):
        parts = name.removeprefix(ENVIRONMENT).split("__")
        if not name.startswith(ENVIRONMENT) or name == FILE_VARIABLE:
            continue
        if len(parts) < 2 or not all(parts) or name != name.upper():
            text = f"no such setting; expected {ENVIRONMENT}SECTION__KEY in capitals, with two underscores"
            sources.problems.append(f"{name}: {text}")
        else:
            sources.put(_location(parts), environ[name], name)


def _credentials(sources: Sources, directory: Path) -> None:
    try:
        files = sorted(file for file in directory.iterdir() if file.is_file())
    except OSError as error:
        sources.problems.append(f"{directory}: cannot be read: {error.strerror} ($CREDENTIALS_DIRECTORY)")
        return
    for file in files:
        location = _location(file.name.split("."))
        if len(location) > 1 and isinstance(location[1], str) and isinstance(sources.get(location[:1]), list):
            location = (location[0], 0, *location[1:])
        # Other credentials are not ours, and a secret alone does not switch a sink on: its table does.
        known = location[0] in sources.root.model_fields
        if known and len(location) > 1 and isinstance(sources.get(location[:-1]), dict):
            _credential(sources, location, file)


def _credential(sources: Sources, location: Location, file: Path) -> None:
    try:
        value = file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        sources.problems.append(line(str(file), location, f"cannot be read: {reason}"))
        return
    origin = sources.origin(location)
    if origin == sources.file:
        sources.put(location, value, str(file))
    elif sources.get(location) is None or not origin.startswith(ENVIRONMENT):
        sources.agree(location, value, str(file))


def _machine(sources: Sources, environ: Mapping[str, str]) -> None:
    """Set the defaults that depend on the machine or on another setting."""
    if directory := environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]:
        sources.default(("appliance", "runtime_dir"), directory, "RUNTIME_DIRECTORY")
    if zone := _system_timezone(environ):
        sources.default(("appliance", "timezone"), zone)
    appliance = sources.get(("appliance", "id")) or DEFAULT_ID
    brokers = sources.get(("mqtt",))
    for index in range(len(brokers) if isinstance(brokers, list) else 0):
        sources.default(("mqtt", index, "client_id"), f"edge-energy-{appliance}")
    for location, prefix in _NAMED_AFTER_US.items():
        if isinstance(sources.get(location[:-1]), dict):
            sources.default(location, f"{prefix}{appliance}")


def _system_timezone(environ: Mapping[str, str]) -> str | None:
    link = str(Path("/etc/localtime").resolve())
    names = (environ.get("TZ", "").removeprefix(":"), link.partition("/zoneinfo/")[2])
    for name in filter(None, names):
        with suppress(ValueError):
            return timezone(name)
    return None


def _location(parts: list[str]) -> Location:
    return tuple(int(part) if re.fullmatch("[0-9]{1,9}", part) else part.lower() for part in parts)
