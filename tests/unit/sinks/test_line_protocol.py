"""Every entry becomes one line that reads back as what it was, whatever its names are."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_energy.interfaces import APPLIANCE, INCIDENT
from edge_energy.sinks import line_protocol
from edge_energy.sinks.line_protocol import LineProtocol
from tests.unit.samples import entry

Line = tuple[str, dict[str, str], dict[str, Any], int]


def parse(line: str) -> Line:
    """Read a line as InfluxDB 2.7 does: measurement, tags, fields, time. Written from its documentation."""
    series = split(line, " ", quotes=False)[0]
    fields, time = split(line[len(series) + 1 :], " ", quotes=True)
    measurement, *tags = split(series, ",", quotes=False)
    return (
        plain(measurement),
        {plain(key): plain(value) for key, value in (split(tag, "=", quotes=False) for tag in tags)},
        {
            plain(key): value_of(text)
            for key, text in (split(f, "=", quotes=True) for f in split(fields, ",", quotes=True))
        },
        int(time),
    )


def split(text: str, separator: str, *, quotes: bool) -> list[str]:
    """Split at separators that are neither escaped nor in a quoted string, which only a field can have."""
    parts, quoted, before = [""], False, ""
    for piece in re.findall(r"\\?.", text, re.DOTALL):
        if quotes and piece == '"' and (quoted or before == "="):
            quoted = not quoted
        if piece == separator and not quoted:
            parts.append("")
        else:
            parts[-1] += piece
        before = piece
    return parts


def plain(text: str) -> str:
    return re.sub(r"\\([,= ])", r"\1", text)


def value_of(text: str) -> float | bool | str:
    if text.startswith('"'):
        assert text.endswith('"')
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    return {"True": True, "False": False}[text] if text in ("True", "False") else float(text)


def carried(name: str) -> str:
    """Return what the protocol can carry of a name."""
    name = "".join("_" if char < " " or char == "\x7f" else char for char in name)
    return re.sub(r"\\([,= ]|\Z)", lambda found: f"_{found[1]}", name) or "_"


names = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\\,= "\n\t#'), max_size=20)
values = st.floats(allow_nan=False, allow_infinity=False) | st.booleans()


@given(names, names, st.dictionaries(names, values, min_size=1), st.integers(0, 2**63 - 2))
@example("house", "a\\,b", {"a\\": 1.0, "a\\ b": 2.0, "a\\\\=": 3.0, "\\": 4.0}, 0)
@example("house", '"', {'a="': 1.0, '"': True, '=",b': False}, 2)
@example("house", "", {"": 1.0, "a,b=c d": -0.0, "time": 5e-324}, 1)
def test_a_reading_reads_back_as_what_it_was(
    appliance: str, device: str, body: dict[str, float | bool], time: int
) -> None:
    """Names survive except for what no line can carry; numbers to the last bit; types unchanged."""
    line = LineProtocol(appliance).line(entry(1, device=device, body=body, time=time))
    assert "\n" not in line
    measurement, tags, fields, read_time = parse(line)
    assert (measurement, read_time) == ("energy", time)
    assert tags == {"appliance": carried(appliance), "device": carried(device)}
    expected = {"time_" if name == "time" else carried(name): value for name, value in body.items()}
    assert fields == expected
    assert [type(value) for value in fields.values()] == [type(value) for value in expected.values()]


texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\\," ='))


@given(
    st.dictionaries(st.sampled_from(["event", "name", "a b"]), texts | st.integers(-(2**53), 2**53) | st.booleans())
)
def test_what_is_no_reading_may_have_text(body: dict[str, Any]) -> None:
    """Strings are quoted and escaped, whole numbers become floats: a field must not change its type."""
    line = LineProtocol("house").line(entry(1, kind=INCIDENT, body=body))
    if not body:
        assert line == ""
        return
    measurement, _, fields, _ = parse(line)
    assert measurement == "incident"
    assert fields == body
    assert not any(type(value) is int for value in fields.values())


@pytest.mark.parametrize(
    ("kind", "event", "measurement"),
    [(APPLIANCE, "start", "appliance"), (APPLIANCE, "device", "device"), (INCIDENT, "device", "incident")],
)
def test_each_kind_has_its_measurement(kind: str, event: str, measurement: str) -> None:
    """A device's name and model are a measurement of their own, as DESIGN.md's table of names says."""
    assert parse(LineProtocol("h").line(entry(1, kind=kind, body={"event": event})))[0] == measurement


def test_a_span_is_a_field_in_seconds() -> None:
    """That the instant is not exactly known is visible in the database."""
    assert parse(LineProtocol("h").line(entry(1, span=1_500_000_000)))[2]["span"] == 1.5


def test_an_entry_without_values_gives_no_line() -> None:
    """An empty line would make InfluxDB refuse the whole batch."""
    lines = LineProtocol("h")
    batch = [entry(1), entry(2, body={}), entry(3)]
    assert lines.lines(batch).decode().split("\n") == [lines.line(batch[0]), lines.line(batch[2])]
    assert lines.lines([entry(1, body={})]) == b""


def test_the_same_entry_is_always_the_same_line() -> None:
    """A redelivered entry must be the same point, whatever was written in between."""
    lines = LineProtocol("h")
    once = lines.line(entry(1, device="a b"))
    lines.lines([entry(n, device=f"d{n}", body={f"k{n}": 1.0}) for n in range(100)])
    assert lines.line(entry(1, device="a b")) == once == LineProtocol("h").line(entry(1, device="a b"))


def test_invented_names_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caches of escaped names are bounded, and lines stay right when they are emptied."""
    monkeypatch.setattr(line_protocol, "_MOST_CACHED", 10)
    lines = LineProtocol("h")
    for number in range(100):
        line = lines.line(entry(1, device=f"d {number}", body={f"k {number}": 1.0}))
        assert parse(line)[1:3] == ({"appliance": "h", "device": f"d {number}"}, {f"k {number}": 1.0})
    assert max(len(lines._series), len(lines._keys)) <= 10
