"""No secret survives the scrubbing, wherever it stands; what is none is still to be read."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.upkeep.scrub import (
    MASK,
    Scrubber,
    is_secret_name,
    key_forms,
    listed_keys,
    secrets_in,
    secrets_in_lines,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRETS = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zs"], exclude_characters="*"), min_size=4, max_size=30
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="*"), max_size=40)
TREES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


def forms(secret: str) -> list[str]:
    return [secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1]]


@given(SECRETS, TEXTS, TEXTS)
def test_a_known_secret_is_nowhere(secret: str, before: str, after: str) -> None:
    """As it is, as a URL writes it, as JSON writes it."""
    scrubber = Scrubber([secret])
    for form in forms(secret):
        assert secret not in scrubber.text(f"{before}{form}{after}")
        assert form not in scrubber.text(f"{before}{form}{after}")


@given(st.lists(SECRETS, min_size=1, max_size=4), TEXTS)
def test_secrets_that_are_parts_of_each_other_are_nowhere(secrets: list[str], text: str) -> None:
    """The longest goes first."""
    all_of_them = [*secrets, secrets[0] + secrets[-1], secrets[0][:4]]
    scrubbed = Scrubber(all_of_them).text(text.join(all_of_them))
    assert not [secret for secret in all_of_them if secret in scrubbed]


def texts(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        yield from tree
        yield from texts(list(tree.values()))
    elif isinstance(tree, list):
        for inner in tree:
            yield from texts(inner)


@given(SECRETS, TREES)
def test_a_tree_stays_a_tree_and_has_no_secret(secret: str, tree: Any) -> None:
    """In names and in values, however deep; it is JSON afterwards."""
    scrubbed = Scrubber([secret]).value({"a": [tree, secret], f"x{secret}": tree, "password": tree})
    assert not [text for text in texts(json.loads(json.dumps(scrubbed))) if secret in text]
    assert scrubbed["password"] == (tree if tree is None or isinstance(tree, bool) else MASK)


@given(
    st.sampled_from(["password", "token", "network_key", "api-key", "clientSecret", "MQTT_PASSWORD", "psk"]), SECRETS
)
def test_what_has_the_name_of_a_secret_is_one(name: str, secret: str) -> None:
    """Also where nobody knows it: in trees, and found in the configuration."""
    assert is_secret_name(name)
    assert Scrubber([]).value({name: secret}) == {name: MASK}
    assert set(secrets_in({"a": [{name: {"b": [secret]}}]})) >= {secret}


@pytest.mark.parametrize(
    "text",
    [
        *(
            "password=hunter2hunter2",
            "Password: hunter2hunter2",
            '{"password": "hunter2hunter2"}',
            "token='hunter2hunter2'",
        ),
        *("http://edge:hunter2hunter2@influx:8086/x", "mqtts://hunter2hunter2@broker", "?token=hunter2hunter2&a=1"),
        *(
            "Authorization: Bearer hunter2hunter2",
            "Authorization: Token hunter2hunter2",
            "authorization=Basic hunter2hunter2=",
        ),
        *(
            '{\\"token\\": \\"hunter2hunter2\\"}',
            "pass=hunter2hunter2,",
            "INFLUXDB_TOKEN=hunter2hunter2",
            "api_key = hunter2hunter2",
        ),
        "saved ee_0123abcd_" + "hunter2hunter2" * 3 + "x",
        "eyJhbGciOiJIUzI1NiJ9.hunter2hunter2.hunter2hunter2",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2hunter2\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhunter2hunter2",
    ],
)
def test_what_looks_like_a_secret_is_one(text: str) -> None:
    """In lines of a log of whatever program."""
    scrubbed = Scrubber([]).text(f"before {text} after")
    assert "hunter2" not in scrubbed
    assert scrubbed.startswith("before ")


def test_what_is_none_stays() -> None:
    """Or nobody could help with what is left."""
    line = "2026-11-21T18:00:00Z mqtt 127.0.0.1:1883: connected, zigbee2mqtt/plug-01 qos 1, lag 5 entries, port 8000"
    assert Scrubber(["hunter2hunter2"]).text(line) == line
    tree = {"webhook_auth": True, "tokens_known": None, "device": "shelly-ec62608ab9a4", "position": 5}
    assert Scrubber(["hunter2hunter2"]).value(tree) == tree


def test_a_short_secret_goes_where_it_stands_alone() -> None:
    """A password of one letter must not make everything unreadable."""
    assert Scrubber(["e"]).text("user e logged in here") == f"user {MASK} logged in here"


def test_other_writings_of_a_secret_are_known() -> None:
    """Base64, and the lines of a key."""
    secret = "first line of a key\nsecond line of it"
    encoded = base64.b64encode(secret.encode()).decode()
    scrubbed = Scrubber([secret]).text(f"{encoded} second line of it {encoded}")
    assert "second" not in scrubbed
    assert encoded not in scrubbed


def test_a_tree_without_end_is_cut_off() -> None:
    """What is too deep is not shown."""
    tree: Any = "hunter2hunter2"
    for _ in range(200):
        tree = [tree]
    assert "hunter2" not in json.dumps(Scrubber([]).value(tree))
    assert not list(secrets_in(tree))


@pytest.mark.parametrize(
    "text",
    [
        *("- Network Key: configured=0103hunter2, adapter=0103hunter2", "network key mismatch configured=1, hunter2"),
        *("network_key: [1, 3, 'hunter2', 5]", '"network_key":[1,3,"hunter2"]', "network key [1,3,hunter2,5]"),
        *(
            "network_key: [1, 3,\n  hunter2]",
            "network_key:\n  - 1\n  - hunter2\n",
            "network_key: <Buffer 01 hunter2>",
        ),
        *("networkKey: Buffer(16) [Uint8Array] [ 1, hunter2 ]", '{"key":{"type":"Buffer","data":[1,"hunter2"]}}'),
        *("--password hunter2", "-P hunter2", "--pw hunter2", '["--password", "hunter2"]', "password is hunter2"),
        *("password=ab;hunter2", "(user=a, pass=b hunter2)", "password=foo)hunter2", "sasl.password=abc,hunter2"),
        *("https://u:p/hunter2@host", "https://u:p?hunter2@host", "https://u:p#hunter2@host", "/x?sig=hunter2&a=1"),
        "key=ab&hunter2",
        "MIIE2hunter2hunter2hunter2hunter2hunter2\n a: hunter2=\n-----END PRIVATE KEY-----",
        "a: MIIE2hunter2hunter2hunter2hunter2hunter2\na: hunter2hunter2==\na: -----END RSA PRIVATE KEY-----\nafter",
    ],
)
def test_a_secret_is_one_to_its_end(text: str) -> None:
    """Whatever is in it: blanks, separators, lists, and only its end, where the log begins in the middle."""
    assert "hunter2" not in Scrubber([]).text(text)


@pytest.mark.parametrize(
    "text",
    [
        "the password is wrong, the token is not valid",
        "password=*** host=127.0.0.1 port=1883",
        "mosquitto[123]: listening",
        "see https://example.org/a?b=c",
        "connected\n-----BEGIN CERTIFICATE-----",
    ],
)
def test_what_stands_beside_a_secret_stays(text: str) -> None:
    """It is what somebody looks for."""
    assert Scrubber([]).text(text) == text


def test_a_line_without_end_takes_no_time() -> None:
    """Of hexadecimal, of blanks, of separators: what is to be scrubbed is megabytes."""
    began = time.process_time()
    for text in (
        "a1" * 50_000,
        "password=" + " ," * 50_000,
        "-" * 100_000,
        "key: [" + "x " * 50_000,
        "://a:" * 5_000,
    ):
        Scrubber([]).text(text)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("between", ["", ":", " ", ",", ", "])
def test_a_key_is_known_however_it_is_printed(between: str) -> None:
    """In hexadecimal and in numbers."""
    key = bytes(range(1, 17))
    scrubber = Scrubber(key_forms(key))
    for form in ("02x", "02X", "#04x"):
        assert scrubber.text(f"<{between.join(format(byte, form) for byte in key)}>") == f"<{MASK}>"
    if between not in ("", ":"):
        assert scrubber.text(f"<{between.join(map(str, key))}>") == f"<{MASK}>"


@pytest.mark.parametrize("style", ["[1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 13]", "block"])
def test_a_network_key_is_found_in_yaml(style: str) -> None:
    """As Zigbee2MQTT writes it, and as people do."""
    key = bytes([1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 13])
    listed = "".join(f"\n    - {number}" for number in key) if style == "block" else style
    assert list(listed_keys(f"advanced:\n  network_key: {listed}\n  pan_id: 5\n")) == [key]
    assert list(listed_keys("advanced:\n  network_key: GENERATE\n  channel: 15\n")) == []


def test_secrets_are_found_in_what_is_no_toml() -> None:
    """Behind their names, in quotes or not."""
    text = """password = "hunter2" # mine\nbroker = {user = 'u', token = 'a#b'}\n  key: plain text\nport = = 1\n"""
    assert set(secrets_in_lines(text)) >= {"hunter2", "a#b", "plain text"}
