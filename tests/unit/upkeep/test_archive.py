"""An archive is read as it was written, or refused: nothing in it is followed anywhere."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_energy.upkeep import archive, manifest
from edge_energy.upkeep.errors import NotDone
from edge_energy.upkeep.manifest import Item, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("config/edge-energy.toml", "state/ledger.db", "state/journal.db")
CONTENTS = (b"[appliance]\n", bytes(range(256)) * 40, b"journal" * 200)


def packed(contents: dict[str, bytes]) -> bytes:
    items = tuple(Item(name, len(body), hashlib.sha256(body).hexdigest()) for name, body in contents.items())
    file = io.BytesIO()
    archive.write(file, Manifest("", "1", "h", "", 0, 0, items), lambda item: iter([contents[item.name]]))
    return file.getvalue()


def unpacked(content: bytes) -> dict[str, bytes]:
    return {item.name: b"".join(pieces) for item, pieces in archive.Archive(io.BytesIO(content)).contents()}


GOOD = packed(dict(zip(NAMES, CONTENTS, strict=True)))


@given(st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=3000)))
def test_what_is_packed_is_unpacked(contents: dict[str, bytes]) -> None:
    """By us, and by any tar."""
    made = packed(contents)
    assert unpacked(made) == contents
    with tarfile.open(fileobj=io.BytesIO(made)) as opened:
        members = {member.name: member for member in opened}
        assert set(members) == {manifest.NAME, *contents}
        for name, body in contents.items():
            file = opened.extractfile(members[name])
            assert file is not None
            assert file.read() == body


@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.5, 0.9, 0.99, 0.9999])
def test_a_part_of_it_is_refused(share: float) -> None:
    """A copy that was interrupted is no backup."""
    with pytest.raises(NotDone):
        unpacked(GOOD[: int(len(GOOD) * share)])


def test_every_shorter_archive_is_refused() -> None:
    """Also one that lacks its last byte."""
    for length in range(len(GOOD) - 20, len(GOOD)):
        with pytest.raises(NotDone):
            unpacked(GOOD[:length])


@settings(max_examples=300)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_one_changed_byte_is_noticed(place: int, change: int) -> None:
    """Or it changes nothing: gzip's header says when it was made, and the last bits fill up a byte."""
    damaged = bytearray(GOOD)
    damaged[place] ^= change
    try:
        found = unpacked(bytes(damaged))
    except NotDone:
        return
    assert found == dict(zip(NAMES, CONTENTS, strict=True))


def forged(change: Callable[[tarfile.TarInfo], None], last: bytes = b"") -> bytes:
    """Return an archive of the right contents with a changed second header."""
    plain = bytearray(gzip.decompress(GOOD))
    size = tarfile.TarInfo.frombuf(bytes(plain[:512]), "utf-8", "strict").size
    at = 512 + (size + 511) // 512 * 512
    info = tarfile.TarInfo.frombuf(bytes(plain[at : at + 512]), "utf-8", "strict")
    change(info)
    plain[at : at + 512] = info.tobuf(tarfile.GNU_FORMAT)[-512:]
    return gzip.compress(bytes(plain) + last)


def _link(info: tarfile.TarInfo) -> None:
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"


def _hard_link(info: tarfile.TarInfo) -> None:
    info.linkname = "/etc/passwd"


FORGERIES: dict[str, Callable[[tarfile.TarInfo], None]] = {
    "link": _link,
    "plain file with the target of a link": _hard_link,
    "hard link": lambda info: setattr(info, "type", tarfile.LNKTYPE),
    "device": lambda info: setattr(info, "type", tarfile.BLKTYPE),
    "pipe": lambda info: setattr(info, "type", tarfile.FIFOTYPE),
    "directory": lambda info: setattr(info, "type", tarfile.DIRTYPE),
    "pax header": lambda info: setattr(info, "type", tarfile.XHDTYPE),
    "sparse file": lambda info: setattr(info, "type", tarfile.GNUTYPE_SPARSE),
    "parent": lambda info: setattr(info, "name", "../../etc/passwd"),
    "absolute": lambda info: setattr(info, "name", "/etc/passwd"),
    "huge": lambda info: setattr(info, "size", 2**62),
    "shorter": lambda info: setattr(info, "size", 3),
}


@pytest.mark.parametrize("change", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_header_is_refused(change: Callable[[tarfile.TarInfo], None]) -> None:
    """Links, devices, other places, other lengths: nothing but what the manifest says."""
    with pytest.raises(NotDone):
        unpacked(forged(change))


def test_nothing_may_be_behind_the_end() -> None:
    """Neither another file nor anything else."""
    assert unpacked(forged(lambda _: None))
    with pytest.raises(NotDone, match="behind its end"):
        unpacked(forged(lambda _: None, b"x"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        gzip.compress(b"", mtime=0),
        gzip.compress(b"x" * 512, mtime=0),
        gzip.compress(bytes(2048), mtime=0),
    ],
    ids=["empty", "text", "gzip of nothing", "gzip of text", "gzip of zeros"],
)
def test_another_file_is_no_backup(content: bytes) -> None:
    """And says so, instead of a traceback."""
    with pytest.raises(NotDone):
        unpacked(content)


def test_a_file_that_changes_meanwhile_is_noticed() -> None:
    """What is in a backup is what its manifest says."""
    changing = Manifest("", "1", "h", "", 0, 0, (Item(NAMES[0], 3, hashlib.sha256(b"old").hexdigest()),))
    with pytest.raises(NotDone, match="changed while"):
        archive.write(io.BytesIO(), changing, lambda _: iter([b"new"]))
