"""Faults on demand: slow and spoilt answers. No I/O."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = ("no JSON", "cut off", "wrong types", "hostile numbers")


@dataclass
class Faults:
    """`slow` delays each answer by so many seconds; with `garbage` nothing that is said can be used."""

    slow: float = 0.0
    garbage: bool = False
    _kinds: Iterator[str] = field(default_factory=lambda: itertools.cycle(KINDS))

    def spoil(self, text: str) -> str:
        """Give the text as it goes out: in garbage mode, each kind of spoilt text in its turn."""
        if not self.garbage:
            return text
        kind = next(self._kinds)
        if kind == "no JSON":
            return "<html><body>503 device is busy</body></html>"
        if kind == "cut off":
            return text[: len(text) // 2]
        return orjson.dumps(_retyped(orjson.loads(text), kind)).decode().replace('"1e999"', "1e999")


def _retyped(value: Any, kind: str) -> Any:
    if isinstance(value, dict):
        return {name: _retyped(each, kind) for name, each in value.items()}
    if isinstance(value, list):
        return {"0": value}
    if isinstance(value, bool):
        return "yes"
    if isinstance(value, int | float):
        return "1e999" if kind == "hostile numbers" else [str(value)]
    return value
