"""The report of the doctor, for people and for programs. No I/O."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from edge_energy.doctor.finding import Result, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN = {
    Verdict.OK: "ok",
    Verdict.WARNING: "WARNING",
    Verdict.FAILURE: "FAILURE",
    Verdict.NOT_APPLICABLE: "-",
    Verdict.NOT_PERMITTED: "not permitted",
}
WIDTH = max(map(len, _SHOWN.values()))
"""Letters of the column of verdicts, which begins at the third one."""
_COLOURS = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILURE: "red"}


def colour(verdict: str) -> str | None:
    """Return the colour of a verdict as it is shown."""
    return next((_COLOURS.get(known) for known, shown in _SHOWN.items() if shown == verdict), None)


def count(results: Sequence[Result], verdict: Verdict) -> int:
    """Return how many checks ended so."""
    return sum(result.finding.verdict is verdict for result in results)


def text(results: Sequence[Result]) -> str:
    """Return a line for each check, what to do below what is wrong, and a summary."""
    blocks = []
    for group, members in groupby(results, lambda result: result.group):
        blocks.append("\n".join([group, *(line for each in members for line in _lines(each))]))
    return "\n\n".join([*blocks, summary(results)])


def _lines(result: Result) -> list[str]:
    verdict, found, cause, remedy = result.finding
    lines = [f"  {_SHOWN[verdict]:<{WIDTH}}  {result.name}: {found}"]
    indent = " " * (WIDTH + 6)
    if verdict in (Verdict.WARNING, Verdict.FAILURE):
        lines += [f"{indent}{label}: {said}" for label, said in (("cause", cause), ("remedy", remedy)) if said]
    return lines


def summary(results: Sequence[Result]) -> str:
    """Return the last lines: how many checks ended how, and what would show more."""
    failures, warnings = count(results, Verdict.FAILURE), count(results, Verdict.WARNING)
    hidden = count(results, Verdict.NOT_PERMITTED)
    said = f"{count(results, Verdict.OK)} ok, {_many(warnings, 'warning')}, {_many(failures, 'failure')}"
    lines = [said if failures or warnings else f"All is well: {said}."]
    if hidden:
        lines.append(f"{_many(hidden, 'check')} not permitted: see more with `sudo edge-energy doctor`.")
    return "\n".join(lines)


def _many(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def as_data(results: Sequence[Result]) -> dict[str, Any]:
    """Return the report for programs."""
    return {
        "failures": count(results, Verdict.FAILURE),
        "warnings": count(results, Verdict.WARNING),
        "checks": [
            {"group": each.group, "name": each.name, **each.finding._asdict(), "verdict": str(each.finding.verdict)}
            for each in results
        ],
    }
