"""How long and how often to measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Options:
    """One run of the benchmarks. `quick` proves that they work, not what they measure."""

    seed: int
    rounds: int
    messages: int
    waiting: int
    quick: bool

    @classmethod
    def make(cls, *, quick: bool, seed: int, rounds: int | None, messages: int | None, waiting: int | None) -> Self:
        """Fill in what was not asked for."""
        return cls(
            seed=seed,
            rounds=rounds or (1 if quick else 5),
            messages=messages or (20_000 if quick else 200_000),
            waiting=waiting or (30_000 if quick else 1_000_000),
            quick=quick,
        )
