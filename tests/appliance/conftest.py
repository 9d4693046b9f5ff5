"""Containers and installed appliances as fixtures."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import skipped_if_missing
from tests.servers import appliance
from tests.servers.container import Container

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Installing, or waiting for another container that has the network, takes longer than a test otherwise may.
TIMEOUT = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of this folder more time than the others."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(TIMEOUT), append=False)


@pytest.fixture
def container() -> Iterator[Callable[..., Container]]:
    """Boot machines: call it with the parameters of `Container`; all end with the test."""
    with _machines() as boot:
        yield boot


@pytest.fixture(scope="module")
def module_container() -> Iterator[Callable[..., Container]]:
    """Boot machines that several tests share: all end with the module."""
    with _machines() as boot:
        yield boot


@contextlib.contextmanager
def _machines() -> Iterator[Callable[..., Container]]:
    with contextlib.ExitStack() as machines:

        def boot(*debian: str, **parameters: Any) -> Container:
            with skipped_if_missing():
                machine = Container(*debian, **parameters)
            return machines.enter_context(machine)

        yield boot


@pytest.fixture(scope="session")
def installed() -> Callable[..., Path]:
    """Give the layer of an appliance: call it with the parameters of `appliance.installed`, and boot `on` it."""

    def layer(*debian: str, **parameters: Any) -> Path:
        with skipped_if_missing():
            return appliance.installed(*debian, **parameters)

    return layer
