"""Webhook expressions mean what they mean in JavaScript, and what fails stays as it is."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.shelly.expression import ExpressionError, evaluate, fill

SCOPE: dict[str, Any] = {
    "ev": {"apower": 20.5},
    "status": {"switch:0": {"output": True, "voltage": 230.1, "aenergy": {"total": 12.0, "by_minute": [1, 2, 3]}}},
    "config": {"sys": {"device": {"name": "Köln & Bonn"}}},
    "info": {"mac": "EC6260515763"},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ev.apower", 20.5),
        ('status["switch:0"].voltage', 230.1),
        ("status['switch:0'].aenergy.by_minute[1]", 2),
        ("ev.apower > 20", True),
        ("ev.apower >= 20 && ev.apower < 20.5", False),
        ("ev.apower > 100 || status['switch:0'].output", True),
        ("!status['switch:0'].output", False),
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3 - -1", 10),
        ('info.mac === "EC6260515763"', True),
        ("ev.apower != null", True),
        ("10 / 4 % 2", 0.5),
    ],
)
def test_values(text: str, value: Any) -> None:
    """Paths, comparisons, arithmetic and logic."""
    assert evaluate(text, SCOPE) == value


@pytest.mark.parametrize(
    "text", ["", "ev.", "ev.apower >", "ev.missing", "nothing", "(1", "1 2", "ev > 1", "1/0", "a b"]
)
def test_what_fails(text: str) -> None:
    """Each failure is an ExpressionError."""
    with pytest.raises(ExpressionError):
        evaluate(text, SCOPE)


@given(st.text(alphabet="ev.apower[]()!&|<>=+-*/%'\" 019_$", max_size=40))
def test_any_text_is_a_value_or_an_error(text: str) -> None:
    """Nothing that a user writes into a hook breaks the device."""
    with contextlib.suppress(ExpressionError):
        evaluate(text, SCOPE)


def test_urls_are_filled_and_encoded() -> None:
    """Numbers as JSON writes them, texts percent-encoded; a failed placeholder is copied verbatim."""
    url = 'http://pi/hook?p=${ev.apower}&u=${status["switch:0"].voltage}&n=${config.sys.device.name}&x=${ev.voltage}'
    assert fill(url, SCOPE) == "http://pi/hook?p=20.5&u=230.1&n=K%C3%B6ln%20%26%20Bonn&x=${ev.voltage}"
