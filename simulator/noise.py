"""Seeded randomness: independent generators, and values that wander about a mean. No I/O."""

from __future__ import annotations

import math
from random import Random


def generator(seed: int, purpose: str) -> Random:
    """Make the generator of one purpose, so that one more device does not change what the others do."""
    return Random(f"{seed}:{purpose}")


class Wander:
    """An Ornstein-Uhlenbeck process: wanders about zero and forgets where it was after `memory` seconds."""

    def __init__(self, rng: Random, deviation: float, memory: float) -> None:
        self._rng = rng
        self._deviation = deviation
        self._memory = memory
        self.value = rng.gauss(0, deviation)

    def step(self, dt: float) -> float:
        """Advance by dt seconds; exact for any dt, so that the deviation does not depend on the time step."""
        kept = math.exp(-dt / self._memory)
        self.value = self.value * kept + self._rng.gauss(0, self._deviation) * math.sqrt(1 - kept * kept)
        return self.value
