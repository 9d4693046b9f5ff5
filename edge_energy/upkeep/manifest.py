"""The first file in a backup: what else is in it, and of when. No I/O.

Whoever reads a backup believes the manifest only as far as this module lets him: names lead to places that we know,
and nowhere else.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_energy.upkeep.errors import NotDone

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT = 1
KIND = "edge-energy backup"
NAME = "manifest.json"
LARGEST = 2**20
"""Bytes of a manifest."""
MOST_FILES = 1_000
LARGEST_FILE = 64 * 2**20
"""Bytes of a file that is not the journal."""
LARGEST_JOURNAL = 16 * 2**40

CONFIG = "config/edge-energy.toml"
STATE = "state/"
JOURNAL = f"{STATE}journal.db"
ZIGBEE2MQTT = "zigbee2mqtt/"
ZIGBEE2MQTT_FILES = ("database.db",)
ZIGBEE2MQTT_SECRETS = ("coordinator_backup.json", "configuration.yaml")
"""Who has the network's key, which is in both, hears everything and switches everything."""
SEALED = "secrets.sealed"
"""An archive of its own, encrypted, with all that `is_secret`."""
SECRET_PLACES = ("etc", "secrets", "tls", "credstore")
UPKEEP = ("backups", "restoring", "replaced-")
"""What upkeep itself keeps in the state directory begins so."""

_ZIGBEE2MQTT = (*ZIGBEE2MQTT_FILES, *ZIGBEE2MQTT_SECRETS)
_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}"
_KNOWN = re.compile(
    rf"{re.escape(CONFIG)}|{re.escape(SEALED)}|{ZIGBEE2MQTT}({'|'.join(map(re.escape, _ZIGBEE2MQTT))})"
    rf"|({'|'.join(SECRET_PLACES)})/{_PART}|{STATE}{_PART}(/{_PART}){{0,3}}"
)
_LONGEST_NAME = 100  # what the header of a tar file has room for
_HASH = re.compile("[0-9a-f]{64}")
OWNER = re.compile("[a-z_][a-z0-9_-]{0,31}:[a-z_][a-z0-9_-]{0,31}|")
_TEXT = re.compile(r"[\x20-\x7e]{0,100}")


class Item(NamedTuple):
    """A file: its name in the backup, bytes, SHA-256 (hexadecimal), permissions, and `user:group` or nothing."""

    name: str
    size: int
    sha256: str
    mode: int = 0o600
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """`created` is UTC in ISO 8601; without a journal its id is empty and its position 0."""

    created: str
    version: str
    appliance: str
    journal_id: str
    position: int
    schema: int
    files: tuple[Item, ...]


def is_state(name: str) -> bool:
    """Tell whether a file of the state directory belongs into a backup, by its path there.

    The journal's own file comes by another way, and what lies around it is of the running daemon.
    """
    return not is_ours(name) and permitted(f"{STATE}{name}")


def is_ours(name: str) -> bool:
    """Tell whether a file of the state directory is of the journal, of the running daemon, or of upkeep."""
    first = name.partition("/")[0]
    return first == "lock" or first.startswith(("journal.", *UPKEEP))


def is_secret(name: str) -> bool:
    """Tell whether a file leaves the appliance encrypted, or not at all."""
    kind, _, rest = name.partition("/")
    return kind in SECRET_PLACES or (f"{kind}/" == ZIGBEE2MQTT and rest in ZIGBEE2MQTT_SECRETS)


def binding(files: Iterable[Item]) -> bytes:
    """Return what ties the secrets to all the other files of their backup: changed, those do not get them."""
    others = [(item.name, item.size, item.sha256, item.mode, item.owner) for item in files if item.name != SEALED]
    return json.dumps(sorted(others)).encode()


def permitted(name: str) -> bool:
    """Tell whether a name is one that a backup may have."""
    return len(name) <= _LONGEST_NAME and _KNOWN.fullmatch(name) is not None and ".." not in name


def encode(manifest: Manifest) -> bytes:
    """Return the content of the manifest's file."""
    files = [item._asdict() for item in manifest.files]
    body = {"kind": KIND, "format": FORMAT, **asdict(manifest), "files": files}
    return json.dumps(body, indent=1).encode()


def decode(content: bytes) -> Manifest:
    """Return what a manifest says. Raises `NotDone` where it is none, is too new, or names what must not be."""
    try:
        body = json.loads(content)
        number = _int(body["format"], 1, 10**6) if body["kind"] == KIND else 0
    except (ValueError, TypeError, KeyError, RecursionError):
        number = 0
    if not number:
        raise NotDone("this is no backup of edge-energy")
    if number > FORMAT:
        raise NotDone(f"the backup has format {number}, this release knows {FORMAT}: restore it with a newer release")
    try:
        return _manifest(body)
    except (ValueError, TypeError, KeyError) as error:
        raise NotDone(f"the backup is not as this program writes it: {error}") from None


def _manifest(body: dict[str, Any]) -> Manifest:
    listed = body["files"]
    if type(listed) is not list or len(listed) > MOST_FILES:
        raise ValueError("the list of its files")
    files = tuple(_item(each) for each in listed)
    if len({item.name for item in files}) != len(files):
        raise ValueError("a file is in it twice")
    return Manifest(
        _text(body["created"]),
        _text(body["version"]),
        _text(body["appliance"]),
        _text(body["journal_id"]),
        _int(body["position"], 0, 2**63 - 1),
        _int(body["schema"], 0, 2**31),
        files,
    )


def _item(body: dict[str, Any]) -> Item:
    name = body["name"]
    if type(name) is not str or not permitted(name):
        raise ValueError(f"a file in it is named {str(name)[:_LONGEST_NAME]!r}")
    if name.startswith(STATE) and name != JOURNAL and not is_state(name.removeprefix(STATE)):
        raise ValueError(f"{name} does not belong into a backup")
    size = _int(body["size"], 0, LARGEST_JOURNAL if name == JOURNAL else LARGEST_FILE)
    sha256, owner = body["sha256"], body["owner"]
    if not _HASH.fullmatch(sha256) or not OWNER.fullmatch(owner):
        raise ValueError(f"hash or owner of {name}")
    return Item(name, size, sha256, _int(body["mode"], 0, 0o777), owner)


def _int(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{str(value)[:40]!r} is no number from {least} to {most}")
    return value


def _text(value: Any) -> str:
    if type(value) is not str or not _TEXT.fullmatch(value):
        raise ValueError(f"{str(value)[:40]!r}")
    return value
