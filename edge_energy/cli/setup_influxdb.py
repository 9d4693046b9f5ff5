"""`edge-energy setup influxdb`: organisation, bucket and tokens, for install.sh."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import click

from edge_energy.cli.common import EX_FAILURE

YEARS = 2 * 365
"""Days that measurements are kept: a year, and the year before it to compare; some 3 GB for 20 devices at 10 s."""
SECONDS_OF_DAY = 86_400
MACHINE_ID = Path("/etc/machine-id")


@click.command("influxdb")
@click.option("--url", default="http://127.0.0.1:8086", show_default=True, help="Address of InfluxDB 2.")
@click.option("--org", default="home", show_default=True, help="Organisation.")
@click.option("--bucket", default="energy", show_default=True, help="Bucket.")
@click.option(
    "--keep", default=YEARS, show_default=True, type=click.IntRange(0), help="Days, for a new bucket; 0: for ever."
)
@click.option(
    "--secrets", required=True, type=click.Path(path_type=Path, file_okay=False), help="Where tokens are kept."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File with a token of an InfluxDB that others have set up.",
)
@click.option("--reader", is_flag=True, help="Fail if no token can be had that may read, as Grafana needs it.")
def influxdb(  # noqa: PLR0913 - the command's options
    *, url: str, org: str, bucket: str, keep: int, secrets: Path, token_file: Path | None, reader: bool
) -> None:
    """Make what the daemon and Grafana need in InfluxDB; print what was made, nothing where all was there.

    The tokens are in the files influxdb-write.token and influxdb-read.token of the directory with the secrets.
    """
    from edge_energy.setup import influxdb as steps  # noqa: PLC0415 - what a command needs is imported when it runs
    from edge_energy.setup.influxdb_api import SetupError  # noqa: PLC0415

    wanted = steps.Wanted(url, org, bucket, keep * SECONDS_OF_DAY, secrets, _owner(), reader)
    try:
        given = steps.read_token(token_file) if token_file else ""
        for line in steps.set_up(wanted, given):
            click.echo(line)
    except SetupError as error:
        click.echo(str(error), err=True)
        sys.exit(EX_FAILURE)


def _owner() -> str:
    """Return what tells this machine from others that use the same InfluxDB."""
    machine = MACHINE_ID.read_text().strip() if MACHINE_ID.exists() else ""
    return f"{socket.gethostname()} {machine[:8]}".strip()


@click.command("influxdb-settings")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def influxdb_settings(file: Path) -> None:
    """Print address, organisation and bucket of a configuration file, a line each; nothing if it names none."""
    import tomllib  # noqa: PLC0415 - what a command needs is imported when it runs

    from edge_energy.config import Influxdb  # noqa: PLC0415

    try:
        table = tomllib.loads(file.read_text("utf-8")).get("influxdb")
    except ValueError as error:
        click.echo(f"{file}: {error}", err=True)
        sys.exit(EX_FAILURE)
    if isinstance(table, dict):
        for name in ("url", "org", "bucket"):
            click.echo(table.get(name, Influxdb.model_fields[name].default))
