"""`edge-energy doctor`: looks at everything, and explains what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - click's type at runtime

import click

from edge_energy import reports
from edge_energy.cli.common import EX_CONFIG, EX_FAILURE, config_option, json_option, socket_option


@click.command(short_help="Check everything, and explain what is wrong.")
@socket_option
@config_option
@json_option
def doctor(socket: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001 - an option
    """Look at everything that the appliance needs, and say what is wrong, why, and what to do.

    Nothing is changed. It works without the daemon, too; as root it sees more.

    Exit codes: 0 nothing failed (there may be warnings), 1 a check failed, 78 the configuration is invalid.
    """
    import asyncio  # noqa: PLC0415

    from edge_energy import logs  # noqa: PLC0415
    from edge_energy.doctor import examination, report  # noqa: PLC0415
    from edge_energy.doctor.case import open_case  # noqa: PLC0415
    from edge_energy.doctor.finding import Verdict  # noqa: PLC0415
    from edge_energy.doctor.machine import Machine  # noqa: PLC0415

    logs.configure("error")  # to stderr: what clients of brokers say while they try is no part of the report
    case = open_case(Machine(), config, socket)
    results = asyncio.run(examination.examine(examination.checks(case)))
    if as_json:
        click.echo(reports.as_json(report.as_data(results)))
    else:
        for line in reports.printable(report.text(results)).splitlines():
            verdict, rest = line[: report.WIDTH + 2], line[report.WIDTH + 2 :]
            click.echo(click.style(verdict, fg=report.colour(verdict.strip())) + rest)  # in colours on terminals only
    if case.problems and not case.forbidden:
        sys.exit(EX_CONFIG)
    sys.exit(EX_FAILURE if report.count(results, Verdict.FAILURE) else 0)
