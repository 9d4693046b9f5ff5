"""What the commands have in common: options, asking the daemon, exit codes."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlencode

import click

from edge_energy import client, reports
from edge_energy.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_energy.config import Settings

EX_FAILURE = 1
EX_UNAVAILABLE = 69
EX_CONFIG = 78
PATIENCE = {
    "/shelly/adopt": 180.0,
    "/shelly/discover": 45.0,
    "/relays/switch": 60.0,
    "/relays/test-lease": 90.0,
    "/forward/create-topics": 60.0,
    "/forward/test": 310.0,
}
"""Seconds for what takes the daemon long: slow devices, a restart, and a minute until a reading comes."""

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file (TOML).",
    metavar="FILE",
)
socket_option = click.option(
    "--socket", type=click.Path(path_type=Path), help="The daemon's local socket.", metavar="PATH"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def load_or_exit(config: Path | None) -> Settings:
    """Load the settings, or print every problem and exit with 78."""
    from edge_energy.config import load  # noqa: PLC0415

    try:
        return load(config)
    except ConfigError as error:
        exit_with_problems(error)


def load_as_daemon_or_exit(config: Path | None) -> Settings:
    """Load the settings of an appliance as its daemon does; of another file, as `load_or_exit` does."""
    from edge_energy.config import DEFAULT_PATH, config_path  # noqa: PLC0415
    from edge_energy.config.credstore import STORE, load_as_daemon  # noqa: PLC0415

    if config_path(config) != DEFAULT_PATH:
        return load_or_exit(config)
    try:
        return load_as_daemon(config)
    except PermissionError:
        click.echo(f"The daemon's secrets in {STORE} are not looked at: only root can read them (sudo).", err=True)
        return load_or_exit(config)
    except ConfigError as error:
        exit_with_problems(error)


def exit_with_problems(error: ConfigError) -> NoReturn:
    """Print every problem of the configuration, and exit with 78."""
    for problem in error.problems:
        click.echo(problem, err=True)
    sys.exit(EX_CONFIG)


def ask(socket: Path | None, config: Path | None, method: str, target: str, body: Any = None) -> Any:
    """Ask the daemon, or say why that is not possible and exit."""
    patience = PATIENCE.get(target.partition("?")[0])
    with _explained():
        return client.ask(socket or client.find_socket(config), method, target, body, patience)


def stream(socket: Path | None, config: Path | None, target: str) -> Iterator[Any]:
    """Ask the daemon for what it tells line by line, until it ends or the user presses Ctrl-C."""
    with _explained(), suppress(KeyboardInterrupt):
        yield from client.stream(socket or client.find_socket(config), target)


@contextmanager
def _explained() -> Iterator[None]:
    """Say why the daemon cannot be asked, and exit."""
    try:
        yield
    except client.NoDaemon as error:
        click.echo(str(error), err=True)
        sys.exit(EX_UNAVAILABLE)
    except client.Refused as error:
        click.echo(reports.printable(str(error)), err=True)
        sys.exit(EX_FAILURE)
    except ConfigError as error:
        exit_with_problems(error)


def target(path: str, **query: object) -> str:
    """Return a path with its query, without the parameters that are None."""
    return f"{path}?{urlencode({name: value for name, value in query.items() if value is not None})}"


def show(answer: Any, report: Callable[[Any], str], *, as_json: bool) -> None:
    """Print an answer for programs, or the report of it for people."""
    click.echo(reports.as_json(answer) if as_json else reports.printable(report(answer)))
