"""What a check is, and what it says. No I/O."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 6.0
"""Seconds that a check has, unless it says otherwise."""


class Verdict(StrEnum):
    """How it stands; only a failure makes the exit code 1."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    NOT_APPLICABLE = "not applicable"
    NOT_PERMITTED = "not permitted"


class Finding(NamedTuple):
    """What a check found, in one line; where something is wrong, why, and what the person types or does."""

    verdict: Verdict
    found: str
    cause: str = ""
    remedy: str = ""


class Check(NamedTuple):
    """One thing to look at.

    `look` blocks, and runs in a thread of its own. It may raise what reading strange files and asking strange servers
    raises (`OSError`, `ValueError`, `LookupError`, `EdgeEnergyError`): that becomes a finding, too.
    """

    name: str
    look: Callable[[], Finding]
    timeout: float = PATIENCE


class Result(NamedTuple):
    """What became of one check."""

    group: str
    name: str
    finding: Finding


def ok(found: str) -> Finding:
    """Return that all is well."""
    return Finding(Verdict.OK, found)


def warning(found: str, cause: str, remedy: str) -> Finding:
    """Return that it works, but not as well or as long as it should."""
    return Finding(Verdict.WARNING, found, cause, remedy)


def failure(found: str, cause: str, remedy: str) -> Finding:
    """Return that somebody must act."""
    return Finding(Verdict.FAILURE, found, cause, remedy)


def not_applicable(found: str) -> Finding:
    """Return that there is nothing of this kind here, or that something else has to work first."""
    return Finding(Verdict.NOT_APPLICABLE, found)


def not_permitted(found: str) -> Finding:
    """Return that this user may not see it."""
    return Finding(Verdict.NOT_PERMITTED, found, "this user may not look there", "sudo edge-energy doctor")
