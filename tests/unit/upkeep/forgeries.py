"""Backups as an attacker, or a bad disk, makes them."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from typing import TYPE_CHECKING, Any

from edge_energy.upkeep import archive, manifest
from edge_energy.upkeep.manifest import Item, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator


def bad_archives(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what is wrong, and the content of the file; `good` is a backup."""
    half = len(good) // 2
    yield "truncated", good[:half]
    yield "without its last bytes", good[:-4]
    yield "changed", good[:half] + bytes([good[half] ^ 0xFF]) + good[half + 1 :]
    yield "parent", _with(_member("../../../../tmp/evil"))
    yield "link", _with(_member("state/link", type=tarfile.SYMTYPE, linkname="/etc"))
    yield "device", _with(_member("state/device", type=tarfile.BLKTYPE, devmajor=8))
    yield "huge", _with(_member("state/huge", size=2**62))
    for name in ("../evil", "/etc/evil", "state/../../evil", "state/journal.suspect", "secrets/mqtt.password"):
        item = Item(name, 0, hashlib.sha256(b"").hexdigest())
        content = manifest.encode(Manifest("", "1", "h", "", 0, 0, (item,)))
        plain = _member(manifest.NAME, size=len(content)).tobuf(tarfile.GNU_FORMAT)
        plain += content + bytes(-len(content) % tarfile.BLOCKSIZE) + _member(name).tobuf(tarfile.GNU_FORMAT)
        yield name, gzip.compress(plain + bytes(1024))
    endless = _member(manifest.NAME, size=2**40).tobuf(tarfile.GNU_FORMAT) + bytes(10**6)
    yield "a manifest without end", gzip.compress(endless)


def _with(member: tarfile.TarInfo, content: bytes = b"x" * 20) -> bytes:
    """Return a good archive with one more file, which its manifest does not have."""
    packed = io.BytesIO()
    item = Item("state/ledger.db", len(content), hashlib.sha256(content).hexdigest())
    archive.write(packed, Manifest("", "1", "h", "", 0, 0, (item,)), lambda _: iter([content]))
    return gzip.compress(gzip.decompress(packed.getvalue())[:-1024] + member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


def _member(name: str, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info
