"""The settings as they were found: one tree of raw values that knows where each came from. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_energy.config.problems import ENVIRONMENT, Location, line, place, show

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel


class Sources:
    """One tree of raw values, the origin of each, and what went wrong in making it."""

    def __init__(self, root: type[BaseModel], file: Path) -> None:
        self.root = root
        self.file = str(file)
        self.tree: dict[str, Any] = {}
        self.problems: list[str] = []
        self._origins: dict[Location, str] = {(): self.file}

    def origin(self, location: Location) -> str:
        """Return the file or variable that a value, or the table around it, comes from."""
        while location not in self._origins:
            location = location[:-1]
        return self._origins[location]

    def get(self, location: Location) -> Any:
        """Return a raw value, or None where there is none."""
        node: Any = self.tree
        for key in location:
            fits = isinstance(node, dict) if isinstance(key, str) else isinstance(node, list)
            if not fits or (key not in node if isinstance(key, str) else key >= len(node)):
                return None
            node = node[key]
        return node

    def tables(self, location: Location) -> list[tuple[int, dict[str, Any]]]:
        """Return the tables of a list of them, with their numbers."""
        found = self.get(location)
        return [(n, t) for n, t in enumerate(found if isinstance(found, list) else ()) if isinstance(t, dict)]

    def put(self, location: Location, value: object, origin: str) -> None:
        """Set a value, and make the tables and lists that lead to it."""
        node: Any = self.tree
        for depth, key in enumerate(location, 1):
            here = location[:depth]
            if not self._fits(node, key, here, origin):
                return
            if isinstance(node, list) and key == len(node):
                node.append(None)
            if here == location:
                node[key] = value
                self._origins[here] = origin
            elif self.get(here) is None:
                node[key] = [] if isinstance(location[depth], int) else {}
                self._origins[here] = origin
            node = node[key]

    def _fits(self, node: object, key: int | str, location: Location, origin: str) -> bool:
        if isinstance(node, list):
            text = f"expected the number of an entry, 0 to {len(node)}, as in {ENVIRONMENT}MQTT__0__HOST"
            fits = isinstance(key, int) and key <= len(node)
        else:
            text = "no such setting"
            fits = isinstance(node, dict) and isinstance(key, str)
        if not fits:
            self.problems.append(line(origin, location, text))
        return fits

    def default(self, location: Location, value: object, origin: str | None = None) -> None:
        """Set a value where no source has one."""
        table = self.get(location[:-1])
        if self.get(location) is None and (table is None or isinstance(table, dict)):
            self.put(location, value, origin or self.origin(location))

    def agree(self, location: Location, value: str, origin: str) -> None:
        """Set a value where no source has one; where one has another, that is a problem."""
        present = self.get(location)
        if present is None:
            self.put(location, value, origin)
        elif str(present).rstrip("/") != value.rstrip("/"):
            hidden = place(self.root, location).secret
            other = f"{self.origin(location)} says {'something else' if hidden else show(present)}"
            self.problems.append(line(origin, location, f"{other}; keep one of the two", None if hidden else value))
