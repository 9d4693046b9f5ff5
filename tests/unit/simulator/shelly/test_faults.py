"""Garbage is garbage, and ends when it is to end."""

from __future__ import annotations

import orjson
import pytest

from simulator.shelly.faults import KINDS, Faults

TEXT = orjson.dumps({"id": 1, "result": {"output": True, "apower": 5.2, "by_minute": [1, 2]}}).decode()


def test_sound_answers_stay_as_they_are() -> None:
    """Before and after the fault."""
    faults = Faults()
    assert faults.spoil(TEXT) == TEXT
    faults.garbage = True
    assert faults.spoil(TEXT) != TEXT
    faults.garbage = False
    assert faults.spoil(TEXT) == TEXT


def test_each_kind_in_its_turn() -> None:
    """Two are no JSON, the third has no type right, the fourth has numbers that no float can hold."""
    faults = Faults(garbage=True)
    texts = [faults.spoil(TEXT) for _ in range(2 * len(KINDS))]
    assert texts[: len(KINDS)] == texts[len(KINDS) :]
    for text in texts[:2]:
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(text)
    wrong = orjson.loads(texts[2])
    assert isinstance(wrong["id"], list)
    assert wrong["result"]["output"] == "yes"
    assert "1e999" in texts[3]
