"""What the operator is told where upkeep cannot be done. No I/O."""

from __future__ import annotations

from edge_energy.errors import EdgeEnergyError


class NotDone(EdgeEnergyError):  # noqa: N818 - a state of the world, not a mistake
    """It was not done; the text says what happened, where, and what to do. The command exits with 1."""
