"""What was measured, beside what was wanted: on the terminal, and as Markdown in README.md."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

README = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- results: written by python -m benchmarks --record -->\n", "<!-- end of results -->\n"
_WORDS = {True: "yes", False: "**no**", None: ""}


class Figure(NamedTuple):
    """One measured number in words, and whether it is what was wanted."""

    benchmark: str
    what: str
    measured: str
    target: str = ""
    reached: bool | None = None


def at_least(benchmark: str, what: str, value: float, target: float, form: str = "{:,.0f}") -> Figure:
    """Return a number that should be high."""
    return Figure(benchmark, what, form.format(value), f"≥ {form.format(target)}", value >= target)


def at_most(benchmark: str, what: str, value: float, target: float, form: str = "{:,.0f}") -> Figure:
    """Return a number that should be low."""
    return Figure(benchmark, what, form.format(value), f"≤ {form.format(target)}", value <= target)


def show(figures: list[Figure]) -> None:
    """Print a table, or plain lines where nobody watches."""
    console = Console()
    if not console.is_terminal:
        print(_plain(figures))
        return
    table = Table("benchmark", "figure", "measured", "target", "reached")
    table.columns[2].justify = "right"
    table.columns[3].justify = "right"
    before = ""
    for figure in figures:
        if before not in ("", figure.benchmark):
            table.add_section()
        name = figure.benchmark if figure.benchmark != before else ""
        table.add_row(name, figure.what, figure.measured, figure.target, _WORDS[figure.reached].strip("*"))
        before = figure.benchmark
    console.print(table, highlight=False)


def record(figures: list[Figure], where: list[str]) -> None:
    """Put the table into README.md, in place of the one before."""
    text = README.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    lines = [*(f"- {line}" for line in where), "", "| benchmark | figure | measured | target | reached |"]
    lines += ["|---|---|---:|---:|---|"]
    lines += [f"| {f.benchmark} | {f.what} | {f.measured} | {f.target} | {_WORDS[f.reached]} |" for f in figures]
    README.write_text(f"{before}{_BEGIN}\n" + "\n".join(lines) + f"\n\n{_END}{after}")


def _plain(figures: list[Figure]) -> str:
    width = max(len(f"{figure.benchmark}: {figure.what}") for figure in figures)
    lines = []
    for figure in figures:
        verdict = {True: "reached", False: "MISSED", None: ""}[figure.reached]
        name = f"{figure.benchmark}: {figure.what}"
        lines.append(f"{name:{width}}  {figure.measured:>16}  {figure.target:>12}  {verdict}".rstrip())
    return "\n".join(lines)
