"""What a message on `…/set` means, and that whatever else arrives is refused in words."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.relays.command import ID, LONGEST, SHORTEST
from edge_energy.relays.fields import LARGEST
from edge_energy.relays.mqtt_command import EXPECTED, NotUnderstood, Wanted, parse

NOON = 1_795_262_400.0  # 2026-11-21T12:00:00Z


@pytest.mark.parametrize("payload", [b"ON", b"on", b"On", b" ON\n", b'{"state": "ON"}', b'{"state": " on "}'])
def test_on(payload: bytes) -> None:
    assert parse(payload) == Wanted(on=True)


@pytest.mark.parametrize("payload", [b"OFF", b"off", b'{"state":"off"}'])
def test_off(payload: bytes) -> None:
    assert parse(payload) == Wanted(on=False)


@pytest.mark.parametrize(
    ("told", "seconds"), [(1800, 1800.0), ("30m", 1800.0), (0.1, SHORTEST), ("100ms", SHORTEST), ("365d", LONGEST)]
)
def test_for(told: object, seconds: float) -> None:
    assert parse(orjson.dumps({"state": "ON", "for": told})) == Wanted(on=True, for_=seconds)


@pytest.mark.parametrize(
    "told",
    [NOON, int(NOON), int(NOON * 1000), "2026-11-21T12:00:00Z", "2026-11-21T13:00:00+01:00", "2026-11-21 12:00:00Z"],
)
def test_expires(told: object) -> None:
    assert parse(orjson.dumps({"state": "OFF", "expires": told})) == Wanted(on=False, expires_at=NOON)
    assert parse(orjson.dumps({"state": "OFF", "issued": told})) == Wanted(on=False, issued_at=NOON)


def test_an_id_is_the_sender_s() -> None:
    assert parse(b'{"state": "ON", "id": "ha:boiler-1.2_3"}') == Wanted(on=True, id="ha:boiler-1.2_3")


def test_nothing_is_as_good_as_null() -> None:
    assert parse(b'{"state": "ON", "id": null, "for": null, "expires": null}') == Wanted(on=True)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"toggle", "neither ON nor OFF"),
        (b"1", "neither ON nor OFF"),
        (b"true", "neither ON nor OFF"),
        (b'"ON"', "neither ON nor OFF"),
        (b"[]", "neither ON nor OFF"),
        (b"\xff\xfe", "neither ON nor OFF"),
        (b"{}", "neither ON nor OFF"),
        (b'{"state": true}', "neither ON nor OFF"),
        (b'{"state": ["ON"]}', "neither ON nor OFF"),
        (b'{"state": "ON"', "not JSON"),
        (b'{"state": "ON", "on": true}', "unknown key 'on'"),
        (b'{"state": "ON", "id": 7}', "id: expected"),
        (b'{"state": "ON", "id": ""}', "id: expected"),
        (b'{"state": "ON", "id": "a b"}', "id: expected"),
        (b'{"state": "ON", "id": "' + b"a" * 65 + b'"}', "id: expected"),
        (b'{"state": "ON", "for": 0}', "for: expected"),
        (b'{"state": "ON", "for": -1}', "for: expected"),
        (b'{"state": "ON", "for": 0.09}', "for: expected"),
        (b'{"state": "ON", "for": 31536001}', "for: expected"),
        (b'{"state": "ON", "for": true}', "for: expected"),
        (b'{"state": "ON", "for": "soon"}', "for: expected"),
        (b'{"state": "ON", "for": "366d"}', "for: expected"),
        (b'{"state": "ON", "for": 1e300}', "for: expected"),
        (b'{"state": "ON", "expires": "soon"}', "expires: expected"),
        (b'{"state": "ON", "expires": true}', "expires: expected"),
        (b'{"state": "ON", "expires": "2026-11-21T12:00:00"}', "expires: expected"),
        (b'{"state": "ON", "expires": "2026-11-21"}', "expires: expected"),
        (b"ON" + b" " * LARGEST, "larger than"),
        (b"{" * 500, "not JSON"),
    ],
)
def test_anything_else_is_refused_and_says_what_was_expected(payload: bytes, why: str) -> None:
    with pytest.raises(NotUnderstood, match=why):
        parse(payload)


@pytest.mark.parametrize("wrong", [{"for": "x"}, {"issued": "x"}, {"expires": "x"}, {"x": 1}, {"state": "x"}])
def test_what_is_refused_keeps_its_id(wrong: dict[str, Any]) -> None:
    """Whoever waits for the answer finds it by that."""
    with pytest.raises(NotUnderstood) as caught:
        parse(orjson.dumps({"state": "ON", "id": "mine-1", **wrong}))
    assert caught.value.id == "mine-1"


def test_everything_that_may_stand_in_a_message_is_told() -> None:
    """Whoever got it wrong learns all keys from the answer."""
    for key in ("state", "id", "for", "issued", "expires"):
        assert f'"{key}": ' in EXPECTED


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _encoded(body: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:  # half a surrogate pair
        return b'{"state": "\\ud800"}'


MOMENTS = st.datetimes().map(lambda moment: f"{moment.isoformat()}+14:00")
OPTIONAL = {"id": ANY, "for": ANY, "issued": ANY | MOMENTS, "expires": ANY | MOMENTS, "x": ANY}
BODIES = st.fixed_dictionaries({"state": st.sampled_from(["ON", "OFF"]) | ANY}, optional=OPTIONAL)


@given(st.binary(max_size=50) | BODIES.map(_encoded))
def test_nothing_raises_anything_else(payload: bytes) -> None:
    """And what is understood is within its bounds."""
    try:
        wanted = parse(payload)
    except NotUnderstood as error:
        wanted = Wanted(on=False, id=error.id)
    assert type(wanted.on) is bool
    assert wanted.id is None or ID.fullmatch(wanted.id)
    assert wanted.for_ is None or SHORTEST <= wanted.for_ <= LONGEST
