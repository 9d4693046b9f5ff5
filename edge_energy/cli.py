"""The command line. Imports what a command needs when it runs, so that each starts quickly."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlencode

import click

from edge_energy import __version__, client, reports
from edge_energy.errors import ConfigError, JournalError, JournalFull

if TYPE_CHECKING:
    from edge_energy.config import Settings

EX_FAILURE = 1
EX_UNAVAILABLE = 69
EX_CONFIG = 78
PATIENCE = {"/shelly/adopt": 180.0, "/shelly/discover": 45.0}
"""Seconds for what takes the daemon long: slow devices, a restart, and a minute until a reading comes."""

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


def _seconds(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    """Return the seconds of a duration on the command line."""
    if text is None:
        return None
    from edge_energy.config.values import duration  # noqa: PLC0415

    try:
        return duration(text)
    except ValueError:
        raise click.BadParameter('expected a duration like "90d" or "12h"') from None


@main.group()
def token() -> None:
    """Make and revoke the tokens with which devices and people use the HTTP server."""


@token.command("create")
@_socket
@_config
@click.option(
    "--role",
    required=True,
    type=click.Choice(["device", "viewer", "operator", "admin"]),
    help="device: may send readings; viewer: may look; operator: may switch, too; admin: may do everything.",
)
@click.option("--expires", callback=_seconds, help="How long it is valid, such as 90d; for ever without.")
@click.option("--name", default="", help="Whose it is, for your own memory.")
def create_token(socket: Path | None, config: Path | None, role: str, expires: float | None, name: str) -> None:
    """Make a token and print it, once: it is not kept."""
    wanted = {"role": role, "name": name, "expires": expires}
    click.echo(reports.new_token(role, _ask(socket, config, "POST", "/tokens", wanted)["token"]))


@token.command("list")
@_socket
@_config
@_json
def list_tokens(socket: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Show all tokens, without their secrets."""
    tokens = _ask(socket, config, "GET", "/tokens")["tokens"]
    click.echo(reports.as_json(tokens) if as_json else reports.tokens(tokens))


@token.command("revoke")
@_socket
@_config
@click.argument("number", metavar="ID")
def revoke_token(socket: Path | None, config: Path | None, number: str) -> None:
    """Refuse the token with this id from now on."""
    answer = _ask(socket, config, "DELETE", f"/tokens/{quote(number, safe='')}")
    click.echo(f"The token {answer['revoked']} is refused from now on.")


@main.group()
def shelly() -> None:
    """Find Shelly devices, and set them up so that they send to this appliance."""


@shelly.command()
@_socket
@_config
@_json
@click.option("--seconds", type=click.FloatRange(0.1, 30), default=5.0, show_default=True, help="How long to listen.")
@click.option("--interface", help="Ask only on the interface with this address of the appliance.", metavar="ADDRESS")
def discover(socket: Path | None, config: Path | None, as_json: bool, **options: Any) -> None:  # noqa: FBT001
    """Find devices that announce themselves in the local network (mDNS)."""
    wanted = urlencode({name: value for name, value in options.items() if value is not None})
    found = _ask(socket, config, "GET", f"/shelly/discover?{wanted}")["devices"]
    click.echo(reports.as_json(found) if as_json else reports.discovered(found))


@shelly.command("list")
@_socket
@_config
@_json
def list_shellies(socket: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Show every Shelly that was heard since the daemon's start, and by which ways."""
    known = _ask(socket, config, "GET", "/shelly/devices")["devices"]
    click.echo(reports.as_json(known) if as_json else reports.shellies(known))


@shelly.command()
@_socket
@_config
@_json
@click.argument("address")
@click.option(
    "--via",
    type=click.Choice(["websocket", "webhook", "mqtt"]),
    default="websocket",
    show_default=True,
    help="How it is to send its readings.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be changed.")
@click.option(
    "--wait",
    type=click.FloatRange(0, 60),
    default=60.0,
    show_default=True,
    help="Seconds within which a reading must come.",
)
@click.option("--replace", is_flag=True, help="Take the device from whoever has its WebSocket or its MQTT now.")
@click.option("--server", help="Our address (or the broker's) as the device sees it.", metavar="HOST[:PORT]")
@click.option("--password", is_flag=True, help="Ask for the device's password; else $SHELLY_PASSWORD or [[shelly]].")
@click.option("--mqtt-user", help="Its user at the broker; the password is $SHELLY_MQTT_PASSWORD, or asked for.")
def adopt(socket: Path | None, config: Path | None, as_json: bool, **options: Any) -> None:  # noqa: FBT001
    """Set up the device at ADDRESS (HOST or HOST:PORT), and wait until a reading of it has come.

    Doing it again changes nothing. Exit codes: 0 a reading came, or it was a dry run; 1 it failed.
    """
    answer = _ask(socket, config, "POST", "/shelly/adopt", _wish(**options))
    report = {name: value for name, value in answer.items() if name != "status"}
    click.echo(reports.as_json(report) if as_json else reports.adoption(report, dry_run=options["dry_run"]))
    sys.exit(0 if options["dry_run"] or report["verified_seconds"] is not None else EX_FAILURE)


def _wish(*, password: bool, **options: Any) -> dict[str, Any]:
    """Return what is asked of the daemon, with the passwords of the environment or the terminal."""
    secrets = {"password": os.environ.get("SHELLY_PASSWORD"), "mqtt_password": os.environ.get("SHELLY_MQTT_PASSWORD")}
    if password:
        secrets["password"] = click.prompt("Password of the device", hide_input=True, err=True)
    if options["mqtt_user"] is None:
        del secrets["mqtt_password"]
    elif secrets["mqtt_password"] is None:
        secrets["mqtt_password"] = click.prompt(f"Password of {options['mqtt_user']}", hide_input=True, err=True)
    return {name: value for name, value in {**options, **secrets}.items() if value is not None}


def _ask(socket: Path | None, config: Path | None, method: str, path: str, body: Any = None) -> Any:
    """Ask the daemon, or say why that is not possible and exit."""
    try:
        patience = PATIENCE.get(path.partition("?")[0])
        return client.ask(socket or client.find_socket(config), method, path, body, patience)
    except client.NoDaemon as error:
        click.echo(str(error), err=True)
        sys.exit(EX_UNAVAILABLE)
    except client.Refused as error:
        click.echo(str(error), err=True)
        sys.exit(EX_FAILURE)
    except ConfigError as error:
        _exit_with_problems(error)
