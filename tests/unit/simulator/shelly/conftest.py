"""Gives the bench to each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.simulator.shelly.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def bench() -> Callable[..., Bench]:
    """Make a bench with a device of the named product."""
    return Bench
