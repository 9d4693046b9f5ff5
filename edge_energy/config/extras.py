"""Tables that need a library which not every installation has."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_energy.config.problems import Location
    from edge_energy.config.tree import Sources

_MODULES = {"kafka": "confluent_kafka", "pubsub": "google.pubsub_v1"}
"""Of each table, which has the name of its extra: a module that comes with it."""


def lacking(sources: Sources) -> Iterator[tuple[Location, str]]:
    """Yield every table whose library is not installed, with what installs it."""
    for table, module in _MODULES.items():
        if isinstance(sources.get((table,)), dict) and not _installed(module):
            yield (table,), f'expected the extra "{table}" to be installed: pip install "edge-energy[{table}]"'


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False
