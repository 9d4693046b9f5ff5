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
    r"pass(?:word|phrase|wd|code)?|pwd|secret|sig(?:nature)?|tokens?|credentials?|auth|authorization|cookie|psk|hash|salt|jwt"
    r"|(?:api|private|network|access|shared|encryption|link|install)[ _-]?(?:key|code)|key"
)
_HARMLESS = frozenset({"webhook_auth", "key_file", "cert_file", "ca_file"})
_NAME = re.compile(rf"(?i)(?:^|[^a-z])(?:{_NAMES})$|(?:{_NAMES})$|^(?:{_NAMES})[_-]")
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_LIST = r"\[[^\]]{0,2000}(?:\]|\Z)"
# What programs print of an object: {"key": …}, <Buffer 01 03 …>, Buffer(16) [Uint8Array] [1, 3, …], lists of YAML.
_OBJECT = (
    rf"(?:\w+(?:\(\d+\))? ){{0,2}}(?:{_LIST}(?: {_LIST})?|<[^<>\n]*>|\{{[^{{}}]{{0,2000}}(?:\}}|\Z))"
    r"|(?:-[ ]+\S+\s*)+"
)
# Up to where another name has a value: of `name=` the rest of the line, for a secret may have blanks in it.
_NEXT = r"[\s,;&(){}\[\]\"'\\]{1,8}[\w.-]{1,40}[\"'\\]{0,4}\s?[=:]"
_REST, _WORD = rf"\S[^\n]*?(?={_NEXT}|\n|\Z)", rf"\S+?(?={_NEXT}|\s|\Z)"
_NAMED = rf"(?:\b|[_-]|\\?[\"'])(?:{_NAMES})\\?[\"']?"
_VALUE = rf"{_QUOTED}|\\\".*?\\\"|{_OBJECT}"
_PROSE = "not|no|now|wrong|right|invalid|valid|refused|missing|unknown|expired|empty|required|too|set|the|a|an|in|of"
_FORMS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), MASK),
    (re.compile(r"\bee_[0-9a-f]{8}_[A-Za-z0-9_-]{20,}"), MASK),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"), MASK),
    (re.compile(r"(?i)\b(bearer|basic|token|digest)([ :]+)[A-Za-z0-9+/=_.~-]{8,}"), rf"\1\2{MASK}"),
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20}://)(?:[^/\s?#\"'<>]*|[^\s\"'<>/:@]*:[^\s\"'<>]*)@"), rf"\1{MASK}@"),
    (re.compile(r"(?i)(\bkey\b[^\n]{0,40}\bconfigured=)[^\n]*"), rf"\1{MASK}"),
    (re.compile(rf"(?i)({_NAMED}[^\S\n]*=>?[^\S\n]*)(?:{_VALUE}|{_REST})"), rf"\1{MASK}"),
    (re.compile(rf"(?i)({_NAMED}\s*:\s*)(?:{_VALUE}|{_WORD})"), rf"\1{MASK}"),
    (re.compile(rf"(?i)((?:\b|[_-])(?:{_NAMES})\s*)(?:\[[^\]\n]*[, ][^\]\n]*(?:\]|\n|\Z))"), rf"\1{MASK}"),
    (
        re.compile(
            rf"((?:^|(?<=[\s\"']))(?:--[\w-]{{0,40}}(?:{_NAMES}|pw)|-P)(?:\s+|\\?[\"'],\s*))(?:{_QUOTED}|\S+)"
        ),
        rf"\1{MASK}",
    ),
    (
        re.compile(
            rf"(?i)(\b(?:password|passphrase|passcode|token|secret) (?:is|was):? )(?!(?:{_PROSE})\b)(?:{_QUOTED}|\S+)"
        ),
        rf"\1{MASK}",
    ),
)
_END = re.compile("-----END [A-Z ]*PRIVATE KEY-----")
_BASE64 = re.compile("[A-Za-z0-9+/]{32,}={0,2}|[A-Za-z0-9+/]+={1,2}")
_LINE = re.compile(rf"(?i)(?:{_NAMES})[\"']?\s*[=:]\s*([^\n]*)")
_NETWORK_KEY = re.compile(r"(?i)network_?key[\"']?\s*:\s*\[?((?:[\s,-]*\d{1,3}\b){16})")


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
        return _without_ends_of_keys(text)

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


def _without_ends_of_keys(text: str) -> str:
    """Return a text without the lines of private keys whose beginning is not in it, as a log begins anywhere."""
    if _END.search(text) is None:
        return text
    lines, inside = text.split("\n"), False
    for number in range(len(lines) - 1, -1, -1):
        last = (lines[number].split() or [""])[-1]
        encoded = inside and _BASE64.fullmatch(last) is not None
        inside = encoded or _END.search(lines[number]) is not None
        if inside:
            lines[number] = MASK
    return "\n".join(lines)


def is_secret_name(name: str) -> bool:
    """Tell whether what has this name is probably a secret."""
    return name.lower() not in _HARMLESS and _NAME.search(name.lower()) is not None


def secrets_in(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the texts in a tree of TOML or JSON that stand under the name of a secret, and passwords in URLs."""
    if depth > _DEEPEST:
        return
    if isinstance(value, str):
        for user_info in re.findall(r"://([^/\s?#]*|[^\s/:@]*:\S*)@", value):
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


def secrets_in_lines(text: str) -> Iterator[str]:
    """Yield what may be a secret in broken TOML, or in YAML: what stands behind a secret's name, quoted or not."""
    for line in text.splitlines():
        for value in _LINE.findall(line):
            yield from (found[1:-1] for found in re.findall(_QUOTED, line) if len(found) > 2)
            yield value.partition(" #")[0].strip(" \"'")


def listed_keys(text: str) -> Iterator[bytes]:
    """Yield the network keys that a file of Zigbee2MQTT has as lists of numbers, of YAML in either style."""
    for found in _NETWORK_KEY.findall(text):
        numbers = [int(number) for number in re.findall(r"\d+", found)]
        if max(numbers) < 256:
            yield bytes(numbers)


def key_forms(key: bytes) -> Iterator[str]:
    """Yield a key as programs print it: in hexadecimal and in numbers, together, in a list, in a dump."""
    for form in ("02x", "02X", "#04x"):
        yield from (between.join(format(byte, form) for byte in key) for between in ("", ":", " ", "-", ",", ", "))
    yield from (between.join(map(str, key)) for between in (" ", ",", ", ", "\n"))
    yield base64.b64encode(key).decode()


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
    quoted = {quote(form, safe=safe) for form in forms for safe in ("", "/")}
    forms |= quoted | {json.dumps(form)[1:-1] for form in forms}
    forms |= {base64.b64encode(form.encode(errors="surrogatepass")).decode().rstrip("=") for form in forms}
    return {form for form in forms if form and form.strip("*")}
