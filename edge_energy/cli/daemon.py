"""Commands that need no running daemon: run it, check its configuration, try it with a simulated house."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from edge_energy.cli.common import (
    EX_FAILURE,
    config_option,
    exit_with_problems,
    load_as_daemon_or_exit,
    load_or_exit,
    socket_option,
)
from edge_energy.errors import ConfigError, JournalError, JournalFull


@click.command()
@config_option
@socket_option
def run(config: Path | None, socket: Path | None) -> None:
    """Run the daemon in the foreground (systemd does this).

    SIGTERM ends it; SIGHUP loads the configuration again. Exit codes: 0 after a signal, 1 when the journal's
    file or disk failed, 78 when the configuration is invalid.
    """
    settings = load_or_exit(config)
    # structlog imports rich if it can, for coloured tracebacks: 19 MB that a daemon has no use for.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    from edge_energy import app  # noqa: PLC0415
    from edge_energy.config import load  # noqa: PLC0415

    try:
        app.main(settings, lambda: load(config), socket)
    except ConfigError as error:
        exit_with_problems(error)
    except (JournalError, JournalFull) as error:
        click.echo(f"the journal failed: {error}", err=True)
        sys.exit(EX_FAILURE)


if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@config_option
def check(config: Path | None) -> None:
    """Check the configuration and report every problem at once.

    On an appliance with the secrets that the daemon is given, which root can read. Exit codes: 0 valid, 78 invalid.
    """
    settings = load_as_daemon_or_exit(config)
    brokers, shellies = len(settings.mqtt), len(settings.shelly)
    sinks = sum(table is not None for table in (settings.influxdb, settings.kafka, settings.pubsub))
    parts = [f"{brokers} broker{'s' * (brokers != 1)}"]
    parts += [f"{shellies} Shelly device{'s' * (shellies != 1)}"] if shellies else []
    parts += [f"HTTP on port {settings.http.port}"] if settings.http is not None else []
    relays = len(settings.relay)
    parts += [f"{relays} relay{'s' * (relays != 1)}"] if relays else []
    parts += [f"{sinks} sink{'s' * (sinks != 1)}"]
    click.echo(f"The configuration is valid: appliance {settings.appliance.id}, {', '.join(parts)}.")
    if not (brokers or shellies or settings.http):
        click.echo("No [[mqtt]], [[shelly]] or [http] section: the daemon will listen to nothing.")
    if settings.cloud.allow_commands:
        click.echo("Commands from the cloud are carried out: [cloud] allow_commands.")
    if not sinks:
        click.echo("No sink: readings stay in the journal for [journal] keep.")


@click.command(short_help="Try it: a simulated house, broker and daemon.")
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
