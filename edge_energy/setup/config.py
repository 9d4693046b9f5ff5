"""The configuration file as install.sh makes it, adds to it, and compares samples of it. No I/O."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Switched off settings begin with "#" directly; words for people with "# ".
_TABLE = re.compile(r"#?\[\[?([a-z_0-9.]+)\]\]?")
_KEY = re.compile(r"#?([a-z_0-9]+) = ")


def fill(sample: str, values: Mapping[tuple[str, str], str | int]) -> str:
    """Return the annotated sample with some settings set: `values` is by table and key, such as ("http", "port").

    A table stands for its first block, which must be switched on in the sample. Raises `KeyError` for a setting that
    is not there: the sample is of another release.
    """
    lines = sample.splitlines()
    for place, value in values.items():
        number = next((number for number, found in _settings(lines) if found == place), None)
        if number is None:
            raise KeyError(f"[{place[0]}] {place[1]}")
        lines[number] = f"{place[1]} = {literal(value)}"
    return "\n".join(lines) + "\n"


def add_table(text: str, name: str, values: Mapping[str, str | int], comment: str) -> str:
    """Return a configuration with a table at its end, below a comment; one that has this table is returned as it is.

    Raises `tomllib.TOMLDecodeError` where `text` is no TOML.
    """
    if name in tomllib.loads(text):
        return text
    table = [f"# {comment}", f"[{name}]", *(f"{key} = {literal(value)}" for key, value in values.items())]
    return text.rstrip("\n") + "\n\n\n" + "\n".join(table) + "\n"


def new_settings(old: str, new: str) -> list[str]:
    """Return the settings that the sample of a release has and that of an older one has not, as "[http] port"."""
    known = {place for _, place in _settings(old.splitlines())}
    found = (place for _, place in _settings(new.splitlines()) if place not in known)
    return [f"[{table}] {key}" for table, key in dict.fromkeys(found)]


def literal(value: str | int) -> str:
    """Return a value as TOML writes it."""
    return str(value).lower() if isinstance(value, int) else json.dumps(value, ensure_ascii=False)


def _settings(lines: list[str]) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield line number, table and key of each setting, switched on or off."""
    table = ""
    for number, line in enumerate(lines):
        if found := _TABLE.match(line):
            table = found[1]
        elif found := _KEY.match(line):
            yield number, (table, found[1])
