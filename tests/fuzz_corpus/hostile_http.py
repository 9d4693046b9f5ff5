"""HTTP requests that a broken or malicious client may send, as bytes."""

from __future__ import annotations

import json

from hypothesis import strategies as st


def _request(target: str = "/webhook", *headers: str, method: str = "POST", body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def _get(target: str, *headers: str) -> bytes:
    return _request(target, *headers, method="GET")


def _json(body: bytes, target: str = "/webhook") -> bytes:
    return _request(target, "Content-Type: application/json", body=body)


def _chunked(body: bytes) -> bytes:
    return _request("/webhook", "Transfer-Encoding: chunked", "Content-Type: application/json") + body


def _message(properties: bytes) -> bytes:
    return _json(b'{"bizCode":"devicePropertyMessage","devId":"x","properties":' + properties + b"}", "/message")


REQUESTS: dict[str, bytes] = {
    "nothing but a line": b"\r\n\r\n",
    "NULs": bytes(4096),
    "every byte": bytes(range(256)) * 4 + b"\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "HTTP/0.9": b"GET /webhook\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "SMTP": b"EHLO localhost\r\nMAIL FROM:<a@b>\r\n",
    "no host": b"GET /webhook?power=1 HTTP/1.1\r\nConnection: close\r\n\r\n",
    "two hosts": _get("/webhook?power=1", "Host: evil.example"),
    "host of nonsense": b"GET /webhook HTTP/1.1\r\nHost: [::1]]]\x7f\xff:99999999\r\nConnection: close\r\n\r\n",
    "huge URL": _get("/webhook?" + "a" * 100_000),
    "many parameters": _get("/webhook?" + "&".join(f"a{n}=1" for n in range(1000))),
    "huge header": _get("/webhook?power=1", "X: " + "a" * 100_000),
    "many headers": _get("/webhook?power=1", *(f"X-{n}: a" for n in range(5000))),
    "header without end": b"GET /webhook HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 60_000,
    "header with NUL": b"GET /webhook HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
    "folded header": b"GET /webhook HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n",
    "bare line feeds": b"GET /webhook HTTP/1.1\nHost: localhost\n\n",
    "smuggled": _request("/webhook", "Content-Length: 5", "Transfer-Encoding: chunked")
    + b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "negative length": _request("/webhook", "Content-Length: -1"),
    "length of nonsense": _request("/webhook", "Content-Length: 1e3"),
    "huge length": _request("/webhook", "Content-Length: 99999999999999999999"),
    "too large": _request(body=b"power=1&" + b"a" * 2_000_000),
    "chunk of nonsense": _chunked(b"zz\r\n{}\r\n0\r\n\r\n"),
    "negative chunk": _chunked(b"-5\r\n{}\r\n0\r\n\r\n"),
    "huge chunk": _chunked(b"ffffffffffffffffff\r\n{}\r\n"),
    "too many chunks": _chunked(b"1\r\n \r\n" * 100_000),
    "chunk extension": _chunked(b"2;" + b"a" * 20_000 + b"\r\n{}\r\n0\r\n\r\n"),
    "trailers": _chunked(b"2\r\n{}\r\n0\r\n" + b"X: a\r\n" * 5000 + b"\r\n"),
    "gzip bomb": _request("/webhook", "Content-Encoding: gzip", body=b"\x1f\x8b\x08" + bytes(1000)),
    "path traversal": _get("/webhook/../../etc/passwd?power=1"),
    "encoded traversal": _get("/webhook/%2e%2e%2f%2e%2e%2fetc%2fpasswd?power=1"),
    "encoded slash": _get("/webhook%2Fplug?power=1"),
    "many slashes": _get("//webhook//plug?power=1"),
    "NUL in the path": _get("/webhook/%00?power=1"),
    "not UTF-8 in the path": _get("/webhook/\udcff\udc80?power=1"),
    "not UTF-8, encoded": _get("/webhook/%ff%fe?power=%ff&%ff=1"),
    "half an encoding": _get("/webhook/%?power=%1&%zz=%"),
    "surrogate": _get("/webhook/%ed%a0%80?power=%ed%a0%80"),
    "absolute": _get("http://evil.example/webhook?power=1"),
    "absolute nonsense": _get("http://[::1/webhook"),
    "absolute without a host": _get("http:///webhook"),
    "absolute with a port": _get("http://localhost:99999999/webhook"),
    "absolute of no kind": _get("gopher://\udcff/webhook"),
    "authority": _request("localhost:80", method="CONNECT"),
    "authority of nonsense": _request("[::1", method="CONNECT"),
    "asterisk": _request("*", method="OPTIONS"),
    "fragment": _get("/webhook#power=1?power=2"),
    "no path": _get("?power=1"),
    "unknown method": _request("/webhook?power=1", method="BREW"),
    "trace": _request("/webhook?power=1", method="TRACE"),
    "expectation that is no UTF-8": b"GET /webhook/?power=1 HTTP/1.1\r\nHost: localhost\r\nExpect: )\xaa_IR\r\n\r\n",
    "expectation": _request("/webhook?power=1", "Expect: 100-continue, tea", body=b"power=1"),
    "upgrade": _get("/webhook?power=1", "Connection: upgrade", "Upgrade: websocket"),
    "upgrade to h2": _get("/webhook?power=1", "Connection: upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ"),
    "socket without a key": _get("/shelly/ws/x", "Connection: upgrade", "Upgrade: websocket"),
    "socket with a token of nonsense": _get("/shelly/ws/%00%ff", "Connection: upgrade", "Upgrade: websocket"),
    "credentials of nonsense": _get("/webhook?power=1&token=%00", "Authorization: Bearer \udcff\udcfe"),
    "range": _get("/webhook?power=1", "Range: bytes=9-1", "If-Modified-Since: never"),
    "cookies": _get("/webhook?power=1", "Cookie: " + "a=b; " * 1000),
    "forwarded": _get("/webhook?power=1", 'Forwarded: for="[::1', "X-Forwarded-For: \udcff"),
    "NaN": _get("/webhook?power=nan&voltage=inf&current=-infinity"),
    "unreplaced": _get("/webhook?power=${power}&voltage={{voltage}}"),
    "null": _get("/webhook?power=null&voltage=None&current="),
    "huge number": _get("/webhook?power=" + "9" * 5000),
    "huge exponent": _get("/webhook?power=1e999999999"),
    "other digits": _get("/webhook?power=%D9%A1%D9%A2"),
    "twice": _get("/webhook?power=1&power=2&POWER=3&power=1"),
    "time of nonsense": _get("/webhook?power=1&timestamp=0001-01-01T00:00:00%2B23:59"),
    "huge time": _get("/webhook?power=1&timestamp=" + "9" * 400),
    "device of nonsense": _get("/webhook/" + "a" * 1000 + "?power=1&device=%00"),
    "charset of nonsense": _request("/webhook", "Content-Type: application/json; charset=none", body=b'{"power":1}'),
    "charset with NUL": _request("/webhook", "Content-Type: text/json; charset=\x01\udcff", body=b'{"power":1}'),
    "type of nonsense": _request("/webhook", "Content-Type: ;;=\udcff", body=b"power=1"),
    "multipart": _request("/webhook", "Content-Type: multipart/form-data; boundary=a", body=b"--a\r\n\r\n\r\n--a--"),
    "multipart without a boundary": _request("/webhook", "Content-Type: multipart/form-data", body=b"--a"),
    "form of nonsense": _request("/webhook", "Content-Type: application/x-www-form-urlencoded", body=b"\xff=%&&=\0;"),
    "empty JSON": _request("/webhook", "Content-Type: application/json"),
    "JSON bomb": _json(b"[" * 60_000),
    "nested objects": _json(b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    "many keys": _json(b"{" + b",".join(b'"a%d":1' % n for n in range(4000)) + b"}"),
    "same keys": _json(b"{" + b",".join([b'"power":1'] * 4000) + b"}"),
    "JSON that is no object": _json(b'"\\ud800"'),
    "JSON with NaN": _json(b'{"power":NaN,"voltage":Infinity}'),
    "JSON with huge numbers": _json(b'{"power":' + b"9" * 5000 + b',"voltage":1e999}'),
    "JSON not UTF-8": _json(b'{"power":"\xff"}'),
    "JSON of other types": _json(b'{"power":[1],"voltage":{"a":null},"current":true,"device":7,"timestamp":{}}'),
    "JSON with surrogates": _json(b'{"device":"\\ud800","power":1,"\\udfff":2}'),
    "message without anything": _json(b"{}", "/message"),
    "message that is no object": _json(b"[[[]]]", "/message"),
    "message of nothing known": _json(b'{"bizCode":"\\ud800","devId":"x"}', "/message"),
    "message of other types": _json(b'{"bizCode":[],"devId":{},"status":7}', "/message"),
    "message with properties of nonsense": _message(b'[1,null,[],{"code":{}},{"code":"a","value":[]}]'),
    "message with too many properties": _message(b"[" + b",".join([b'{"code":"a","value":1}'] * 2000) + b"]"),
    "message by GET": _get("/message?power=1"),
}

_TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
_JUNK = st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
_ENCODED = st.binary(max_size=12).map(lambda raw: "".join(f"%{byte:02x}" for byte in raw))
_PIECES = st.sampled_from(
    ["/", "..", ".", "%2f", "%00", "%", "webhook", "message", "shelly", "ws", "health", "plug", "?", "#"]
)
_METHODS = (
    st.sampled_from(["GET"] * 6 + ["POST"] * 6 + ["HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"])
    | _JUNK
)
_PATHS = (
    st.sampled_from(["/webhook", "/webhook/", "/webhook/plug", "/message", "/shelly/ws/x", "/health", "/", "*"])
    | st.lists(_PIECES | _ENCODED, max_size=8).map("".join)
    | st.builds("http://{}/webhook".format, _JUNK)
    | _JUNK
)
_NAMES = st.sampled_from(
    ["power", "voltage", "current", "energy", "energy_increment", "output", "power_a", "device", "timestamp", "token"]
)
_NUMBERS = st.floats().map(str) | st.integers().map(str) | st.sampled_from(["1,5", "0x1", "1_0", "${v}", "null", ""])
_PARAMETERS = st.lists(
    st.builds("{}={}".format, _NAMES | _JUNK | _ENCODED, _NUMBERS | _JUNK | _ENCODED), max_size=6
).map("&".join)
_TYPES = st.sampled_from(
    [
        "application/json",
        "application/json; charset=utf-16",
        "application/json; charset=none",
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=hex",
        "multipart/form-data; boundary=a",
        "text/plain",
        "text/json",
    ]
)
_HEADER_NAMES = st.sampled_from(
    [
        "Host",
        "Content-Type",
        "Content-Length",
        "Content-Encoding",
        "Transfer-Encoding",
        "Authorization",
        "Origin",
        "Expect",
        "Upgrade",
        "Connection",
        "Cookie",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "X-Forwarded-For",
    ]
)
_HEADER_VALUES = (
    st.sampled_from(
        ["chunked", "gzip", "100-continue", "websocket", "h2c", "upgrade", "close", "keep-alive", "0", "5", "-1"]
    )
    | _TYPES
    | st.builds("Bearer {}".format, _JUNK)
    | _TEXT
    | _JUNK
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT | _JUNK,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES | _TEXT, inner, max_size=3),
    max_leaves=12,
)
_PROPERTIES = st.lists(st.fixed_dictionaries({}, optional={"code": _NAMES | _VALUES, "value": _VALUES})) | _VALUES
_MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "bizCode": st.sampled_from(["devicePropertyMessage", "online", "offline", "deviceOnline"]) | _VALUES,
        "devId": st.just("tuya-1") | _VALUES,
        "productId": _VALUES,
        "properties": st.lists(st.fixed_dictionaries({}, optional={"code": _NAMES | _VALUES, "value": _VALUES}))
        | _VALUES,
        "status": st.lists(st.fixed_dictionaries({}, optional={"code": _NAMES | _VALUES, "value": _VALUES}))
        | _VALUES,
        "ts": _VALUES,
    },
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Make a request of parts each of which may be right, or wrong in its own way."""
    method, path, query = draw(_METHODS), draw(_PATHS), draw(_PARAMETERS)
    body = draw(_bodies(query))
    headers = draw(st.lists(st.tuples(_HEADER_NAMES | _JUNK, _HEADER_VALUES), max_size=4))
    if draw(st.integers(0, 9)):
        headers.append(("Host", "localhost"))
    if body and draw(st.integers(0, 9)):
        headers += [("Content-Length", str(len(body))), ("Content-Type", draw(_TYPES))]
    target = f"{path}?{query}" if draw(st.booleans()) else path
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "Connection: close"]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


@st.composite
def _bodies(draw: st.DrawFn, query: str) -> bytes:
    """Make nothing, a form, JSON or junk; perhaps in chunks."""
    kind = draw(st.sampled_from(["", "form", "values", "message", "junk"]))
    body = draw(st.binary(max_size=200)) if kind == "junk" else b""
    if kind == "form":
        body = query.encode("utf-8", "surrogateescape")
    elif kind in ("values", "message"):
        value = draw(_VALUES if kind == "values" else _MESSAGES)
        body = json.dumps(value).encode()
    if body and not draw(st.integers(0, 5)):
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    return body
