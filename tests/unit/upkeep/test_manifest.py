"""A backup names places that this program knows, and no others, whatever is written into it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.upkeep import manifest as manifests
from edge_energy.upkeep.errors import NotDone
from edge_energy.upkeep.manifest import Item, Manifest

PARTS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}(\.[A-Za-z0-9_-]{1,5})?", fullmatch=True)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
HASHES = st.from_regex("[0-9a-f]{64}", fullmatch=True)
NAMES = st.one_of(
    st.sampled_from([manifests.CONFIG, manifests.JOURNAL, manifests.SEALED, "zigbee2mqtt/database.db"]),
    st.builds("secrets/{}".format, PARTS),
    st.builds("state/{}".format, st.lists(PARTS, min_size=1, max_size=3).map("/".join).filter(manifests.is_state)),
)
ITEMS = st.builds(Item, NAMES, st.integers(0, manifests.LARGEST_FILE), HASHES, st.integers(0, 0o777), st.just("a:b"))
MANIFESTS = st.builds(
    Manifest,
    *(TEXTS, TEXTS, TEXTS, TEXTS, st.integers(0, 2**63 - 1), st.integers(0, 9)),
    st.lists(ITEMS, max_size=5, unique_by=lambda item: item.name).map(tuple),
)
GOOD = Manifest("2026-11-21T00:00:00Z", "1", "h", "", 0, 0, (Item(manifests.CONFIG, 1, "0" * 64),))


@given(MANIFESTS)
def test_what_is_written_is_read(manifest: Manifest) -> None:
    """Nothing of a manifest is lost."""
    assert manifests.decode(manifests.encode(manifest)) == manifest


@given(st.text(max_size=60))
def test_no_name_leads_out_of_the_places_that_are_known(name: str) -> None:
    """Neither `..`, nor an absolute path, nor a link's name, nor what upkeep keeps for itself."""
    if manifests.permitted(name):
        assert name.isascii()
        assert not name.startswith(("/", "."))
        assert all(part not in ("", ".", "..") and part[0] != "." for part in name.split("/"))


@pytest.mark.parametrize(
    "name",
    [
        *("../etc/passwd", "state/../../etc/passwd", "/etc/passwd", "state//x", "state/.x", "state/a\nb", "state/"),
        *("state/journal.db-wal", "state/journal.suspect", "state/lock", "state/restoring/plan.json"),
        *("state/backups/x", "state/replaced-1/x", "zigbee2mqtt/other", "config/other.toml", "", "state/a/b/c/d/e"),
        *("state/" + "x" * 65, "secrets/a/b", "etc/../x", "state/a..b/x", "credstore/", "état/x"),
    ],
)
def test_a_name_that_is_not_ours_is_refused(name: str) -> None:
    """Whoever wrote it."""
    body = json.loads(manifests.encode(GOOD))
    body["files"][0]["name"] = name
    with pytest.raises(NotDone):
        manifests.decode(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((("format",), 2), (("format",), 0), (("format",), "1"), (("format",), True), (("kind",), "other")),
        *((("created",), "a\x1b[2J"), (("appliance",), "x" * 200), (("position",), -1), (("files",), {})),
        *((("files", 0, "size"), 2**60), (("files", 0, "size"), -1), (("files", 0, "size"), 1.5)),
        *((("files", 0, "sha256"), "x"), (("files", 0, "mode"), 0o4755), (("files", 0, "owner"), "a:b:c")),
        *((("files", 0), 5), (("files",), [None] * 2000), (("journal_id",), None), (("schema",), 2**40)),
    ],
)
def test_what_cannot_be_is_refused(place: tuple[Any, ...], value: Any) -> None:
    """Also a format that a newer release has made, which is named."""
    body: Any = json.loads(manifests.encode(GOOD))
    inner = body
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(NotDone) as caught:
        manifests.decode(json.dumps(body).encode())
    assert ("newer release" in str(caught.value)) is (value == 2 and place == ("format",))


@given(st.binary(max_size=200))
def test_anything_else_is_no_manifest(content: bytes) -> None:
    """And says so, instead of a traceback."""
    with pytest.raises(NotDone):
        manifests.decode(content)


def test_the_same_file_twice_is_refused() -> None:
    """Or the second would replace the first."""
    twice = Manifest(*("", "", "", "", 0, 0), (GOOD.files[0], GOOD.files[0]))
    with pytest.raises(NotDone, match="twice"):
        manifests.decode(manifests.encode(twice))
