"""`edge-energy journal`: what was recorded, what was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_energy import reports
from edge_energy.cli.common import ask, config_option, json_option, show, socket_option, target

if TYPE_CHECKING:
    from pathlib import Path


@click.group()
def journal() -> None:
    """Look into the journal."""


@journal.command()
@socket_option
@config_option
@json_option
@click.option("-n", "--count", default=20, show_default=True, help="How many entries.")
def tail(socket: Path | None, config: Path | None, as_json: bool, count: int) -> None:  # noqa: FBT001
    """Show the newest entries."""
    entries = ask(socket, config, "GET", target("/journal/tail", count=count))
    show(entries, reports.tail, as_json=as_json)


@journal.command(short_help="Show size, age, commits and losses.")
@socket_option
@config_option
@json_option
def stats(socket: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Show size, oldest entry, commits, and what was dropped or set aside."""
    report = ask(socket, config, "GET", "/journal/stats")
    show(report, reports.journal, as_json=as_json)


@journal.command(short_help="Show what was refused or unreadable.")
@socket_option
@config_option
@json_option
@click.option("-n", "--count", default=20, show_default=True, help="How many unreadable messages.")
def rejections(socket: Path | None, config: Path | None, as_json: bool, count: int) -> None:  # noqa: FBT001
    """Show what sinks refused, and messages that no reading could be made of."""
    report = ask(socket, config, "GET", target("/journal/rejections", count=count))
    show(report, reports.rejections, as_json=as_json)


@journal.command()
@socket_option
@config_option
@click.option("--sink", help="Only what this sink refused.")
def retry(socket: Path | None, config: Path | None, sink: str | None) -> None:
    """Deliver again what was set aside."""
    answer = ask(socket, config, "POST", target("/journal/retry", sink=sink))
    click.echo(f"{answer['retried']} entries will be delivered again.")
