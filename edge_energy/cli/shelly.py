"""`edge-energy shelly`: find Shelly devices, set them up, list them."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from edge_energy import reports
from edge_energy.cli.common import EX_FAILURE, ask, config_option, json_option, show, socket_option, target

if TYPE_CHECKING:
    from pathlib import Path


@click.group(short_help="Find and set up Shelly devices.")
def shelly() -> None:
    """Find Shelly devices, and set them up so that they send to this appliance."""


@shelly.command(short_help="Find devices that announce themselves.")
@socket_option
@config_option
@json_option
@click.option("--seconds", type=click.FloatRange(0.1, 30), default=5.0, show_default=True, help="How long to listen.")
@click.option("--interface", help="Ask only on the interface with this address of the appliance.", metavar="ADDRESS")
def discover(socket: Path | None, config: Path | None, as_json: bool, **options: Any) -> None:  # noqa: FBT001
    """Find devices that announce themselves in the local network (mDNS)."""
    found = ask(socket, config, "GET", target("/shelly/discover", **options))["devices"]
    show(found, reports.discovered, as_json=as_json)


@shelly.command("list", short_help="Show devices that were heard, and how.")
@socket_option
@config_option
@json_option
def list_shellies(socket: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Show every Shelly that was heard since the daemon's start, and by which ways."""
    known = ask(socket, config, "GET", "/shelly/devices")["devices"]
    show(known, reports.shellies, as_json=as_json)


@shelly.command(short_help="Set up a device to send to this appliance.")
@socket_option
@config_option
@json_option
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
    answer = ask(socket, config, "POST", "/shelly/adopt", _wish(**options))
    report = {name: value for name, value in answer.items() if name != "status"}
    show(report, partial(reports.adoption, dry_run=options["dry_run"]), as_json=as_json)
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
