"""Payloads that a broken or malicious device may send, and what may become of any payload."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from edge_energy.reading import is_switch, plausible

if TYPE_CHECKING:
    from edge_energy.reading import Values


def _nested(depth: int, opening: str = '{"a":', leaf: str = "1", closing: str = "}") -> bytes:
    return (opening * depth + leaf + closing * depth).encode()


PAYLOADS: dict[str, bytes] = {
    "nothing": b"",
    "spaces": b"  \n",
    "NUL": b"\0",
    "NULs": bytes(4096),
    "every byte": bytes(range(256)),
    "not UTF-8": b'{"power":\xff}',
    "not UTF-8 key": b'{"\xc3\x28":1}',
    "UTF-16": '{"power":1}'.encode("utf-16"),
    "BOM": b'\xef\xbb\xbf{"power":1}',
    "two objects": b'{"power":1}{"power":2}',
    "cut off": b'{"power":12',
    "trailing comma": b'{"power":1,}',
    "single quotes": b"{'power':1}",
    "comment": b'{"power":1/*W*/}',
    "bare word": b"online",
    "null": b"null",
    "number": b"12.5",
    "string": b'"12.5"',
    "array": b'[{"power":1}]',
    "deep arrays": b"[" * 100_000,
    "deep objects": _nested(2_000),
    "deep objects within the parser's limit": _nested(1_000),
    "nine objects": _nested(9),
    "eight objects": _nested(8),
    "deep array in an object": _nested(1, '{"power":', (b"[" * 900 + b"]" * 900).decode()),
    "NaN": b'{"power":NaN,"voltage":1}',
    "infinity": b'{"power":-Infinity}',
    "1e999": b'{"power":1e999}',
    "1e308": b'{"power":1e308,"energy":1e308,"x":1e308,"energy_increment":1e308}',
    "denormal": b'{"power":5e-324,"last_seen":5e-324}',
    "minus zero": b'{"power":-0.0}',
    "400 digits": b'{"power":' + b"9" * 400 + b"}",
    "64 bits": b'{"power":18446744073709551615,"x":18446744073709551616,"last_seen":18446744073709551615}',
    "unsigned wrap": b'{"power":429496420,"voltage":229}',
    "only an unsigned wrap": b'{"power":429496420}',
    "only nonsense": b'{"power":"a lot","state":"MAYBE","voltage":null}',
    "duplicate keys": b'{"power":1,"power":"x","power":2,"state":"ON","state":{}}',
    "lone surrogate": b'{"power":1,"x\\ud800":"\\udfff"}',
    "NUL in a key": b'{"po\\u0000wer":1,"\\u0000":2}',
    "line ends in a key": b'{"po\\nwer":1," ":2,"\\\\":3,",=":4}',
    "empty key": b'{"":1,"a":{"":{"":2}}}',
    "256 keys": json.dumps({f"k{n}": n for n in range(256)}).encode(),
    "257 keys": json.dumps({f"k{n}": n for n in range(257)}).encode(),
    "50,000 keys": json.dumps({f"k{n}": n for n in range(50_000)}).encode(),
    "long key": json.dumps({"k" * 129: 1}).encode(),
    "endless key": json.dumps({"k" * 500_000: 1}).encode(),
    "long value": json.dumps({"power": 1, "state": "O" * 500_000}).encode(),
    "2 MiB": b'{"power":1,"x":"' + b"x" * 2**21 + b'"}',
    "2 MiB of spaces": b" " * 2**21,
    "times that are none": b'{"power":1,"last_seen":"2026-13-45T99:99:99Z","time":{"a":[]}}',
    "superscript nanoseconds": '{"power":1,"last_seen":"2026-11-20T09:30:00.123456²²²Z"}'.encode(),
    "year 1": b'{"power":1,"last_seen":"0001-01-01T00:00:00+23:59"}',
    "year 9999": b'{"power":1,"last_seen":"9999-12-31T23:59:59-23:59"}',
    "negative time": b'{"power":1,"last_seen":-9223372036854775808}',
    "objects for numbers": b'{"power":{"a":1},"state":{"state":"ON"},"voltage":[230],"current":{"current":{"a":1}}}',
    "booleans for numbers": b'{"power":true,"voltage":false,"state":true,"state_l1":0.5,"state_l2":"on"}',
    "device injection": b'{"device":"other","timestamp":"1970-01-01T00:00:00Z","time":0,"power":1}',
}

_KEYS = st.sampled_from(
    ["power", "state", "state_l1", "output", "energy", "current", "voltage", "last_seen", "time", "temperature"]
) | st.text(max_size=12)
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["ON", "OFF", "12.5", "nan", "-inf", "1e999"])
)
_JSON: st.SearchStrategy[Any] = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=6), max_leaves=20
)
json_payloads = st.dictionaries(_KEYS, _JSON, max_size=8).map(lambda decoded: json.dumps(decoded).encode())
any_payloads = json_payloads | st.binary(max_size=64) | _JSON.map(lambda decoded: json.dumps(decoded).encode())
any_payloads |= st.sampled_from([payload for payload in PAYLOADS.values() if len(payload) < 10_000])


def assert_sound(values: Values) -> None:
    """Fail unless the values can enter the journal: some, switches as booleans, others finite and possible."""
    assert values
    for name, value in values.items():
        assert type(value) is (bool if is_switch(name) else float), (name, value)
        assert math.isfinite(value)
        assert plausible(name, value)
