"""Stored bodies of readings."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.journal import shapes

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.dictionaries(
    NAMES, st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
)


@given(VALUES, st.integers(1, 10_000))
def test_a_body_comes_back_as_it_was(values: dict[str, float | bool], number: int) -> None:
    """Names and values survive the journal, in their order, and the number of the shape is found again."""
    body = orjson.dumps(values).decode()
    names, array = shapes.split(body)
    stored = f"{number}{array}"
    assert shapes.number(stored) == number
    assert shapes.number(body) is None
    kept = shapes.decode_names(shapes.encode_names(names))
    assert orjson.dumps(shapes.join(kept, stored)).decode() == body


def test_values_outlive_their_names() -> None:
    """Where a damaged file lost the names, the values are still there, under names that say so."""
    assert shapes.join(("unknown-7",), "7[61.1,true]") == {"unknown_0": 61.1, "unknown_1": True}
