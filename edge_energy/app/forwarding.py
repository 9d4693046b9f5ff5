"""Makes what entries are forwarded to. Kafka's and Google's libraries are imported only where they are configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_energy.api.forward_local import FarSide
from edge_energy.cloud.inbox import Inbox
from edge_energy.delivery import Delivery
from edge_energy.messages import Messages
from edge_energy.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from edge_energy.app.parts import Shared
    from edge_energy.cloud.letter import CommandSource
    from edge_energy.cloud.outgoing import Outgoing
    from edge_energy.config import Forwarding, Kafka, Pubsub, Settings
    from edge_energy.interfaces import Sink
    from edge_energy.relays.controller import Controller


async def make_deliveries(shared: Shared) -> list[Delivery]:
    """Make one delivery for each configured sink."""
    appliance = shared.settings.appliance.id
    found = []
    for sink, table in _sinks(shared.settings, shared.journal.journal_id):
        strict = table.order == "strict"
        outbox = await shared.journal.outbox(sink.name, strict=strict)
        found.append(Delivery(sink, outbox, Pace(0.0 if strict else table.replay_rate, appliance)))
    return found


def _sinks(settings: Settings, journal_id: str) -> Iterator[tuple[Sink, Forwarding]]:
    appliance = settings.appliance.id
    if settings.influxdb is not None:
        from edge_energy.sinks.influxdb import InfluxdbSink  # noqa: PLC0415

        yield InfluxdbSink(settings.influxdb, appliance), settings.influxdb
    if settings.kafka is not None:
        from edge_energy.sinks.kafka import KafkaSink  # noqa: PLC0415

        yield KafkaSink(settings.kafka, Messages(appliance, journal_id), f"edge-energy-{appliance}"), settings.kafka
    if settings.pubsub is not None:
        from edge_energy.sinks.pubsub import PubsubSink  # noqa: PLC0415

        yield PubsubSink(settings.pubsub, Messages(appliance, journal_id)), settings.pubsub


def make_inboxes(shared: Shared, controller: Controller) -> list[Inbox]:
    """Make what takes commands from the cloud, where that is allowed."""
    settings = shared.settings
    found: list[CommandSource] = []
    if not settings.cloud.allow_commands:
        return []
    if settings.kafka is not None:
        from edge_energy.cloud.kafka import KafkaCommands  # noqa: PLC0415

        found.append(KafkaCommands(settings.kafka, f"edge-energy-{settings.appliance.id}"))
    if settings.pubsub is not None:
        from edge_energy.cloud.pubsub import PubsubCommands  # noqa: PLC0415

        found.append(PubsubCommands(settings.pubsub))
    return [Inbox(source, controller, shared.journal) for source in found]


def make_far_sides(settings: Settings) -> dict[str, FarSide]:
    """Make what the command line needs to make topics, and to read what arrived in them."""
    commands, found = settings.cloud.allow_commands or settings.cloud.publish_commands, {}
    if settings.kafka is not None:
        found["kafka"] = _kafka(settings.kafka, commands=commands)
    if settings.pubsub is not None:
        found["pubsub"] = _pubsub(settings.pubsub, commands=commands)
    return found


def _kafka(settings: Kafka, *, commands: bool) -> FarSide:
    from edge_energy.kafka.tail import tail  # noqa: PLC0415
    from edge_energy.kafka.topics import create_topics  # noqa: PLC0415

    def create(partitions: int, replication: int) -> Awaitable[list[tuple[str, str]]]:
        return create_topics(settings, partitions=partitions, replication=replication, commands=commands)

    return FarSide(create, lambda from_beginning: tail(settings, from_beginning=from_beginning))


def _pubsub(settings: Pubsub, *, commands: bool) -> FarSide:
    from edge_energy.pubsub.tail import tail  # noqa: PLC0415
    from edge_energy.pubsub.topics import create_topics  # noqa: PLC0415

    def create(_partitions: int, _replication: int) -> Awaitable[list[tuple[str, str]]]:
        return create_topics(settings, commands=commands)

    return FarSide(create, lambda from_beginning: tail(settings, from_beginning=from_beginning))


def make_publisher(settings: Settings) -> Outgoing | None:
    """Make what publishes commands for devices elsewhere, where that is wanted."""
    if settings.pubsub is None or not settings.cloud.publish_commands:
        return None
    from edge_energy.cloud.outgoing import Outgoing  # noqa: PLC0415

    return Outgoing(settings.pubsub)
