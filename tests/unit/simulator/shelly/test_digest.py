"""The device lets in who knows the password, by the nonce rules of its firmware."""

from __future__ import annotations

import hashlib
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.shelly.digest import MOST_FAILURES, NONCES, THROTTLE, Digest, Refusal

REALM = "shellypro1pm-ec6260515763"


def sha(*parts: str) -> str:
    return hashlib.sha256(":".join(parts).encode()).hexdigest()


def device(firmware: int, life: float = 3600) -> Digest:
    digest = Digest(REALM, firmware, Random(1), life)
    digest.set_password("right")
    return digest


def challenge(refusal: Refusal | None) -> dict[str, Any]:
    assert refusal is not None
    assert refusal.code == 401, refusal
    message: dict[str, Any] = orjson.loads(refusal.message)
    return message


def auth(nonce: int | str, count: int = 1, *, word: str = "right") -> dict[str, Any]:
    """Sign a frame as a client does, here written down a second time."""
    ha1, ha2 = sha("admin", REALM, word), sha("dummy_method", "dummy_uri")
    response = sha(ha1, str(nonce), str(count), "c", "auth", ha2)
    return {
        "realm": REALM,
        "username": "admin",
        "nonce": nonce,
        "nc": count,
        "cnonce": "c",
        "response": response,
        "algorithm": "SHA-256",
    }


@pytest.mark.parametrize("firmware", [1, 2])
def test_a_frame_gets_in_with_the_password_only(firmware: int) -> None:
    """Challenge, right answer, wrong answer."""
    digest = device(firmware)
    nonce = challenge(digest.check_frame(None, 0))["nonce"]
    assert digest.check_frame(auth(nonce, word="wrong"), 0) is not None
    assert digest.check_frame(auth(nonce), 0) is None


def test_without_a_password_everybody_gets_in() -> None:
    """Authentication is off as the device comes from the shop."""
    digest = Digest(REALM, 2, Random(1))
    assert digest.check_frame(None, 0) is None
    assert digest.check_header(None, "GET", "/rpc", 0) is None


def test_nonces_look_as_in_the_firmware() -> None:
    """A number in firmware 1, hexadecimal in its header; base64 with `=` in firmware 2."""
    one = device(1).check_frame(None, 0)
    number = challenge(one)["nonce"]
    assert isinstance(number, int)
    assert one is not None
    assert f'nonce="{number:x}"' in (one.header or "")
    two = challenge(device(2).check_frame(None, 0))["nonce"]
    assert two.endswith("=")


def test_firmware_1_takes_any_count_for_ever() -> None:
    """Clients that never count, and keep a nonce for weeks, work."""
    digest = device(1)
    nonce = challenge(digest.check_frame(None, 0))["nonce"]
    for moment in (0, 1, 1e6):
        assert digest.check_frame(auth(nonce), moment) is None


@given(st.lists(st.integers(0, 6), max_size=12))
def test_firmware_2_counts_from_1_and_only_upwards(counts: list[int]) -> None:
    """Whatever a client sends, what is accepted begins at 1 and strictly grows."""
    digest = device(2)
    nonce = challenge(digest.check_frame(None, 0))["nonce"]
    accepted = [count for count in counts if digest.check_frame(auth(nonce, count), 0) is None]
    assert accepted[:1] in ([], [1])
    assert accepted == sorted(set(accepted))
    assert (1 in accepted) == (1 in counts)


def test_an_old_nonce_of_firmware_2_is_stale() -> None:
    """After its life the right answer gets `stale`, which tells the client not to doubt its password."""
    digest = device(2, life=60)
    nonce = challenge(digest.check_frame(None, 0))["nonce"]
    assert digest.check_frame(auth(nonce), 59) is None
    refusal = digest.check_frame(auth(nonce, 2), 60)
    assert challenge(refusal)["stale"] is True
    assert refusal is not None
    assert (refusal.header or "").endswith("stale=true")
    assert digest.check_frame(auth(challenge(refusal)["nonce"]), 60) is None


@pytest.mark.parametrize("firmware", [1, 2])
def test_a_reboot_forgets_nonces(firmware: int) -> None:
    """A client has to ask for a new one."""
    digest = device(firmware)
    nonce = challenge(digest.check_frame(None, 0))["nonce"]
    digest.boot()
    assert challenge(digest.check_frame(auth(nonce), 1))["nonce"] != nonce


def test_firmware_2_gives_out_32_nonces_and_then_pauses() -> None:
    """429 for two seconds; then the least used nonce is given up for the new one, the used one stays good."""
    digest = device(2)
    used = challenge(digest.check_frame(None, 0))["nonce"]
    assert digest.check_frame(auth(used), 0) is None
    unused = [challenge(digest.check_frame(None, 0))["nonce"] for _ in range(NONCES - 1)]
    assert digest.check_frame(None, 1) == Refusal(429, "Too many requests")
    assert digest.check_frame(None, 1 + THROTTLE / 2) == Refusal(429, "Too many requests")
    assert challenge(digest.check_frame(None, 1 + THROTTLE))["nonce"] not in unused
    assert digest.check_frame(auth(used, 2), 4) is None
    assert digest.check_frame(auth(unused[0]), 4) == Refusal(429, "Too many requests")
    assert digest.check_frame(auth(unused[1]), 4) is None


def test_too_many_wrong_answers_are_answered_429() -> None:
    """Until ten minutes are over; who answers right is let in all the while."""
    digest = device(2)
    nonce = challenge(digest.check_frame(None, 0))["nonce"]
    for _ in range(MOST_FAILURES):
        refusal = digest.check_frame(auth(nonce, word="wrong"), 0)
    assert refusal == Refusal(429, "Too many failed authentication attempts")
    assert digest.check_frame(None, 1) == refusal
    assert digest.check_frame(auth(nonce), 2) is None
    challenge(digest.check_frame(None, 601))


def test_a_header_is_bound_to_its_method_and_its_uri() -> None:
    """A signature of one request is none for another."""
    digest = device(2)
    nonce = challenge(digest.check_header(None, "GET", "/rpc/Shelly.GetStatus", 0))["nonce"]
    ha1, ha2 = sha("admin", REALM, "right"), sha("GET", "/rpc/Shelly.GetStatus")
    response = sha(ha1, nonce, "00000001", "c", "auth", ha2)
    header = (
        f'Digest username="admin", realm="{REALM}", nonce="{nonce}", uri="/rpc/Shelly.GetStatus", '
        f'response="{response}", algorithm=SHA-256, qop=auth, nc=00000001, cnonce="c"'
    )
    assert digest.check_header(header, "GET", "/rpc/Switch.Set?id=0&on=false", 0) is not None
    assert digest.check_header(header, "POST", "/rpc/Shelly.GetStatus", 0) is not None
    assert digest.check_header(header, "GET", "/rpc/Shelly.GetStatus", 0) is None


@given(st.text(max_size=80), st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=5), max_size=8))
def test_nonsense_is_refused(header: str, frame: dict[str, Any]) -> None:
    """Neither a strange header nor a strange frame gets in or breaks anything."""
    for firmware in (1, 2):
        digest = device(firmware)
        assert digest.check_header(header, "GET", "/rpc", 0) is not None
        assert digest.check_header(f"Digest {header}", "GET", "/rpc", 0) is not None
        assert digest.check_frame(frame, 0) is not None
