"""Checks between tables of the configuration: what is right alone and wrong together. No I/O.

They look at raw values, so that they are reported together with everything that is wrong alone.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from edge_energy.config import relay_checks
from edge_energy.config.problems import Location, key_path, show
from edge_energy.config.values import overlapping, topic_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_energy.config.tree import Sources

# What Zigbee2MQTT publishes below its base and a sensor's filter that begins with + could catch as well.
_ZIGBEE2MQTT = ("+", "+/availability", "bridge/state", "bridge/info", "bridge/devices", "bridge/groups")


class _Subscription(NamedTuple):
    location: Location
    name: str
    filters: list[str]
    base: str | None = None  # everything that is named below it belongs to Zigbee2MQTT

    def meets(self, other: _Subscription) -> bool:
        if any(overlapping(one, two) for one in self.filters for two in other.filters):
            return True
        return any(a.base and b.name.startswith(f"{a.base}/") for a, b in ((self, other), (other, self)))


def conflicts(sources: Sources) -> Iterator[tuple[Location, str]]:
    """Yield every place where two blocks are in each other's way, with what was expected."""
    yield from _named_twice(
        sources, "shelly", lambda table: (_text(table, "host"), _text(table, "port", "80")), "host"
    )
    yield from _named_twice(sources, "tuya", lambda table: (_text(table, "product"),), "product")
    yield from _named_twice(sources, "tuya", lambda table: (_text(table, "device"),), "device")
    yield from _brokers(sources)
    yield from relay_checks.conflicts(sources)
    yield from _forwarding(sources)


def _forwarding(sources: Sources) -> Iterator[tuple[Location, str]]:
    for name, order in (("influxdb", "strict"), ("kafka", "live_first"), ("pubsub", "live_first")):
        rate = sources.get((name, "replay_rate"))
        if (sources.get((name, "order")) or order) == "strict" and rate not in (None, 0, "0"):
            text = 'expected only with order = "live_first": in strict order what is new waits for what is old'
            yield (name, "replay_rate"), text
    wants = {key: _true(sources.get(("cloud", key))) for key in ("allow_commands", "publish_commands")}
    if wants["allow_commands"] and not (sources.get(("kafka",)) or sources.get(("pubsub",))):
        yield ("cloud", "allow_commands"), "expected only with [kafka] or [pubsub], by which commands come"
    if wants["publish_commands"] and not sources.get(("pubsub",)):
        yield ("cloud", "publish_commands"), "expected only with [pubsub], where they are published"


def _true(value: object) -> bool:
    try:
        return TypeAdapter(bool).validate_python(value)
    except ValidationError:  # reported already
        return False


def _named_twice(
    sources: Sources, kind: str, identity: Callable[[dict[str, Any]], tuple[str, ...]], key: str
) -> Iterator[tuple[Location, str]]:
    known: dict[tuple[str, ...], int] = {}
    for index, table in sources.tables((kind,)):
        first = known.setdefault(identity(table), index)
        if first != index and table.get(key):
            yield (kind, index, key), f"expected another one than that of {kind}[{first}]: one block for each"


def _brokers(sources: Sources) -> Iterator[tuple[Location, str]]:
    sessions: dict[tuple[str, ...], int] = {}
    subscriptions: dict[tuple[str, ...], list[_Subscription]] = {}
    for index, broker in sources.tables(("mqtt",)):
        server = (_text(broker, "host", "127.0.0.1").lower(), _text(broker, "port", "1883"))
        first = sessions.setdefault((*server, _text(broker, "client_id")), index)
        if first != index:
            text = f"expected another name than that of mqtt[{first}]: a broker throws out the older of two"
            yield ("mqtt", index, "client_id"), text
        known = subscriptions.setdefault(server, [])
        for new in _subscriptions(sources, index, broker):
            for old in filter(new.meets, known):
                text = (
                    f"{show(new.name)} overlaps {key_path(old.location)} = {show(old.name)}, so the broker "
                    "would deliver a message twice; expected filters with no topic in common"
                )
                yield new.location, text
            known.append(new)


def _subscriptions(sources: Sources, index: int, broker: dict[str, Any]) -> Iterator[_Subscription]:
    base = broker.get("zigbee2mqtt", "zigbee2mqtt")
    if isinstance(base, str) and base not in ("", "false"):
        filters = [f"{base}/{topic}" for topic in _ZIGBEE2MQTT]
        yield _Subscription(("mqtt", index, "zigbee2mqtt"), base, filters, base)
    for number, sensor in sources.tables(("mqtt", index, "sensors")):
        with suppress(ValueError):  # a filter that is wrong alone is reported already
            topic = topic_filter(_text(sensor, "topic"))
            yield _Subscription(("mqtt", index, "sensors", number, "topic"), topic, [topic])


def _text(table: dict[str, Any], key: str, default: str = "") -> str:
    return str(table.get(key, default))
