"""Bytes written a day at steady rates, trimming included: hours of the real journal on a clock that runs faster."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.report import Figure, at_most
from benchmarks.surroundings import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.options import Options
    from benchmarks.surroundings import Surroundings

DAY = 86_400
# Messages a second: hours that are simulated, GB a day that are allowed.
RATES: dict[int, tuple[float, float | None]] = {1: (12, 0.35), 10: (6, 0.8), 100: (1, None)}

QUICK = 10  # the only one that is then tried


def measure(around: Surroundings, options: Options) -> Iterator[Figure]:
    """Run the driver for each rate."""
    for rate, (hours, allowed) in RATES.items():
        if options.quick and rate != QUICK:
            continue
        name = f"{rate} messages/s"
        report = _drive(around, rate, hours / 12 if options.quick else hours)
        days = report["seconds"] / DAY
        written, device = report["written"] / days / 1e9, report["device"] / days / 1e9
        around.say(f"{name}: {report}")
        if allowed is None:
            yield Figure(name, "written, GB/day", f"{written:.2f}")
        else:
            yield at_most(name, "written, GB/day", written, allowed, "{:.2f}")
        yield Figure(name, "device, GB/day", f"{device:.2f}")
        yield Figure(
            name,
            "simulated: hours, commits, WAL cycles, rows trimmed",
            f"{report['seconds'] / 3600:g}, {report['commits']:,}, {report['cycles']:,}, {report['trimmed']:,}",
        )


def _drive(around: Surroundings, rate: int, hours: float) -> dict[str, Any]:
    arguments = [sys.executable, "-m", "benchmarks.wear_driver", "--directory", str(around.fresh_directory())]
    arguments += ["--rate", str(rate), "--hours", str(hours), "--seed", str(around.seed)]
    finished = subprocess.run(arguments, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    report: dict[str, Any] = json.loads(finished.stdout)
    return report
