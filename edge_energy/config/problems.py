"""Words for what is wrong in the configuration: where, which key, which value, what was expected. No I/O.

No secret, and nothing that may be a secret in the wrong place, ever gets into these words.
"""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from pydantic import BaseModel, SecretStr

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

Location = tuple[int | str, ...]
ENVIRONMENT = "EDGE_ENERGY_"
_LONGEST = 80


class Place(NamedTuple):
    """What a location leads to: the innermost table, and the setting in it, if there is one of that name."""

    table: type[BaseModel]
    setting: FieldInfo | None

    @property
    def secret(self) -> bool:
        """Whether the value must not be shown: a secret, or what may be one in the wrong place."""
        if self.setting is None or _table_in(self.setting.annotation):
            return True
        return SecretStr in (self.setting.annotation, *get_args(self.setting.annotation))


def place(root: type[BaseModel], location: Location) -> Place:
    """Follow a location through the models."""
    table, setting = root, None
    for key in location:
        if isinstance(key, int):
            continue
        setting = table.model_fields.get(key)
        inner = _table_in(setting.annotation) if setting else None
        if inner is None:
            break
        table = inner
    return Place(table, setting)


def _table_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_table_in, get_args(annotation))), None)


def key_path(location: Location) -> str:
    """Write a location the way people do: mqtt[0].sensors[1].topic."""
    path = ""
    for key in location:
        if isinstance(key, int):
            path += f"[{key}]"
        else:
            name = key if re.fullmatch(r"[\w-]+", key) else _quoted(key)
            path += f".{name}" if path else name
    return path


def variable(location: Location) -> str:
    """Name the environment variable of a setting."""
    return ENVIRONMENT + "__".join(str(key).upper() for key in location)


def show(value: object) -> str:
    """Write a value on one line; nothing for tables and lists, which may hold secrets."""
    if value is None or isinstance(value, dict | list | tuple):
        return ""
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    # A URL may have a password before its host, or a token after its question mark.
    text = re.sub(r"\?.*", "?…", re.sub(r"^.*@", "…@", value, flags=re.DOTALL), flags=re.DOTALL)
    return _quoted(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).encode(errors="backslashreplace").decode()


def line(origin: str, location: Location, text: str, value: object = None) -> str:
    """Write one problem."""
    shown = show(value)
    return f"{origin}: {key_path(location)}{' = ' if shown else ''}{shown}: {text}"


def where(error: ErrorDetails) -> Location:
    """Return the location of a validation error."""
    return tuple(key for key in error["loc"] if key != "[key]")


def explain(root: type[BaseModel], error: ErrorDetails, origin: str, value: object) -> str:
    """Turn a validation error into a problem."""
    location = where(error)
    found = place(root, location)
    if error["type"] == "extra_forbidden":
        return line(origin, location, _unknown(str(location[-1]), found.table))
    text = str(error.get("ctx", {}).get("error", "")) if error["type"] == "value_error" else ""
    if not text and found.setting:
        text = f"expected {found.setting.description}"
    if error["type"] == "missing":
        text = f"missing; {text}"
        if found.secret:
            text += (
                f"; set it in the file, in {variable(location)}, or in the file "
                f"{'.'.join(map(str, location))} of $CREDENTIALS_DIRECTORY"
            )
        return line(origin, location, text)
    return line(origin, location, text, None if found.secret else value)


def _unknown(key: str, table: type[BaseModel]) -> str:
    known = list(table.model_fields)
    near = get_close_matches(key.lower(), known, 1)
    return "no such setting; " + (f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}")
