"""Commands for relays: `switch`, `why`, and `shelly test-lease`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from edge_energy import reports
from edge_energy.cli.common import EX_FAILURE, ask, config_option, json_option, show, socket_option, target

if TYPE_CHECKING:
    from pathlib import Path


@click.command(short_help="Switch a relay, and wait for its confirmation.")
@socket_option
@config_option
@json_option
@click.argument("device")
@click.argument("state", type=click.Choice(["on", "off", "toggle"], case_sensitive=False))
@click.option("--for", "for_", help="Switch back after so long, like 30m or 90 (seconds).", metavar="DURATION")
@click.option("--no-wait", is_flag=True, help="Do not wait for what becomes of it.")
def switch(  # noqa: PLR0913 - the options
    socket: Path | None,
    config: Path | None,
    as_json: bool,  # noqa: FBT001 - an option
    device: str,
    state: str,
    for_: str | None,
    no_wait: bool,  # noqa: FBT001 - an option
) -> None:
    """Switch the relay DEVICE (an id, or a name as `edge-energy devices` shows it).

    A cut-out ends when somebody switches the relay on by a command; the device's own button does not end it.

    Exit codes: 0 the device has confirmed (with --no-wait: the daemon has taken the command); 1 it has not.
    """
    body: dict[str, Any] = {"device": device, "state": state, "for": for_, "wait": not no_wait}
    answer = ask(socket, config, "POST", "/relays/switch", body)
    done = answer["outcome"] == "confirmed" or (no_wait and answer["outcome"] == "pending")
    if done or as_json:
        show(answer, reports.switched, as_json=as_json)
    else:
        click.echo(reports.printable(reports.switched(answer)), err=True)
    sys.exit(0 if done else EX_FAILURE)


@click.command(short_help="Show what was decided about a relay, and why.")
@socket_option
@config_option
@json_option
@click.argument("device")
def why(socket: Path | None, config: Path | None, as_json: bool, device: str) -> None:  # noqa: FBT001 - an option
    """Show the last decisions about the relay DEVICE, newest first, and what was known when they were made."""
    show(ask(socket, config, "GET", target("/relays/why", device=device)), reports.why, as_json=as_json)


@click.command("test-lease", short_help="Try the timer that makes a relay safe.")
@socket_option
@config_option
@json_option
@click.argument("device")
@click.option("--yes", is_flag=True, help="Do not ask.")
def test_lease(socket: Path | None, config: Path | None, as_json: bool, device: str, yes: bool) -> None:  # noqa: FBT001
    """Find out whether the device's own timer, on which the lease relies, can be sent again without a click.

    Afterwards the relay is brought to what was wished of it before. The test is recorded like any other command.

    Exit codes: 0 it can, and switches back; 1 it cannot.
    """
    text = (
        f"This takes {device} out of its safe state for some 15 seconds: unless that is on, the load is switched ON. "
        "Afterwards it is as it was wished before, and the test is recorded."
    )
    click.echo(text, err=True)
    if not yes:
        click.confirm("May that happen now?", abort=True, err=True)
    found = ask(socket, config, "POST", "/relays/test-lease", {"device": device})
    show(found, reports.lease_test, as_json=as_json)
    sys.exit(0 if found["verified"] else EX_FAILURE)
