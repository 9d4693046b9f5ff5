"""`edge-energy forward`: how forwarding goes, making topics, trying a sink out, reading what arrived."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from edge_energy import reports
from edge_energy.cli.common import (
    EX_FAILURE,
    ask,
    config_option,
    json_option,
    show,
    socket_option,
    stream,
    target,
)

if TYPE_CHECKING:
    from pathlib import Path


@click.group(short_help="Kafka, Pub/Sub and InfluxDB: how it goes, and whether it works.")
def forward() -> None:
    """Look after what entries are forwarded to."""


@forward.command()
@socket_option
@config_option
@json_option
def status(socket: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001 - an option
    """Show how each sink and each source of commands is doing."""
    report = ask(socket, config, "GET", "/status")
    show({name: report[name] for name in ("sinks", "commands")}, reports.forwarding, as_json=as_json)


@forward.command("create-topics", short_help="Make the topics that do not exist yet.")
@socket_option
@config_option
@json_option
@click.option("--partitions", default=6, show_default=True, help="Of Kafka's topic of readings; others have one.")
@click.option("--replication", default=1, show_default=True, help="On how many of Kafka's brokers each topic is.")
def create_topics(
    socket: Path | None,
    config: Path | None,
    as_json: bool,  # noqa: FBT001 - an option
    partitions: int,
    replication: int,
) -> None:
    """Make the topics that do not exist yet, in Kafka and in Pub/Sub; those that exist are left alone.

    With [cloud] also the topic of commands, and in Pub/Sub this appliance's subscription to it.
    """
    answer = ask(
        socket, config, "POST", "/forward/create-topics", {"partitions": partitions, "replication": replication}
    )
    show(answer, reports.topics, as_json=as_json)


@forward.command(short_help="Send one marked entry, and wait until it is confirmed.")
@socket_option
@config_option
@json_option
@click.option("--timeout", default=20.0, show_default=True, help="How many seconds to wait.", metavar="SECONDS")
@click.argument("sink")
def test(socket: Path | None, config: Path | None, as_json: bool, timeout: float, sink: str) -> None:  # noqa: FBT001
    """Send one marked entry to SINK (influxdb, kafka or pubsub) by the way that all take, and tell which hop failed.

    It is an appliance entry with the event "test"; other sinks get it too.

    Exit codes: 0 the sink has confirmed it; 1 it has not.
    """
    answer = ask(socket, config, "POST", "/forward/test", {"sink": sink, "timeout": timeout})
    show(answer, reports.forward_test, as_json=as_json)
    sys.exit(0 if all(hop["passed"] for hop in answer["hops"]) else EX_FAILURE)


@forward.command(short_help="Show what arrives at a sink, as the sink itself tells it.")
@socket_option
@config_option
@json_option
@click.option("--from-beginning", is_flag=True, help="Begin with the oldest that is still there.")
@click.argument("sink")
def tail(socket: Path | None, config: Path | None, as_json: bool, from_beginning: bool, sink: str) -> None:  # noqa: FBT001
    """Read the topics of SINK (kafka or pubsub) until Ctrl-C: what is shown has really arrived there."""
    query = target("/forward/tail", sink=sink, from_beginning="1" if from_beginning else None)
    for message in stream(socket, config, query):
        _show(message, as_json=as_json)


def _show(message: dict[str, Any], *, as_json: bool) -> None:
    if "error" in message:
        click.echo(reports.printable(message["error"]), err=True)
        sys.exit(EX_FAILURE)
    text = reports.compact(message) if as_json else reports.printable(reports.arrived(message))
    click.echo(text)
