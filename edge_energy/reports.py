"""Reports for people: text made of what the local socket answers. No I/O."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from edge_energy.reading import QUANTITIES

_SHOWN = (
    "output",
    "power",
    "voltage",
    "current",
    "energy",
    "energy_returned",
    "temperature",
    "humidity",
    "battery",
)


def as_json(report: Any) -> str:
    """Return a report for programs."""
    return json.dumps(report, indent=2, ensure_ascii=False)


def status(report: dict[str, Any]) -> str:
    """Return the report of `edge-energy status`."""
    lines = [
        f"{report['appliance']}: edge-energy {report['version']}, up {duration(report['up_seconds'])}, "
        f"{report['devices']} devices, {report['live_updates']} live updates"
    ]
    if not report["clock_trusted"]:
        lines.append("! The date is not known yet: entries are dated once the clock is synchronised.")
    for source in report["sources"]:
        lines += ["", *_source(source)]
    for sink in report["sinks"]:
        lines += ["", *_sink(sink)]
    if not report["sinks"]:
        lines += ["", "No sink is configured: readings stay in the journal."]
    return "\n".join([*lines, "", journal(report["journal"])])


def _connection(part: dict[str, Any]) -> str:
    if part["connected"]:
        return "connected"
    if part["unavailable_seconds"] is not None:
        return f"NOT CONNECTED for {duration(part['unavailable_seconds'])}: {part['last_error']}"
    return "connecting"


def _source(source: dict[str, Any]) -> list[str]:
    ago = source["last_message_seconds_ago"]
    heard = "nothing heard yet" if ago is None else f"last message {duration(ago)} ago"
    received = source["received_qos"]
    lines = [
        f"{source['name']}  {_connection(source)} (MQTT {source['protocol'] or '?'}), {heard}",
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


def _sink(sink: dict[str, Any]) -> list[str]:
    lag = sink["lag_seconds"]
    behind = f", {duration(lag)}" if lag else ""
    lines = [
        f"{sink['name']}  {_connection(sink)}, delivered {sink['delivered']}, "
        f"lag {sink['lag_entries']} entries{behind}"
    ]
    if sink["set_aside"]:
        lines.append(f"  ! {sink['set_aside']} entries refused and set aside: see `edge-energy journal rejections`")
    if sink["last_error"] and sink["connected"]:
        lines.append(f"  last error: {sink['last_error']}")
    return lines


def journal(report: dict[str, Any]) -> str:
    """Return the report of `edge-energy journal stats`."""
    written = report["bytes_written"]
    lines = [
        f"journal  {size(report['bytes'])} of {size(report['budget_bytes'])}, "
        f"positions {report['oldest_position'] or 0} to {report['newest_position']}, "
        f"oldest {moment(report['oldest_time'])}",
        f"  {report['entries']} entries in {report['commits']} commits since the start"
        + (f", {size(written)} written" if written is not None else ""),
        f"  trimmed {report['trimmed']}, dropped {report['dropped_ever']}, set aside {report['set_aside']}, "
        f"refused {report['refused']}",
    ]
    if report["full"]:
        lines.append("  ! THE DISK IS FULL: nothing is recorded until there is space")
    if report["dropped_ever"]:
        lines.append("  ! readings were dropped because [journal] max_size is used up: raise it, or mend the sink")
    if report["recovered"]:
        lines.append(f"  ! {report['recovered']}")
    return "\n".join(lines)


def devices(report: list[dict[str, Any]]) -> str:
    """Return the table of `edge-energy devices`."""
    if not report:
        return "No device was heard of yet."
    rows = [("DEVICE", "NAME", "SEEN", "VALUES")]
    for device in report:
        name = device["name"] if device["name"] != device["device"] else ""
        seen = "OFFLINE" if device["available"] is False else moment(device["time"])
        rows.append((device["device"], name, seen, values(device["values"])))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    )


def values(found: dict[str, Any]) -> str:
    """Return values with their units, the usual quantities first."""
    names = [name for name in _SHOWN if name in found]
    if not names:
        return f"{len(found)} other values" if found else "nothing yet"
    return "  ".join(value(name, found[name]) for name in names)


def value(name: str, number: Any) -> str:
    """Return one value with its unit."""
    if isinstance(number, bool):
        return "ON" if number else "OFF"
    if name in ("energy", "energy_returned"):
        return f"{number / 1000:.2f} kWh" + (" returned" if name == "energy_returned" else "")
    return f"{number:.4g} {QUANTITIES[name].unit}"


def tail(entries: list[dict[str, Any]]) -> str:
    """Return the lines of `edge-energy journal tail`."""
    if not entries:
        return "The journal is empty."
    return "\n".join(
        f"{entry['position']:>9}  {moment(entry['time'])}  {entry['kind']:<9}  {entry['device']}  "
        + json.dumps(entry["body"], ensure_ascii=False)
        for entry in entries
    )


def rejections(report: dict[str, Any]) -> str:
    """Return the lines of `edge-energy journal rejections`."""
    lines = [f"{row['sink']} refused entry {row['position']}: {row['reason']}" for row in report["set_aside"]]
    lines += [
        f"{moment(row['time'])}  unreadable on {row['origin']}: {row['reason']}: {row['payload'][:120]!r}"
        for row in report["unreadable"]
    ]
    return "\n".join(lines) or "Nothing was refused or unreadable."


def moment(nanoseconds: int | None) -> str:
    """Return a local time, to the second."""
    if nanoseconds is None:
        return "never"
    return f"{datetime.fromtimestamp(nanoseconds / 1e9, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def duration(seconds: float) -> str:
    """Return a duration in the two largest units that matter."""
    whole = int(seconds)
    for unit, length, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= length:
            rest = whole % length // part
            return f"{whole // length} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def size(count: float) -> str:
    """Return a size in binary units."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
