"""Shelly's RPC frames: reading, writing, dating and authenticating them."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Any

import orjson
import pytest
from aioshelly.rpc_device.wsrpc import AuthData
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_energy.devices.shelly_rpc import (
    Challenge,
    Frame,
    FrameAuth,
    challenge,
    device_id,
    own_time,
    parse_frame,
    request,
)
from edge_energy.errors import UnreadablePayload
from tests.fuzz_corpus.hostile import PAYLOADS, any_payloads

REALM = "shellypro1pm-ec62608ab9a4"
FIRMWARE_1 = (
    '{"auth_type": "digest", "nonce": 1707272138, "nc": 1, "realm": "shellypro1pm-ec62608ab9a4", '
    '"algorithm": "SHA-256"}'
)
NONCE_2 = "0NHS09TV1tfY2drb3N3e3+Dh4uPk5ebn6Onq6+zt7u/w8fLz9PX29/j5+vv8/f4="
FIRMWARE_2 = orjson.dumps(
    {"auth_type": "digest", "nonce": NONCE_2, "nc": 1, "realm": REALM, "algorithm": "SHA-256", "stale": True}
).decode()
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
FRAMES = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("src", "dst", "method", "id", "params", "result", "error"), JSON)
).map(orjson.dumps)


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("shellypro1pm-ec62608ab9a4", "shelly-ec62608ab9a4"),
        ("ShellyPlugSG3-8CBFEA99A7F8", "shelly-8cbfea99a7f8"),
        ("shelly1pm-A1B2C3", "shelly-a1b2c3"),
        ("shellyplug-s-A1B2C3", "shelly-a1b2c3"),
        ("EC62608AB9A4", "shelly-ec62608ab9a4"),
        ("shelly-ec62608ab9a4", "shelly-ec62608ab9a4"),
        ("ec62608a", None),
        ("A1B2C3", None),
        ("facade", None),
        ("my-house-facade", None),
        ("shellypro1pm", None),
        ("shellypro1pm-ec62608ab9a", None),
        ("shelly1pm-A1B2C3\n", None),
        ("shelly/1pm-A1B2C3", None),
        ("\N{LATIN SMALL LETTER LONG S}helly1pm-A1B2C3", None),
        ("shelly1pm-" + "a-" * 100 + "A1B2C3", None),
        ("", None),
    ],
)
def test_device_ids(name: str, device: str | None) -> None:
    """One device has one id, whatever way it says its name; what is no Shelly has none."""
    assert device_id(name) == device


@given(st.text())
def test_any_name_has_an_id_or_none(name: str) -> None:
    """An id is its own id, and one of the two forms."""
    device = device_id(name)
    assert device is None or (device_id(device) == device and len(device) in (13, 19))


def test_a_notification() -> None:
    """A notification of a real device becomes a frame."""
    raw = (
        b'{"src":"shellyplus1pm-c049ef8cf4e0","dst":"ws","method":"NotifyStatus","params":{"ts":1707806460.65,'
        b'"switch:0":{"id":0,"aenergy":{"by_minute":[0,0,0],"minute_ts":1707806459,"total":1444.015}}}}'
    )
    frame = parse_frame(raw)
    assert frame[:3] == ("shellyplus1pm-c049ef8cf4e0", "NotifyStatus", None)
    assert frame.params["switch:0"]["aenergy"]["total"] == 1444.015
    assert parse_frame(raw.decode()) == frame


@pytest.mark.parametrize(
    ("raw", "frame"),
    [
        (b'{"id":0,"src":"x","result":{"was_on":true}}', Frame("x", None, 0, {}, {"was_on": True}, None)),
        (b'{"id":"a","src":"x","result":null}', Frame("x", None, "a", {}, None, None)),
        (
            b'{"id":1,"src":"x","dst":"y","error":{"code":-103,"message":"Missing required \'id\'"}}',
            Frame("x", None, 1, {}, None, (-103, "Missing required 'id'")),
        ),
        (b'{"id":1,"error":{"code":-104}}', Frame("", None, 1, {}, None, (-104, ""))),
        (b'{"id":1,"error":{"code":404,"message":["x"]}}', Frame("", None, 1, {}, None, (404, ""))),
        (b'{"src":"x","method":"NotifyEvent","params":null}', Frame("x", "NotifyEvent", None, {}, None, None)),
    ],
)
def test_answers_and_errors(raw: bytes, frame: Frame) -> None:
    """Answers have their number, and a result or an error with its code."""
    assert parse_frame(raw) == frame


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not JSON"),
        (b'{"src":"x","method":"Not', "not JSON"),
        (b"[]", "a JSON list, not an object"),
        (b"{}", "no RPC frame"),
        (b'{"id":1,"src":"x"}', "no RPC frame"),
        (b'{"src":5,"method":"x"}', "src is a JSON int"),
        (b'{"src":"x","method":true}', "method is a JSON bool"),
        (b'{"method":"x","id":true}', "id is a JSON bool"),
        (b'{"method":"x","id":1.5}', "id is a JSON float"),
        (b'{"method":"x","params":[]}', "params are a JSON list"),
        (b'{"id":1,"error":"no"}', "error is no object"),
        (b'{"id":1,"error":{"code":"401"}}', "error is no object with a numeric code"),
        (b'{"method":"' + b"x" * 129 + b'"}', "method is longer than 128"),
        (b'{"method":"x","params":' + b'{"a":' * 16 + b"1" + b"}" * 16 + b"}", "nests deeper than 16"),
        (b'{"result":' + b"[" * 16 + b"]" * 16 + b"}", "nests deeper than 16"),
        (b'{"method":"x"}' + b" " * 2**20, "larger than 1 MiB"),
        ('{"method":"\ud800"}', "not JSON"),
    ],
)
def test_unreadable_frames_say_why(raw: bytes | str, reason: str) -> None:
    """Whoever looks at what was kept aside reads what was wrong with it."""
    with pytest.raises(UnreadablePayload, match=reason):
        parse_frame(raw)


@settings(deadline=None)
@given(FRAMES | any_payloads | st.text())
def test_any_bytes_are_a_frame_or_unreadable(raw: bytes | str) -> None:
    """Nothing that a device sends raises anything but UnreadablePayload, on the way to its time and challenge."""
    with suppress(UnreadablePayload):
        frame = parse_frame(raw)
        assert type(frame.params) is dict
        own_time(frame.params)
        if frame.error:
            challenge(frame.error[1])


@pytest.mark.parametrize("name", PAYLOADS)
def test_hostile_payloads(name: str) -> None:
    """Each hostile payload is refused: none is a frame."""
    with pytest.raises(UnreadablePayload):
        parse_frame(PAYLOADS[name])


def test_requests_are_read_as_they_were_written() -> None:
    """A request has what it must, and nothing that it need not."""
    assert orjson.loads(request(7, "Shelly.GetStatus", None, src="pi")) == {
        "id": 7,
        "src": "pi",
        "method": "Shelly.GetStatus",
    }
    raw = request(8, "Switch.Set", {"id": 0, "on": True}, src="pi", auth={"realm": REALM})
    assert orjson.loads(raw)["auth"] == {"realm": REALM}
    assert parse_frame(raw) == Frame("pi", "Switch.Set", 8, {"id": 0, "on": True}, None, None)


@pytest.mark.parametrize(
    ("ts", "time"),
    [
        (1707806460.65, 1_707_806_460_650_000_000),
        (1705084199, 1_705_084_199_000_000_000),
        (1788945300.02, 1_788_945_300_020_000_000),
        (5.01, None),
        (1_577_836_799.9, None),
        (4_102_444_801, None),
        (1e308, None),
        (10**400, None),
        (-1, None),
        (float("nan"), None),
        (True, None),
        ("1707806460", None),
        (None, None),
        ([], None),
    ],
)
def test_own_times(ts: object, time: int | None) -> None:
    """The device's own time dates a reading to the millisecond; its uptime, before it knows the date, does not."""
    assert own_time({"ts": ts}) == time
    assert own_time({}) is None


def test_challenges_of_both_firmwares() -> None:
    """A number as the nonce, or text with its padding; `stale` says that the password is not to blame."""
    assert challenge(FIRMWARE_1) == Challenge(REALM, 1707272138, 1, stale=False)
    assert challenge(FIRMWARE_2) == Challenge(REALM, NONCE_2, 1, stale=True)


@pytest.mark.parametrize(
    ("nc", "count"), [("3", 3), (3, 3), (None, 1), (0, 1), (-1, 1), ("x", 1), (2**40, 1), ([], 1)]
)
def test_the_count_of_a_challenge(nc: object, count: int) -> None:
    """Some devices give it as text; what is no count is 1."""
    found = challenge(orjson.dumps({**orjson.loads(FIRMWARE_1), "nc": nc}).decode())
    assert found is not None
    assert found.nc == count


@pytest.mark.parametrize(
    "change",
    [
        {"auth_type": "basic"},
        {"algorithm": "MD5"},
        {"algorithm": None},
        {"realm": ""},
        {"realm": 5},
        {"realm": "x" * 129},
        {"nonce": None},
        {"nonce": ""},
        {"nonce": True},
        {"nonce": 1.5},
        {"nonce": "x" * 257},
    ],
)
def test_challenges_that_nobody_can_answer(change: dict[str, Any]) -> None:
    """What is no challenge for a SHA-256 digest is none."""
    assert challenge(orjson.dumps({**orjson.loads(FIRMWARE_1), **change}).decode()) is None


@pytest.mark.parametrize("message", ["", "Unauthorized", "[]", "null", "{", '{"a":' * 3000, " " * 2000 + FIRMWARE_1])
def test_messages_that_are_no_challenge(message: str) -> None:
    """An error message in words is no challenge."""
    assert challenge(message) is None


def taken(text: str, auth: FrameAuth) -> None:
    found = challenge(text)
    assert found is not None
    auth.take(found)


@pytest.mark.parametrize("text", [FIRMWARE_1, FIRMWARE_2])
def test_the_response_is_what_an_independent_client_sends(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the same client nonces, aioshelly proves the same password with the same frames."""
    monkeypatch.setattr(secrets, "token_bytes", bytes)
    other = AuthData(REALM, "admin", "pässwörd")
    other.update_challenge(orjson.loads(text))
    auth = FrameAuth(REALM, "pässwörd", lambda: "AAAAAAAAAAAAAAAAAAAAAA==")
    taken(text, auth)
    for _ in range(3):
        assert auth.sign() == other.get_auth()


def test_a_known_response() -> None:
    """A response that was computed apart, by the documented formula."""
    auth = FrameAuth("shellypm-a1b2c3", "open sesame", lambda: "c0ffee")
    auth.take(Challenge("shellypm-a1b2c3", 1700000001, 1, stale=False))
    assert auth.sign() == {
        "realm": "shellypm-a1b2c3",
        "username": "admin",
        "nonce": 1700000001,
        "nc": 1,
        "cnonce": "c0ffee",
        "response": "f5164bd79641e91bff7327951023d8acb1a3dbac2e34ccca5251e359af943cc4",
        "algorithm": "SHA-256",
    }


def test_the_count_goes_up_and_begins_again_with_a_new_nonce() -> None:
    """Firmware 2 takes every count of a nonce once, and the first must be 1."""
    auth = FrameAuth(REALM, "secret", secrets.token_hex)
    assert auth.sign() is None
    taken(FIRMWARE_1, auth)
    signed = [auth.sign() or {} for _ in range(3)]
    assert [one["nc"] for one in signed] == [1, 2, 3]
    assert len({one["response"] for one in signed}) == len({one["cnonce"] for one in signed}) == 3
    taken(FIRMWARE_1, auth)  # the same nonce: its counts are used up
    assert (auth.sign() or {})["nc"] == 4
    taken(FIRMWARE_2, auth)
    again = auth.sign() or {}
    assert (again["nc"], again["nonce"]) == (1, NONCE_2)


def test_another_device_gets_no_proof() -> None:
    """A challenge for another realm is not answered, nor with the nonce from before."""
    auth = FrameAuth(REALM, "secret", secrets.token_hex)
    taken(FIRMWARE_1, auth)
    auth.take(Challenge("shellyother-000000000000", 1, 1, stale=False))
    assert auth.sign() is None


def test_the_password_is_in_nothing_that_is_sent_or_shown() -> None:
    """Neither the frame nor the object's text holds it."""
    auth = FrameAuth(REALM, "hunter2-secret", secrets.token_hex)
    taken(FIRMWARE_2, auth)
    assert b"hunter2" not in orjson.dumps(auth.sign())
    assert "hunter2" not in repr(auth)
