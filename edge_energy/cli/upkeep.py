"""Commands for day two, which work on the files: back up, restore, reset, and what to send to whoever helps."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_energy.cli.common import EX_CONFIG, EX_FAILURE, config_option, exit_with_problems, socket_option
from edge_energy.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_energy.upkeep.places import Places

_START = "sudo systemctl start edge-energy"
_FILE = click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
_with_secrets = click.option("--with-secrets", is_flag=True, help="The secrets, too; they are encrypted.")
_passphrase_file = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Has the passphrase in its first line.",
)


@contextmanager
def _explained() -> Iterator[None]:
    """Say why something was not done, and exit."""
    from edge_energy.upkeep.errors import NotDone  # noqa: PLC0415

    try:
        yield
    except NotDone as error:
        click.echo(f"Not done: {error}.", err=True)
        sys.exit(EX_FAILURE)
    except ConfigError as error:
        exit_with_problems(error)


def _places(config: Path | None, state: Path | None = None) -> tuple[Places, str]:
    from edge_energy.upkeep import places  # noqa: PLC0415 - costs a tenth of a second

    return places.find(config, state)


def _passphrase(with_secrets: bool, file: Path | None) -> str | None:  # noqa: FBT001
    if with_secrets is not (file is not None):
        raise click.UsageError("--with-secrets and --passphrase-file belong together")
    if file is None:
        return None
    from edge_energy.upkeep.sealed import read_passphrase  # noqa: PLC0415

    return read_passphrase(file)


@click.command(short_help="Back up everything into one file.")
@config_option
@_with_secrets
@_passphrase_file
@_FILE
def backup(config: Path | None, with_secrets: bool, passphrase_file: Path | None, file: Path) -> None:  # noqa: FBT001
    """Back up configuration, journal (with the tokens of the HTTP server) and Zigbee2MQTT's devices into FILE.

    With --with-secrets also all passwords, keys, and the key of the Zigbee network, without which its devices would
    have to be paired again. The daemon goes on meanwhile. FILE appears when it is complete and was looked through.
    """
    os.nice(5)  # the daemon goes first
    with _explained():
        from edge_energy.upkeep import backup as backups  # noqa: PLC0415

        passphrase = _passphrase(with_secrets, passphrase_file)
        places, appliance = _places(config)
        done = backups.make(places, appliance, file, passphrase)
    names = [item.name for item in done.manifest.files]
    click.echo(f"Backed up to {file} ({done.bytes / 2**20:.1f} MiB): {', '.join(names)}.")
    if done.manifest.journal_id:
        click.echo(
            f"The journal has {done.entries} entries, up to {done.manifest.journal_id}/{done.manifest.position}."
        )
    if done.wrong:
        click.echo(f"{done.wrong} of them were damaged on this disk before; the others are whole.", err=True)
    if passphrase is None:
        click.echo("Secrets are not in it (--with-secrets), but for those that stand in these files themselves.")
    else:
        click.echo(f"{len(done.names)} secrets are in it, encrypted: without the passphrase they are lost.")
    if done.left_out:
        click.echo(
            f"The key of the Zigbee network is not in it either ({', '.join(done.left_out)}): on a new disk this "
            "backup alone does not bring the network back. With --with-secrets it does.",
            err=True,
        )
    if done.unnamed:
        click.echo(f"Not in it, for a backup cannot hold such names: {', '.join(map(str, done.unnamed))}.", err=True)
    if file.stat().st_mode & 0o077:
        click.echo(f"Others can read {file}: its disk keeps no permissions. Keep it where nobody else is.", err=True)


@click.command(short_help="Put a backup into place; the daemon must be stopped.")
@config_option
@click.option("--state-dir", type=click.Path(path_type=Path), metavar="DIR", help="Where the state is to be.")
@click.option("--keep-config", is_flag=True, help="Keep the configuration that is here.")
@_with_secrets
@_passphrase_file
@_FILE
def restore(  # noqa: PLR0913 - as many options
    config: Path | None,
    state_dir: Path | None,
    keep_config: bool,  # noqa: FBT001
    with_secrets: bool,  # noqa: FBT001
    passphrase_file: Path | None,
    file: Path,
) -> None:
    """Put what is in FILE into place, and what was there aside.

    FILE is looked through before anything is touched. Interrupted, the same command goes on. Exit code 78: done, but
    the configuration is not valid on this machine.
    """
    with _explained():
        from edge_energy.upkeep import places as found  # noqa: PLC0415
        from edge_energy.upkeep import restore as restores  # noqa: PLC0415

        passphrase = _passphrase(with_secrets, passphrase_file)
        places, _ = _places(config, state_dir and state_dir.absolute())
        done = restores.restore(places, file, passphrase, keep_config=keep_config)
        manifest = done.manifest
    how = "The restore that was interrupted is complete: the backup" if done.resumed else "Restored the backup"
    click.echo(f"{how} of {manifest.appliance}, {manifest.created}, by version {manifest.version}.")
    click.echo(f"What it replaced is in {done.kept}, and beside the files elsewhere (.replaced-…).")
    if manifest.journal_id:
        click.echo(
            f"The journal goes on at position {manifest.position} under a new id, {done.journal_id}. What was "
            "recorded after the backup is only where it was delivered. What was owed at the backup is delivered "
            "again: the same points in InfluxDB, new ids (ce_id) in Kafka and Pub/Sub. No relay is switched on by it."
        )
    if done.left_out:
        click.echo(f"Left out, for Zigbee2MQTT is not on this machine: {', '.join(done.left_out)}.")
    if done.secrets:
        click.echo(f"{len(done.secrets)} secrets restored; run install.sh again, so that the broker learns of them.")
    problems = found.problems(places)
    if problems:
        click.echo("The configuration is not valid on this machine; correct it before the start:", err=True)
        click.echo("\n".join(problems), err=True)
        sys.exit(EX_CONFIG)
    click.echo(f"Start the daemon: {_START}")


@click.command(short_help="Back to a fresh installation, after a backup.")
@config_option
@click.option("--yes", is_flag=True, help="Do it.")
@click.option(
    "--backup-to",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the backup goes; else the state directory.",
)
def reset(config: Path | None, yes: bool, backup_to: Path | None) -> None:  # noqa: FBT001
    """Back up, then remove the journal and all other state; configuration and secrets stay.

    Without --yes it only says what it would do, and exits with 2.
    """
    with _explained():
        from edge_energy.upkeep import reset as resets  # noqa: PLC0415

        places, appliance = _places(config)
        directory = (backup_to or places.backups).absolute()
        if not yes:
            names = [path.relative_to(places.state).as_posix() for path in resets.doomed(places)] or ["nothing"]
            click.echo(f"This would back up to {directory}, then remove from {places.state}: {', '.join(names)}.")
            click.echo(
                "All tokens of the HTTP server, and all that is not delivered yet, would be gone. With --yes it is. "
                "Which commands came before, and what is cut out or was switched off, is kept, for safety."
            )
            sys.exit(2)
        done = resets.reset(places, appliance, directory)
    click.echo(f"Backed up to {done.file} ({done.backup.bytes / 2**20:.1f} MiB).")
    click.echo(f"Removed from {places.state}: {', '.join(done.removed) or 'nothing'}.")
    click.echo(
        "The new journal knows only which commands came before, and what is cut out or was switched off, for safety."
    )
    click.echo(f"Configuration and secrets are as they were. Start the daemon: {_START}")
    click.echo(f"To undo this: edge-energy restore {done.file}")


@click.command("support-bundle", short_help="Collect what somebody who helps needs; no secrets.")
@config_option
@socket_option
@click.option("--with-readings", is_flag=True, help="Also the newest readings and refused messages.")
@_FILE
def support_bundle(config: Path | None, socket: Path | None, with_readings: bool, file: Path) -> None:  # noqa: FBT001
    """Write settings, status, the doctor's findings, the log and versions into FILE, without any secret.

    It has the names of your devices, their ids, addresses and topics, and no readings unless asked for.
    """
    with _explained():
        from edge_energy import client  # noqa: PLC0415
        from edge_energy.upkeep import bundle  # noqa: PLC0415

        places, _ = _places(config)
        try:
            socket = socket or client.find_socket(config)
        except ConfigError:  # it is in the bundle
            socket = client.DEFAULT_SOCKET
        names = bundle.make(places, socket, file, readings=with_readings)
    click.echo(f"Written to {file}: {', '.join(names)}.")
    click.echo("Passwords and tokens are replaced by ***; names, ids, addresses and topics are in it.")
