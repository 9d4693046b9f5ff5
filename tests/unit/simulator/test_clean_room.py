"""The simulator is the other side of the wire: it shares no code with what it tests."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import simulator

MODULES = sorted(Path(simulator.__file__).parent.rglob("*.py"))
IO = {"asyncio", "socket", "ssl", "paho", "click", "time", "signal", "threading", "os", "subprocess"}


def imports(module: Path) -> set[str]:
    """Give the top-level packages that a module imports, for type checking included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_module_imports_the_daemon(module: Path) -> None:
    """Else a mistake of the daemon would be repeated by what is to find it."""
    assert "edge_energy" not in imports(module)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_module_without_io_has_none(module: Path) -> None:
    """A module whose first line says "No I/O." imports neither network nor clock."""
    first = (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").splitlines()[0]
    assert not ("No I/O." in first and imports(module) & IO)
