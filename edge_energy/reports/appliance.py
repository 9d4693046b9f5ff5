"""Reports for people on how the appliance and its devices are doing. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_energy.reports import forwarding
from edge_energy.reports.entries import journal
from edge_energy.reports.relays import relays
from edge_energy.reports.words import connection, duration, moment, table, values

if TYPE_CHECKING:
    from collections.abc import Callable


def status(report: dict[str, Any]) -> str:
    """Return the report of `edge-energy status`."""
    lines = [
        f"{report['appliance']}: edge-energy {report['version']}, up {duration(report['up_seconds'])}, "
        f"{report['devices']} devices, {report['live_updates']} live updates"
    ]
    if not report["clock_trusted"]:
        lines.append("! The date is not known yet: entries are dated once the clock is synchronised.")
    for source in [*report["sources"], *report["servers"]]:
        lines += ["", *_SOURCES[source["kind"]](source)]
    if report["outbound"] and report["outbound"]["devices"]:
        lines += ["", *_outbound(report["outbound"])]
    if switchable := report.get("relays"):
        lines += ["", *relays(switchable)]
    for sink in report["sinks"]:
        lines += ["", *forwarding.sink(sink)]
    for inbox in report["commands"]:
        lines += ["", *forwarding.commands(inbox)]
    if not report["sinks"]:
        lines += ["", "No sink is configured: readings stay in the journal."]
    return "\n".join([*lines, "", journal(report["journal"])])


def devices(report: list[dict[str, Any]]) -> str:
    """Return the table of `edge-energy devices`."""
    if not report:
        return "No device was heard of yet."
    rows = [("DEVICE", "NAME", "SEEN", "VALUES")]
    for device in report:
        name = device["name"] if device["name"] != device["device"] else ""
        seen = "OFFLINE" if device["available"] is False else moment(device["time"])
        rows.append((device["device"], name, seen, values(device["values"])))
    return table(rows)


def _heard(source: dict[str, Any]) -> str:
    ago = source["last_message_seconds_ago"]
    return "nothing heard yet" if ago is None else f"last message {duration(ago)} ago"


def _shelly(source: dict[str, Any]) -> list[str]:
    known = f"{source['device']}, firmware {source['firmware']}" if source["device"] else "not identified yet"
    lines = [
        f"{source['name']}  {connection(source)}{' by ' + source['way'] if source['way'] else ''}, {_heard(source)}",
        f"  {known}; {_counts(source)}",
    ]
    if source["throttled"]:
        lines.append(f"  ! it refused {source['throttled']} requests because there were too many: raise poll")
    return lines


def _outbound(outbound: dict[str, Any]) -> list[str]:
    """Return a line for each device that dials in."""
    devices = outbound["devices"]
    lines = [f"shelly devices that connect by themselves: {len(outbound['connected'])} of {len(devices)} connected"]
    for device, counts in devices.items():
        state = "connected" if device in outbound["connected"] else "NOT CONNECTED"
        lines.append(f"  {device}  {state}, {_heard(counts)}; {_counts(counts)}")
    return lines


def _counts(source: dict[str, Any]) -> str:
    return f"{source['readings']} readings, garbage {source['garbage']}, implausible values {source['implausible']}"


_ANSWERED = {
    "1xx": "became WebSockets",
    "2xx": "accepted",
    "3xx": "sent elsewhere",
    "4xx": "refused",
    "5xx": "failed",
}
"""What became of requests, by the hundreds of the answer's status."""


def _http(server: dict[str, Any]) -> list[str]:
    answers = (
        ", ".join(f"{count} {_ANSWERED[kind]}" for kind, count in server["requests"].items()) or "no request yet"
    )
    lines = [
        f"{server['name']}  {'listening' if server['connected'] else connection(server)}: {answers}; "
        f"now {server['connections']} connected and {server['websockets']} by WebSocket"
    ]
    if server["rate_limited"]:
        lines.append(f"  ! {server['rate_limited']} requests were more than [http] rate_limit allows")
    if server["slow_clients"] or server["displaced"]:
        lines.append(f"  ! {server['slow_clients']} clients were too slow, {server['displaced']} gave way to others")
    return lines


def _mqtt(source: dict[str, Any]) -> list[str]:
    received = source["received_qos"]
    lines = [
        f"{source['name']}  {connection(source)} (MQTT {source['protocol'] or '?'}), {_heard(source)}",
        f"  received {received['1']} at QoS 1, {received['0']} at QoS 0; recorded {source['recorded']}, "
        f"live {source['live']}, backlog {source['backlog']}",
        f"  redelivered {source['redelivered']}, repeated {source['repeated']}, retained {source['retained']}, "
        f"unreadable {source['unreadable']}, implausible values {source['implausible']}",
        f"  unacknowledged {source['unacknowledged']} of a window of {source['window']}",
    ]
    if source["in_backlog"] and source["connected"]:
        lines.append("  ! still receiving what the broker kept: not live yet")
    if received["0"] > received["1"]:
        lines.append(
            "  ! most messages come at QoS 0 and are lost while the daemon is away: let the devices publish at QoS 1"
        )
    if source["not_recorded"]:
        lines.append(f"  ! {source['not_recorded']} messages came while the disk was full")
    for topic, granted in source["granted_qos"].items():
        if granted == "refused":
            lines.append(f"  ! the broker refuses the subscription {topic}")
    zigbee = source.get("zigbee2mqtt")
    if zigbee and zigbee["online"] is not None:
        lines.append(f"  Zigbee2MQTT {zigbee['version']} {'online' if zigbee['online'] else 'OFFLINE'}")
        if zigbee["merged_cache"]:
            lines.append("  ! Zigbee2MQTT repeats old values: set advanced.cache_state to false")
    for topic, unreadable in source["unreadable_topics"].items():
        lines.append(f"  ! {unreadable['count']} unreadable on {topic}: {unreadable['reason']}")
    return lines


_SOURCES: dict[str, Callable[[dict[str, Any]], list[str]]] = {"mqtt": _mqtt, "shelly": _shelly, "http": _http}
