"""The command line. Imports what a command needs when it runs, so that each starts quickly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_energy import __version__, reports
from edge_energy.cli import daemon, doctor, forward, journal, relays, setup, setup_influxdb, shelly, tokens, upkeep
from edge_energy.cli.common import ask, config_option, json_option, show, socket_option

if TYPE_CHECKING:
    from pathlib import Path


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 1 failed; 2 wrong usage; 69 no daemon answers; 78 the configuration is invalid.",
)
@click.version_option(__version__, prog_name="edge-energy")
def main() -> None:
    """Meter and switch a house: every reading through a durable journal to InfluxDB, Kafka and Pub/Sub."""


@main.command()
@socket_option
@config_option
@json_option
def status(socket: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Show how the appliance is doing."""
    report = ask(socket, config, "GET", "/status")
    show(report, reports.status, as_json=as_json)


@main.command()
@socket_option
@config_option
@json_option
def devices(socket: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Show every device with its newest live values."""
    report = ask(socket, config, "GET", "/devices")
    show(report, reports.devices, as_json=as_json)


shelly.shelly.add_command(relays.test_lease)
setup.setup.add_command(setup_influxdb.influxdb)
setup.setup.add_command(setup_influxdb.influxdb_settings)
for command in (upkeep.backup, upkeep.restore, upkeep.reset, upkeep.support_bundle):
    main.add_command(command)
for command in (daemon.run, daemon.check, daemon.simulate, doctor.doctor, relays.switch, relays.why):
    main.add_command(command)
for group in (journal.journal, forward.forward, tokens.token, shelly.shelly, setup.setup):
    main.add_command(group)
