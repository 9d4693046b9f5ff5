"""Every answer has one shape, whatever a request put into it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge_energy.api.answers import LONGEST_REASON, failure, json_response, ok

TEXTS = st.text(st.characters(codec=None, exclude_categories=()), max_size=600)  # halves of surrogate pairs, too


def body(answer: Any) -> Any:
    return json.loads(answer.body)


def test_the_shapes_are_as_documented() -> None:
    """What devices and people read."""
    assert body(ok(recorded=1)) == {"status": "ok", "recorded": 1}
    assert body(failure(400, "not a number", "power")) == {
        "status": "error",
        "error": "power: not a number",
        "parameter": "power",
    }
    answer = failure(503, "full", headers={"Retry-After": "5"})
    assert body(answer) == {"status": "error", "error": "full"}
    assert (answer.status, answer.headers["Retry-After"], answer.content_type) == (503, "5", "application/json")


@given(TEXTS, st.none() | TEXTS)
def test_a_refusal_can_quote_anything(reason: str, parameter: str | None) -> None:
    """Raw bytes in a URL become halves of surrogate pairs, which are no Unicode; and it stays short."""
    told = body(failure(400, reason, parameter))
    assert told["status"] == "error"
    assert told["error"].endswith(reason[:LONGEST_REASON])
    assert told.get("parameter") == (None if parameter is None else parameter[:LONGEST_REASON])
    assert len(told["error"]) <= 2 * LONGEST_REASON + 2


@given(st.recursive(TEXTS | st.none() | st.floats(allow_nan=False), lambda inner: st.lists(inner, max_size=3)))
def test_any_json_can_be_answered(value: Any) -> None:
    """An infinity is null, as JSON has none."""
    json_response(value)
