"""Every value reaches BigQuery: in the column of its name, or in `more`; and none is taken for another."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.interfaces import APPLIANCE, COMMAND, READING
from edge_energy.messages import Messages
from edge_energy.pubsub.body import COLUMNS, METADATA, MORE, with_more
from edge_energy.reading import QUANTITIES
from tests.unit.samples import entry

OWN = {"device", "timestamp", "span"}
SLY = ["Power", "POWER", "device", "Device", "timestamp", "span", MORE, "More", "attributes", "message_id", "power_"]
names = st.one_of(st.sampled_from([*COLUMNS[READING], *SLY]), st.text(max_size=8))
bodies = st.dictionaries(names, st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=12)


def told(values: dict[str, Any], kind: str = READING) -> dict[str, Any]:
    """Return the body of the message that is published."""
    message = Messages("house-1", "j").message(with_more(entry(1, kind=kind, body=values)))
    found: dict[str, Any] = orjson.loads(message.body)
    return found


@given(bodies)
def test_every_value_is_in_a_column_or_in_more(values: dict[str, float]) -> None:
    """And what is in `more` is also a field of its own, as in all other messages."""
    body = told(values)
    others = orjson.loads(body.pop(MORE, "{}"))
    in_columns = {name: value for name, value in body.items() if name in COLUMNS[READING]}
    assert in_columns == {name: value for name, value in values.items() if name in COLUMNS[READING]}
    assert sorted(others.values()) == sorted(value for name, value in values.items() if name not in COLUMNS[READING])
    assert {name: body[name] for name in others} == others
    assert body.keys() - in_columns.keys() - others.keys() == {"device", "timestamp"}


@given(bodies)
def test_nothing_is_taken_for_the_column_of_something_else(values: dict[str, float]) -> None:
    """BigQuery does not tell upper from lower case, and the subscription has columns of its own."""
    columns = COLUMNS[READING] | METADATA | OWN | {MORE}
    body = told(values)
    fields = [name.lower() for name in body if name.lower() in columns]
    assert len(fields) == len(set(fields))
    assert not METADATA & {*fields}
    assert {name for name in body if name.lower() in columns} <= columns


@given(bodies)
def test_what_has_only_columns_is_left_alone(values: dict[str, float]) -> None:
    """Nearly all readings do, and cost nothing."""
    known = {name: value for name, value in values.items() if name in COLUMNS[READING]}
    found = entry(1, body=known)
    assert with_more(found) is found


def test_an_example() -> None:
    body = told({"power": 1.0, "power_a": 2.0, "Device": 3.0})
    del body["timestamp"]
    assert body == {
        "device": "plug",
        "power": 1.0,
        "power_a": 2.0,
        "Device_": 3.0,
        "more": '{"power_a":2.0,"Device_":3.0}',
    }


def test_a_name_that_is_taken_twice_is_free_at_last() -> None:
    """No value overwrites another."""
    assert orjson.loads(told({"Power": 1.0, "Power_": 2.0, "POWER": 3.0})[MORE]) == {
        "Power__": 1.0,
        "Power_": 2.0,
        "POWER_": 3.0,
    }


@pytest.mark.parametrize("kind", [COMMAND, APPLIANCE, "of tomorrow"])
def test_other_kinds_keep_what_has_no_column(kind: str) -> None:
    """Also texts and lists; a kind that is new has no column but those of every message."""
    assert orjson.loads(told({"event": "x", "found": ["a", 1, None]}, kind)[MORE])["found"] == ["a", 1, None]


def test_the_quantities_of_the_design_have_columns() -> None:
    """Increments never leave the appliance; a relay's state is no number."""
    quantities = {name for name in QUANTITIES if not name.endswith("_increment")}
    assert COLUMNS[READING] == quantities | {"output"}
