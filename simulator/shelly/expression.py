"""The expressions in webhooks: conditions, and `${…}` in URLs; a small part of JavaScript. No I/O."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<string>"[^"]*"|'[^']*')|(?P<name>[A-Za-z_$][\w$]*)"""
    r"""|(?P<sign>&&|\|\||===|!==|==|!=|<=|>=|[-+*/%<>!().\[\]]))"""
)
PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
WORDS = {"true": True, "false": False, "null": None}


class ExpressionError(ValueError):
    """An expression cannot be read, or leads to something that is not there."""


def _arithmetic(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Restrict an operation to numbers: Python's would also repeat and format texts."""

    def calculate(one: Any, other: Any) -> Any:
        if not isinstance(one, int | float) or not isinstance(other, int | float):
            raise ExpressionError("arithmetic is for numbers")
        return operation(one, other)

    return calculate


LEVELS: tuple[dict[str, Callable[[Any, Any], Any]], ...] = (
    {"||": lambda one, other: one or other},
    {"&&": lambda one, other: one and other},
    {"==": operator.eq, "!=": operator.ne, "===": operator.eq, "!==": operator.ne},
    {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge},
    {"+": _arithmetic(operator.add), "-": _arithmetic(operator.sub)},
    {"*": _arithmetic(operator.mul), "/": _arithmetic(operator.truediv), "%": _arithmetic(operator.mod)},
)


def evaluate(text: str, scope: Mapping[str, Any]) -> Any:
    """Evaluate an expression over the names of the scope."""
    parser = _Parser(_tokens(text), scope)
    try:
        value = parser.level(0)
    except (TypeError, ZeroDivisionError, RecursionError) as error:
        raise ExpressionError(str(error)) from error
    if parser.tokens:
        raise ExpressionError(f"unexpected {parser.tokens[0]}")
    return value


def fill(url: str, scope: Mapping[str, Any]) -> str:
    """Replace each `${…}` by its value, URL-encoded; one that fails stays as it is, as in real devices."""

    def value(match: re.Match[str]) -> str:
        try:
            return quote(_text(evaluate(match[1], scope)), safe="")
        except ExpressionError:
            return match[0]

    return PLACEHOLDER.sub(value, url)


def _text(value: Any) -> str:
    """Write a value as JavaScript does: whole numbers without a point."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _tokens(text: str) -> list[str]:
    tokens, position = [], 0
    while text[position:].strip():
        match = TOKEN.match(text, position)
        if match is None:
            raise ExpressionError(f"unexpected {text[position:].strip()[0]}")
        tokens.append(match[0].strip())
        position = match.end()
    return tokens


class _Parser:
    """Recursive descent; evaluates while it reads."""

    def __init__(self, tokens: list[str], scope: Mapping[str, Any]) -> None:
        self.tokens = tokens
        self._scope = scope

    def level(self, number: int) -> Any:
        if number == len(LEVELS):
            return self._unary()
        value = self.level(number + 1)
        while self.tokens and self.tokens[0] in LEVELS[number]:
            sign = self.tokens.pop(0)
            value = LEVELS[number][sign](value, self.level(number + 1))
        return value

    def _unary(self) -> Any:
        if self.tokens[:1] == ["!"]:
            self.tokens.pop(0)
            return not self._unary()
        if self.tokens[:1] == ["-"]:
            self.tokens.pop(0)
            return -self._unary()
        return self._path()

    def _path(self) -> Any:
        value = self._atom()
        while self.tokens and self.tokens[0] in {".", "["}:
            if self.tokens.pop(0) == ".":
                key = self._next()
            else:
                key = self.level(0)
                self._expect("]")
            value = _member(value, key)
        return value

    def _atom(self) -> Any:
        word = self._next()
        if word == "(":
            value = self.level(0)
            self._expect(")")
            return value
        if word[0] in "\"'":
            return word[1:-1]
        if word[0].isdigit():
            return float(word) if "." in word else int(word)
        return WORDS[word] if word in WORDS else _member(self._scope, word)

    def _next(self) -> str:
        if not self.tokens:
            raise ExpressionError("the expression ends too early")
        return self.tokens.pop(0)

    def _expect(self, sign: str) -> None:
        if self._next() != sign:
            raise ExpressionError(f"{sign} is missing")


def _member(value: Any, key: Any) -> Any:
    try:
        return value[key]
    except (KeyError, IndexError, TypeError) as error:
        raise ExpressionError(f"there is no {key}") from error
