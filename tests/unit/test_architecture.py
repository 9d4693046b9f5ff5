"""The shape that DESIGN.md draws: imports go downwards, pure modules are pure, one place catches everything."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = "edge_energy"
LEVELS = (
    ("__main__",),
    ("cli",),
    ("simulation", "embedded_broker", "doctor", "upkeep", "setup"),
    ("app",),
    ("api", "cloud"),
    ("status",),
    ("sources", "sinks", "relays", "rules", "ledger", "heartbeat"),
    ("collector",),
    ("delivery", "live", "journal", "devices", "supervisor", "client", "kafka", "pubsub"),
    ("ways", "increments"),
    ("config", "clock", "together", "logs", "reports"),
    ("messages", "pace"),
    ("interfaces", "reading", "errors"),
)
"""Modules and folders from the top to the bottom; each may import those of lower levels, and itself."""
NO_IO = "No I/O."
OF_IO = {
    "aiohttp",
    "asyncio",
    "confluent_kafka",
    "fcntl",
    "google",
    "grpc",
    "http",
    "logging",
    "os",
    "paho",
    "random",
    "secrets",
    "select",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "ssl",
    "structlog",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "urllib.request",
}


class Import(NamedTuple):
    """One import of one file."""

    file: Path
    line: int
    module: str


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def imports(file: Path) -> Iterator[Import]:
    """Yield what a file imports, also inside functions and for types only."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{node.lineno}: a relative import hides the direction"
            module = node.module or ""
            # `from package import x` may name a module, which is then what is imported.
            for name in node.names:
                whole = ROOT / f"{module}.{name.name}".replace(".", "/")
                known = whole.is_dir() or whole.with_suffix(".py").exists()
                yield Import(file, node.lineno, f"{module}.{name.name}" if known else module)


def part(module: str) -> str:
    """Return the module or folder directly in the package, or nothing for the package itself."""
    return ([*module.split("."), ""])[1]


def level(name: str) -> int:
    (found,) = [number for number, names in enumerate(LEVELS) if name in names]
    return found


def internal() -> list[Import]:
    return [found for file in files(PACKAGE) for found in imports(file) if found.module.split(".")[0] == PACKAGE]


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


def test_every_module_has_a_level() -> None:
    """Whoever adds a folder decides where it stands."""
    parts = {part(module_of(file)) for file in files(PACKAGE)} - {"__init__"}
    assert parts <= {name for names in LEVELS for name in names}


def test_imports_go_downwards_only() -> None:
    """Nothing knows what is built on it; folders on one level do not know each other."""
    wrong = [
        f"{found.file.relative_to(ROOT)}:{found.line} imports {found.module}"
        for found in internal()
        if part(found.module)
        and part(found.module) != (mine := part(module_of(found.file)))
        and level(part(found.module)) <= level(mine)
    ]
    assert not wrong


def test_the_direction_of_design_md_is_in_the_levels() -> None:
    """`app` → `api`, `sources`, … → `delivery`, `live`, … → `interfaces`, `reading`, `errors`."""
    drawn = (
        ("app",),
        ("api", "sources", "sinks", "relays", "rules", "ledger"),
        ("delivery", "live", "journal", "devices"),
        ("interfaces", "reading", "errors"),
    )
    for upper, lower in combinations(drawn, 2):
        assert max(map(level, upper)) < min(map(level, lower))


def test_only_the_composition_root_knows_the_sinks() -> None:
    """Adding a sink is one file and one line in app.py."""
    knowing = {part(module_of(found.file)) for found in internal() if part(found.module) == "sinks"}
    assert knowing == {"sinks", "app"}


def test_the_house_knows_nothing_of_the_daemon() -> None:
    """A simulator that shares code with the daemon would share its mistakes; the daemon needs no simulator."""
    packages = (("simulator", PACKAGE), (PACKAGE, "simulator"), (PACKAGE, "tests"), (PACKAGE, "benchmarks"))
    wrong = [
        f"{found.file}:{found.line}"
        for package, other in packages
        for file in files(package)
        for found in imports(file)
        if found.module.split(".")[0] == other
    ]
    assert not wrong


def pure() -> list[Path]:
    return [file for file in files(PACKAGE) if NO_IO in (ast.get_docstring(tree(file)) or "")]


@pytest.mark.parametrize("file", pure(), ids=module_of)
def test_what_says_no_io_does_none(file: Path) -> None:
    """A pure module imports nothing that reaches the world, and opens nothing."""
    reached = {found.module for found in imports(file)}
    assert not {module for module in reached if module in OF_IO or module.split(".")[0] in OF_IO}
    calls = {node.func.id for node in ast.walk(tree(file)) if isinstance(node, ast.Call) and hasattr(node.func, "id")}
    assert not calls & {"open", "print", "input", "exec", "eval"}


def test_what_must_be_pure_says_so() -> None:
    """Wire formats are pure functions, and say so in line one."""
    wire_formats = [file for file in files(f"{PACKAGE}/devices") if file.name != "__init__.py"]
    assert wire_formats
    for file in wire_formats:
        assert (ast.get_docstring(tree(file)) or "").splitlines()[0].endswith(NO_IO), file


def test_every_module_says_what_it_is_for() -> None:
    """Its first line does."""
    for file in files(PACKAGE):
        assert ast.get_docstring(tree(file)), file


def test_only_the_supervisor_catches_everything() -> None:
    """Elsewhere whoever does says why on that line, or only tidies up and raises again."""
    wrong = []
    for file in files(PACKAGE):
        lines = file.read_text("utf-8").splitlines()
        for node in ast.walk(tree(file)):
            if not isinstance(node, ast.ExceptHandler) or not _catches_all(node):
                continue
            raises_again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            explained = "# noqa: BLE001 - " in lines[node.lineno - 1]
            if not (raises_again or explained or file.name == "supervisor.py"):
                wrong.append(f"{file}:{node.lineno}")
    assert not wrong


def _catches_all(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(
        kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException")) for kind in caught
    )


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        (f"{PACKAGE}.app", "amqtt confluent_kafka google.auth grpc zigpy rich click"),
        (f"{PACKAGE}.cli", "amqtt aiohttp paho asyncio sqlite3 rich pydantic orjson"),
        (f"{PACKAGE}.client", "pydantic aiohttp asyncio"),
    ],
)
def test_optional_stacks_are_imported_when_they_are_needed(module: str, absent: str) -> None:
    """Memory on a Pi is small, and every command starts quickly."""
    # As `run` does: structlog would otherwise take rich along.
    program = f"import sys; sys.modules['rich'] = None; import {module}"
    program += f"; print(*(name for name in '{absent}'.split() if sys.modules.get(name)))"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout == "\n"
