"""What a command from the cloud means, and that whatever else arrives is refused in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.cloud.command import EXPECTED, Wanted, parse
from edge_energy.errors import UnreadablePayload
from edge_energy.relays import mqtt_command
from edge_energy.relays.command import ID, LONGEST, SHORTEST
from edge_energy.relays.fields import LARGEST
from tests.fuzz_corpus.hostile import PAYLOADS

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = 1_795_262_400.0  # 2026-11-21T12:00:00Z
ON: dict[str, Any] = {"device_id": "shelly-1", "switch": True}


@pytest.mark.parametrize("on", [True, False])
def test_a_device_and_a_state_are_enough(on: bool) -> None:  # noqa: FBT001 - a case
    assert parse(orjson.dumps({**ON, "switch": on})) == Wanted("shelly-1", on)


def test_all_that_may_stand_in_it() -> None:
    more = {"command_id": "app:1", "for": "30m", "expires": "2026-11-21T13:00:00+01:00"}
    assert parse(orjson.dumps({**ON, **more})) == Wanted("shelly-1", True, "app:1", 1800.0, NOON)
    assert parse(orjson.dumps({**ON, **dict.fromkeys(more)})) == Wanted("shelly-1", True)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"switch": "on"}, "switch: expected true or false"),
        ({"switch": "true"}, "switch: expected"),
        ({"switch": 1}, "switch: expected"),
        ({"switch": None}, "switch: expected"),
        ({"device_id": ""}, "device_id: expected"),
        ({"device_id": None}, "device_id: expected"),
        ({"device_id": 5}, "device_id: expected"),
        ({"device_id": ["shelly-1"]}, "device_id: expected"),
        ({"device_id": "x" * 129}, "device_id: expected"),
        ({"command_id": ""}, "command_id: expected"),
        ({"command_id": "a b"}, "command_id: expected"),
        ({"command_id": "x" * 65}, "command_id: expected"),
        ({"command_id": 5}, "command_id: expected"),
        ({"for": 0}, "for: expected"),
        ({"for": "soon"}, "for: expected"),
        ({"for": "366d"}, "for: expected"),
        ({"expires": "soon"}, "expires: expected"),
        ({"expires": "2026-11-21T12:00:00"}, "expires: expected"),
        ({"issued": NOON}, "unknown key 'issued'"),
        ({"x" * 900: 1}, "unknown key 'xxx"),
    ],
)
def test_anything_else_is_refused_and_says_what_was_expected(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(UnreadablePayload, match=why):
        parse(orjson.dumps({**ON, **wrong}))


@pytest.mark.parametrize("payload", [b"", b"ON", b"null", b"[]", b"{", b"{}", b"\xff", b"{" * 500, *PAYLOADS])
def test_what_is_no_such_object_is_refused(payload: bytes) -> None:
    with pytest.raises(UnreadablePayload):
        parse(payload)


def test_it_is_bounded() -> None:
    body = orjson.dumps(ON)
    assert parse(body + b" " * (LARGEST - len(body)))
    with pytest.raises(UnreadablePayload, match="larger than"):
        parse(body + b" " * LARGEST)


def test_everything_that_may_stand_in_a_message_is_told() -> None:
    """Whoever got it wrong learns all keys from the log."""
    for key in (*ON, "command_id", "for", "expires"):
        assert f'"{key}": ' in EXPECTED


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
OPTIONAL = {"command_id": ANY | st.from_regex(ID, fullmatch=True), "for": ANY, "expires": ANY, "x": ANY}
BODIES = st.fixed_dictionaries({"device_id": ANY, "switch": st.booleans() | ANY}, optional=OPTIONAL)


@given(st.binary(max_size=50) | BODIES)
def test_nothing_raises_anything_else(given_: Any) -> None:
    """And what is understood is within its bounds."""
    try:
        wanted = parse(given_ if isinstance(given_, bytes) else orjson.dumps(given_))
    except (UnreadablePayload, orjson.JSONEncodeError):  # the latter of half a surrogate pair
        return
    assert type(wanted.on) is bool
    assert 0 < len(wanted.device) <= 128
    assert wanted.id is None or ID.fullmatch(wanted.id)
    assert wanted.for_ is None or SHORTEST <= wanted.for_ <= LONGEST


@given(st.dictionaries(st.sampled_from(["for", "expires"]), ANY))
def test_it_is_as_over_mqtt(more: dict[str, Any]) -> None:
    """One rule and one wording, whichever way a command comes."""
    try:
        orjson.dumps(more)
    except orjson.JSONEncodeError:
        return
    over_mqtt = _result(mqtt_command.parse, {"state": "ON", **more})
    ours = _result(parse, {**ON, **more})
    if isinstance(ours, Wanted) and isinstance(over_mqtt, mqtt_command.Wanted):
        assert (ours.for_, ours.expires_at) == (over_mqtt.for_, over_mqtt.expires_at)
    else:
        assert ours == over_mqtt or "larger than" in f"{ours}{over_mqtt}"


def _result(parser: Callable[[bytes], Any], body: dict[str, Any]) -> Any:
    try:
        return parser(orjson.dumps(body))
    except UnreadablePayload as error:
        return str(error)
