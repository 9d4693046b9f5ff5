"""Takes secrets out of what others are to read: those that are known, and whatever looks like one. No I/O.

Known secrets are replaced wherever they stand, also as a URL or JSON would write them; beside that, everything whose
name says that it is one, and everything in a form that only secrets have. Rather a line too empty than one too full.
"""

from __future__ import annotations

import base64
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MASK = "***"
_SHORTEST = 4
"""A shorter secret is replaced only where it stands alone: else no word would be left."""
_LONG_LINE = 8
"""Characters of a line that tells something by itself, of a secret that has several."""
_DEEPEST = 50
_NAMES = (
    r"pass(?:word|phrase|wd|code)?|pwd|secret|tokens?|credentials?|auth|authorization|cookie|psk|hash|salt|jwt"
    r"|(?:api|private|network|access|shared|encryption|link|install)[ _-]?(?:key|code)|key"
)
_HARMLESS = frozenset({"webhook_auth", "key_file", "cert_file", "ca_file"})
_NAME = re.compile(rf"(?i)(?:^|[^a-z])(?:{_NAMES})$|(?:{_NAMES})$|^(?:{_NAMES})[_-]")
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_FORMS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), MASK),
    (re.compile(r"\bee_[0-9a-f]{8}_[A-Za-z0-9_-]{20,}"), MASK),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"), MASK),
    (re.compile(r"(?i)\b(bearer|basic|token|digest)([ :]+)[A-Za-z0-9+/=_.~-]{8,}"), rf"\1\2{MASK}"),
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/\s?#\"'<>]*@"), rf"\1{MASK}@"),
    (
        re.compile(
            rf"(?i)((?:\b|[_-]|\\?[\"'])(?:{_NAMES})\\?[\"']?\s*(?:[=:]|=>)\s*)({_QUOTED}|\\\".*?\\\"|[^\s,;&}}\]\)]+)"
        ),
        rf"\1{MASK}",
    ),
)


class Scrubber:
    """Knows the secrets of one appliance."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _written(secret)}
        long = sorted((re.escape(form) for form in forms if len(form) >= _SHORTEST), key=len, reverse=True)
        short = sorted((re.escape(form) for form in forms if len(form) < _SHORTEST), key=len, reverse=True)
        parts = [*long, *(rf"(?<!\w){form}(?!\w)" for form in short)]
        self._known = re.compile("|".join(parts)) if parts else None

    def text(self, text: str) -> str:
        """Return a text without secrets."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        for form, instead in _FORMS:
            text = form.sub(instead, text)
        return text

    def value(self, value: Any, depth: int = 0) -> Any:
        """Return what JSON can hold without secrets, names included."""
        if depth > _DEEPEST:
            return MASK
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {
                self.text(str(name)): MASK if _hidden(str(name), inner) else self.value(inner, depth + 1)
                for name, inner in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(inner, depth + 1) for inner in value]
        return value


def is_secret_name(name: str) -> bool:
    """Tell whether what has this name is probably a secret."""
    return name.lower() not in _HARMLESS and _NAME.search(name.lower()) is not None


def secrets_in(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the texts in a tree of TOML or JSON that stand under the name of a secret, and passwords in URLs."""
    if depth > _DEEPEST:
        return
    if isinstance(value, str):
        for user_info in re.findall(r"://([^/\s?#]*)@", value):
            yield user_info
            yield user_info.partition(":")[2]
    elif isinstance(value, dict):
        for name, inner in value.items():
            if _hidden(str(name), inner):
                yield from _texts(inner, depth + 1)
            yield from secrets_in(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from secrets_in(inner, depth + 1)


def _hidden(name: str, value: Any) -> bool:
    """Tell whether a value is hidden for its name; true, false and nothing tell nobody anything."""
    return value is not None and not isinstance(value, bool) and is_secret_name(name)


def _texts(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)
        if str(value).lstrip().startswith("{"):  # the key of a service account
            with suppress(ValueError, RecursionError):
                yield from secrets_in(json.loads(str(value)), depth)
    elif isinstance(value, dict | list | tuple) and depth <= _DEEPEST:
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner, depth + 1)


def _written(secret: str) -> set[str]:
    """Return a secret as it may stand somewhere: as it is, line by line, in a URL, in JSON, in base64."""
    lines = {line.strip() for line in secret.splitlines()}
    forms = {secret, secret.strip(), *(line for line in lines if len(line) >= _LONG_LINE)}
    forms |= {quote(form, safe="") for form in forms} | {json.dumps(form)[1:-1] for form in forms}
    forms |= {base64.b64encode(form.encode(errors="surrogatepass")).decode().rstrip("=") for form in forms}
    return {form for form in forms if form and form.strip("*")}
