"""The command line. Imports what a command needs when it runs, so that each starts quickly."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from edge_energy import __version__, client, reports
from edge_energy.errors import ConfigError, JournalError, JournalFull

if TYPE_CHECKING:
    from edge_energy.config import Settings

EX_FAILURE = 1
EX_UNAVAILABLE = 69
EX_CONFIG = 78

_config = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file (TOML).",
    metavar="FILE",
)
_socket = click.option("--socket", type=click.Path(path_type=Path), help="The daemon's local socket.", metavar="PATH")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 1 failed; 2 wrong usage; 69 no daemon answers; 78 the configuration is invalid.",
)
@click.version_option(__version__, prog_name="edge-energy")
def main() -> None:
    """Meter and switch a house: every reading through a durable journal to InfluxDB."""


def _load(config: Path | None) -> Settings:
    """Load the settings, or print every problem and exit with 78."""
    from edge_energy.config import load  # noqa: PLC0415

    try:
        return load(config)
    except ConfigError as error:
        _exit_with_problems(error)


def _exit_with_problems(error: ConfigError) -> NoReturn:
    for problem in error.problems:
        click.echo(problem, err=True)
    sys.exit(EX_CONFIG)


@main.command()
@_config
@_socket
def run(config: Path | None, socket: Path | None) -> None:
    """Run the daemon in the foreground (systemd does this).

    SIGTERM ends it; SIGHUP loads the configuration again. Exit codes: 0 after a signal, 1 when the journal's
    file or disk failed, 78 when the configuration is invalid.
    """
    settings = _load(config)
    # structlog imports rich if it can, for coloured tracebacks: 19 MB that a daemon has no use for.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    from edge_energy import app  # noqa: PLC0415
    from edge_energy.config import load  # noqa: PLC0415

    try:
        app.main(settings, lambda: load(config), socket)
    except ConfigError as error:
        _exit_with_problems(error)
    except (JournalError, JournalFull) as error:
        click.echo(f"the journal failed: {error}", err=True)
        sys.exit(EX_FAILURE)


@main.command()
@_config
def check(config: Path | None) -> None:
    """Check the configuration and report every problem at once.

    Exit codes: 0 valid, 78 invalid.
    """
    settings = _load(config)
    brokers, sinks = len(settings.mqtt), int(settings.influxdb is not None)
    parts = f"{brokers} broker{'s' * (brokers != 1)}, {sinks} sink{'s' * (sinks != 1)}"
    click.echo(f"The configuration is valid: appliance {settings.appliance.id}, {parts}.")
    if not brokers:
        click.echo("No [[mqtt]] section: the daemon will listen to nothing.")
    if not sinks:
        click.echo("No sink: readings stay in the journal for [journal] keep.")


@main.command()
@click.option("--influxdb", "url", help="Write to this InfluxDB too, such as http://127.0.0.1:8086.", metavar="URL")
@click.option("--token", envvar="INFLUXDB_TOKEN", help="Its token (or $INFLUXDB_TOKEN).")
@click.option("--org", default="home", show_default=True, help="Its organisation.")
@click.option("--bucket", default="energy", show_default=True, help="Its bucket.")
@click.option("--speed", default=60.0, show_default=True, help="How much faster the house lives.")
@click.option("--seed", default=1, show_default=True, help="Which house it is.")
@click.option("--duration", type=float, help="End after so many seconds instead of at Ctrl-C.", metavar="SECONDS")
def simulate(**options: Any) -> None:
    """Run a simulated house, a broker and the daemon: no root, no configuration, nothing left behind.

    Ctrl-C ends it.
    """
    if options["url"] and not options["token"]:
        raise click.UsageError("--influxdb needs --token (or $INFLUXDB_TOKEN)")
    from edge_energy.simulation import Simulation  # noqa: PLC0415

    sys.exit(Simulation(**options).run())


@main.command()
@_socket
@_config
@_json
def status(socket: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Show how the appliance is doing."""
    report = _ask(socket, config, "GET", "/status")
    click.echo(reports.as_json(report) if as_json else reports.status(report))


@main.command()
@_socket
@_config
@_json
def devices(socket: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Show every device with its newest live values."""
    report = _ask(socket, config, "GET", "/devices")
    click.echo(reports.as_json(report) if as_json else reports.devices(report))


@main.group()
def journal() -> None:
    """Look into the journal."""


@journal.command()
@_socket
@_config
@_json
@click.option("-n", "--count", default=20, show_default=True, help="How many entries.")
def tail(socket: Path | None, config: Path | None, as_json: bool, count: int) -> None:  # noqa: FBT001
    """Show the newest entries."""
    entries = _ask(socket, config, "GET", f"/journal/tail?count={count}")
    click.echo(reports.as_json(entries) if as_json else reports.tail(entries))


@journal.command()
@_socket
@_config
@_json
def stats(socket: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Show size, oldest entry, commits, and what was dropped or set aside."""
    report = _ask(socket, config, "GET", "/journal/stats")
    click.echo(reports.as_json(report) if as_json else reports.journal(report))


@journal.command()
@_socket
@_config
@_json
@click.option("-n", "--count", default=20, show_default=True, help="How many unreadable messages.")
def rejections(socket: Path | None, config: Path | None, as_json: bool, count: int) -> None:  # noqa: FBT001
    """Show what sinks refused, and messages that no reading could be made of."""
    report = _ask(socket, config, "GET", f"/journal/rejections?count={count}")
    click.echo(reports.as_json(report) if as_json else reports.rejections(report))


@journal.command()
@_socket
@_config
@click.option("--sink", help="Only what this sink refused.")
def retry(socket: Path | None, config: Path | None, sink: str | None) -> None:
    """Deliver again what was set aside."""
    answer = _ask(socket, config, "POST", "/journal/retry" + (f"?sink={sink}" if sink else ""))
    click.echo(f"{answer['retried']} entries will be delivered again.")


def _ask(socket: Path | None, config: Path | None, method: str, path: str) -> Any:
    """Ask the daemon, or say why that is not possible and exit."""
    try:
        return client.ask(socket or client.find_socket(config), method, path)
    except client.NoDaemon as error:
        click.echo(str(error), err=True)
        sys.exit(EX_UNAVAILABLE)
    except client.Refused as error:
        click.echo(str(error), err=True)
        sys.exit(EX_FAILURE)
    except ConfigError as error:
        _exit_with_problems(error)
