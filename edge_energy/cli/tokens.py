"""`edge-energy token`: who may use the HTTP server."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from edge_energy import reports
from edge_energy.cli.common import ask, config_option, json_option, show, socket_option

if TYPE_CHECKING:
    from pathlib import Path


def _seconds(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    """Return the seconds of a duration on the command line."""
    if text is None:
        return None
    from edge_energy.config.values import duration  # noqa: PLC0415

    try:
        return duration(text)
    except ValueError:
        raise click.BadParameter('expected a duration like "90d" or "12h"') from None


@click.group(short_help="Who may use the HTTP server.")
def token() -> None:
    """Make and revoke the tokens with which devices and people use the HTTP server."""


@token.command("create")
@socket_option
@config_option
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
    click.echo(reports.new_token(role, ask(socket, config, "POST", "/tokens", wanted)["token"]))


@token.command("list")
@socket_option
@config_option
@json_option
def list_tokens(socket: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Show all tokens, without their secrets."""
    tokens = ask(socket, config, "GET", "/tokens")["tokens"]
    show(tokens, reports.tokens, as_json=as_json)


@token.command("revoke")
@socket_option
@config_option
@click.argument("number", metavar="ID")
def revoke_token(socket: Path | None, config: Path | None, number: str) -> None:
    """Refuse the token with this id from now on."""
    answer = ask(socket, config, "DELETE", f"/tokens/{quote(number, safe='')}")
    click.echo(f"The token {answer['revoked']} is refused from now on.")
