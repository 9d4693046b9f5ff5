"""What leaves the house: no event is lost in translation, none is two, none is like another."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.interfaces import APPLIANCE, COMMAND, INCIDENT, READING, Entry
from edge_energy.messages import RESERVED, Message, Messages
from tests.unit.samples import NOON, SECOND, entry

FIRST, LAST = 0, 4_102_444_800 * SECOND  # 1970 to 2100
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
"""What JSON can carry: anything but half a surrogate pair."""
values = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.integers(-(2**53), 2**53), names
)
reserved = st.builds("{}{}".format, st.sampled_from(sorted(RESERVED)), st.sampled_from(["", "_", "__"]))
bodies = st.dictionaries(st.one_of(names, reserved), values, max_size=8)
instants = st.integers(FIRST, LAST)
entries = st.builds(
    Entry,
    position=st.integers(1, 2**62),
    kind=st.sampled_from([READING, COMMAND, INCIDENT, APPLIANCE]),
    device=names,
    time=instants,
    span=st.none() | st.integers(0, 10**15),
    boot=st.just(1),
    uptime=st.just(0),
    body=bodies,
)


def message(entry: Entry) -> Message:
    return Messages("house-1", "journal").message(entry)


def told(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(message(entry).body)
    return found


@given(entries)
def test_every_value_arrives(entry: Entry) -> None:
    """Under its name, or that with underlines behind where the message itself needs it; to the last bit."""
    body = told(entry)
    own = {"device", "timestamp"} | ({"span"} if entry.span is not None else set())
    assert len(body) == len(own) + len(entry.body)
    for name, value in entry.body.items():
        if name not in RESERVED:
            assert body[name] == value
            assert type(body[name]) is type(value)
    moved = [value for name, value in entry.body.items() if name in RESERVED]
    others = {name: value for name, value in body.items() if name not in own and name not in entry.body}
    assert sorted(map(repr, others.values())) == sorted(map(repr, moved))
    assert all(name.rstrip("_") in RESERVED for name in others)


@given(entries)
def test_what_the_message_says_itself_is_always_true(entry: Entry) -> None:
    """No value can claim to be the device, the time or the span."""
    body = told(entry)
    assert body["device"] == entry.device
    assert body["timestamp"] == message(entry).attributes["ce_time"]
    assert body.get("span") == (None if entry.span is None else entry.span / 1e9)


@given(entries)
def test_the_envelope_is_cloudevents(entry: Entry) -> None:
    """Source: CloudEvents 1.0, required attributes; every one is a text that is not empty."""
    found = message(entry)
    assert found.attributes == {
        "ce_specversion": "1.0",
        "ce_id": f"journal/{entry.position}",
        "ce_source": "/edge-energy/house-1",
        "ce_type": f"edge_energy.{entry.kind}",
        "ce_time": found.attributes["ce_time"],
        "content-type": "application/json",
    }
    assert (found.kind, found.key, found.time) == (entry.kind, entry.device, entry.time)


@given(st.lists(instants, min_size=1, max_size=20), st.integers(0, 3))
def test_a_time_is_told_to_the_microsecond_whatever_came_before(times: list[int], repeat: int) -> None:
    """One second is put into words once; the next entry may be of any other, earlier ones included."""
    making = Messages("house-1", "journal")
    for time in [*times, *times[:repeat], *(time + 1 for time in times)]:
        told = making.message(entry(1, time=time)).attributes["ce_time"]
        moment = datetime.fromisoformat(told)
        assert told.endswith("Z")
        assert (moment - datetime.fromtimestamp(0, UTC)) // (moment.resolution) == time // 1000


@given(instants, instants)
def test_times_sort_as_text_within_one_precision(one: int, other: int) -> None:
    """Whoever sorts what was measured to the millisecond by its text sorts it by time."""
    first, second = one // 10**6 * 10**6, other // 10**6 * 10**6
    texts = [message(entry(1, time=time)).attributes["ce_time"] for time in (first, second)]
    assert (texts[0] < texts[1]) == (first < second)
    assert {len(text) for text in texts} == {len("2026-09-21T14:13:20.000Z")}


@pytest.mark.parametrize(
    ("nanoseconds", "words"),
    [
        (0, "2026-09-21T14:13:20.000Z"),
        (1, "2026-09-21T14:13:20.000Z"),
        (999, "2026-09-21T14:13:20.000Z"),
        (1_000, "2026-09-21T14:13:20.000001Z"),
        (120_000_000, "2026-09-21T14:13:20.120Z"),
        (120_000_999, "2026-09-21T14:13:20.120Z"),
        (999_999_999, "2026-09-21T14:13:20.999999Z"),
    ],
)
def test_a_time_is_no_finer_than_it_was_measured(nanoseconds: int, words: str) -> None:
    """Milliseconds, and six digits where there is more."""
    assert message(entry(1, time=NOON + nanoseconds)).attributes["ce_time"] == words


def test_one_event_is_the_same_message_for_ever() -> None:
    """Byte by byte: a copy can be told from another event."""
    given = entry(7, span=3 * SECOND, body={"power": 46.9, "output": True, "device": "x", "device_": "y"})
    assert Messages("house-1", "journal").message(given) == message(given)
    assert message(given).body == (
        b'{"device":"plug","timestamp":"2026-09-21T14:13:20.000Z","span":3.0,'
        b'"power":46.9,"output":true,"device__":"x","device_":"y"}'
    )


def test_a_new_journal_never_repeats_an_id() -> None:
    """Its positions begin again; its id does not."""
    one, other = (Messages("house-1", journal).message(entry(1)).attributes["ce_id"] for journal in ("a1", "b2"))
    assert (one, other) == ("a1/1", "b2/1")
