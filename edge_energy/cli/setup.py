"""`edge-energy setup`: what install.sh needs of the release that it installs. Hidden: people use install.sh."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edge_energy import __version__, client
from edge_energy.cli.common import EX_FAILURE, config_option, exit_with_problems, load_as_daemon_or_exit
from edge_energy.errors import ConfigError, JournalError

_file = click.Path(path_type=Path, dir_okay=False, exists=True)
_directory = click.Path(path_type=Path, file_okay=False)


@click.group(hidden=True)
def setup() -> None:
    """Do what install.sh asks for."""


@setup.command()
@click.argument("sample", type=_file)
@click.option("--id", "appliance", required=True, help="Of the appliance.")
@click.option("--port", default=8000, help="Of the HTTP server.")
@click.option("--username", required=True, help="Of the daemon at the broker on this machine.")
def config(sample: Path, appliance: str, port: int, username: str) -> None:
    """Print the configuration of a new appliance: the annotated SAMPLE with the few values set."""
    from edge_energy.setup.config import fill  # noqa: PLC0415

    values: dict[tuple[str, str], str | int] = {
        ("appliance", "id"): appliance,
        ("mqtt", "username"): username,
        ("http", "port"): port,
    }
    click.echo(fill(sample.read_text("utf-8"), values), nl=False)


@setup.command("add-table")
@click.argument("file", type=_file)
@click.argument("table")
@click.argument("values", nargs=-1, metavar="KEY=VALUE...")
@click.option("--comment", required=True)
def add_table(file: Path, table: str, values: tuple[str, ...], comment: str) -> None:
    """Print the configuration FILE with one more TABLE at its end; as it is, if it has this table."""
    from edge_energy.setup.config import add_table as added  # noqa: PLC0415

    pairs = dict(value.split("=", 1) for value in values)
    try:
        click.echo(added(file.read_text("utf-8"), table, dict(pairs), comment), nl=False)
    except ValueError as error:
        click.echo(f"{file}: {error}", err=True)
        sys.exit(EX_FAILURE)


@setup.command("new-settings")
@click.argument("old", type=_file)
@click.argument("new", type=_file)
def new_settings(old: Path, new: Path) -> None:
    """Print the settings that the sample NEW has and the sample OLD has not."""
    from edge_energy.setup.config import new_settings as found  # noqa: PLC0415

    for setting in found(old.read_text("utf-8"), new.read_text("utf-8")):
        click.echo(setting)


@setup.command()
@config_option
def port(config: Path | None) -> None:
    """Print the port of the HTTP server; nothing if there is none."""
    settings = load_as_daemon_or_exit(config)
    if settings.http is not None:
        click.echo(settings.http.port)


@setup.command("state-dir")
@config_option
def state_dir(config: Path | None) -> None:
    """Print the directory of the journal."""
    click.echo(load_as_daemon_or_exit(config).appliance.state_dir)


@setup.command()
@config_option
@click.option("--within", default=60.0, help="How long to wait for it.", metavar="SECONDS")
def healthy(config: Path | None, within: float) -> None:
    """Wait until the daemon is of this release and does its work; exit code 1 if it does not in time."""
    from edge_energy.setup import health  # noqa: PLC0415

    settings = load_as_daemon_or_exit(config)
    socket = settings.appliance.runtime_dir / client.DEFAULT_SOCKET.name
    wrong = health.wait(socket, __version__, health.local_brokers(settings), within)
    for problem in wrong:
        click.echo(problem, err=True)
    sys.exit(EX_FAILURE if wrong else 0)


@setup.command("needs-copy")
@click.argument("directory", type=_directory)
def needs_copy(directory: Path) -> None:
    """Print yes if this release will change the schema of the journal in a state DIRECTORY."""
    from edge_energy.setup.journal import needs_copy as needed  # noqa: PLC0415

    try:
        click.echo("yes" if needed(directory) else "no")
    except JournalError as error:
        _failed(error)


@setup.command("keep-journal")
@click.argument("directory", type=_directory)
def keep_journal(directory: Path) -> None:
    """Copy the journal of a state DIRECTORY for the way back; print where."""
    from edge_energy.setup.journal import keep  # noqa: PLC0415

    try:
        click.echo(keep(directory), nl=False)
    except (ConfigError, JournalError) as error:
        _failed(error)


@setup.command("forget-journal")
@click.argument("directory", type=_directory)
def forget_journal(directory: Path) -> None:
    """Delete the copy in a state DIRECTORY."""
    from edge_energy.setup.journal import forget  # noqa: PLC0415

    forget(directory)


@setup.command("put-back-journal")
@click.argument("directory", type=_directory)
def put_back_journal(directory: Path) -> None:
    """Put the copy back, if this release cannot open the journal; print where the newer one is kept."""
    from edge_energy.setup.journal import put_back  # noqa: PLC0415

    try:
        click.echo(put_back(directory) or "", nl=False)
    except (ConfigError, JournalError) as error:
        _failed(error)


def _failed(error: ConfigError | JournalError) -> None:
    if isinstance(error, ConfigError):
        exit_with_problems(error)
    click.echo(str(error), err=True)
    sys.exit(EX_FAILURE)
