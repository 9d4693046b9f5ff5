"""Reports for people: text made of what the local socket answers. No I/O."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edge_energy.reading import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    for source in [*report["sources"], *report["servers"]]:
        lines += ["", *_SOURCES[source["kind"]](source)]
    if report["outbound"] and report["outbound"]["devices"]:
        lines += ["", *_outbound(report["outbound"])]
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


def _heard(source: dict[str, Any]) -> str:
    ago = source["last_message_seconds_ago"]
    return "nothing heard yet" if ago is None else f"last message {duration(ago)} ago"


def _shelly(source: dict[str, Any]) -> list[str]:
    known = f"{source['device']}, firmware {source['firmware']}" if source["device"] else "not identified yet"
    lines = [
        f"{source['name']}  {_connection(source)}{' by ' + source['way'] if source['way'] else ''}, {_heard(source)}",
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


def _http(server: dict[str, Any]) -> list[str]:
    answers = ", ".join(f"{count} {kind}" for kind, count in server["requests"].items()) or "no request yet"
    lines = [
        f"{server['name']}  {'listening' if server['connected'] else _connection(server)}: {answers}; "
        f"{server['connections']} connections, {server['websockets']} WebSockets"
    ]
    if server["rate_limited"]:
        lines.append(f"  ! {server['rate_limited']} requests were more than [http] rate_limit allows")
    if server["slow_clients"] or server["displaced"]:
        lines.append(f"  ! {server['slow_clients']} clients were too slow, {server['displaced']} gave way to others")
    return lines


def _mqtt(source: dict[str, Any]) -> list[str]:
    received = source["received_qos"]
    lines = [
        f"{source['name']}  {_connection(source)} (MQTT {source['protocol'] or '?'}), {_heard(source)}",
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
    return _table(rows)


def new_token(role: str, text: str) -> str:
    """Return what `edge-energy token create` prints: the token on a line of its own, and what to do with it."""
    lines = ["This is shown once; whoever has it may use it:", "", text, ""]
    if role == "device":
        lines.append(f"In the URL of a webhook:  http://HOST:PORT/webhook/DEVICE?token={text}&power=…")
        lines.append(f"As a Shelly's outbound WebSocket server:  ws://HOST:PORT/shelly/ws/{text}")
    lines.append(f"As a header:  Authorization: Bearer {text}")
    lines.append(f"When it is lost or not needed any more:  edge-energy token revoke {text.split('_')[1]}")
    return "\n".join(lines)


def tokens(report: list[dict[str, Any]]) -> str:
    """Return the table of `edge-energy token list`."""
    if not report:
        return "There are no tokens; `edge-energy token create --role ROLE` makes one."
    rows = [("ID", "ROLE", "CREATED", "EXPIRES", "LAST USED", "NAME")]
    for token in report:
        created, expires, used = (
            None if token[key] is None else moment(token[key] * 1_000_000_000)
            for key in ("created", "expires", "last_used")
        )
        ends = "never" if expires is None else f"EXPIRED {expires}" if token["expired"] else expires
        rows.append((token["id"], token["role"], created or "unknown", ends, used or "not yet", token["name"]))
    return _table(rows) + "\nLast used: since the daemon started."


def adoption(report: dict[str, Any], *, dry_run: bool) -> str:
    """Return the report of `edge-energy shelly adopt`."""
    lines = [f"{report['device']}  {report['name']}  {report['model']}".rstrip()]
    for change in report["changes"]:
        lines += [
            f"  {change['what']}",
            f"    was  {change['before']}",
            f"    {'new' if dry_run else 'now'}  {change['after']}",
        ]
    if not report["changes"]:
        lines.append("  nothing to change: it is set up already")
    if report["rebooted"]:
        lines.append("  restarted, so that this counts")
    lines += [f"  ! {problem}" for problem in report["problems"]]
    if dry_run:
        lines.append("  This was a dry run: nothing was changed.")
    elif report["verified_seconds"] is None:
        lines.append("  NO READING CAME")
    elif report["verified_seconds"]:
        lines.append(f"  a reading came after {report['verified_seconds']:g} s")
    else:
        lines.append("  its readings are coming")
    return "\n".join(lines)


def discovered(found: list[dict[str, Any]]) -> str:
    """Return the table of `edge-energy shelly discover`."""
    if not found:
        return (
            "No Shelly announced itself. Devices in another network (VLAN), or behind an access point that keeps "
            "multicast back, can be adopted by their address all the same."
        )
    rows = [("DEVICE", "ADDRESS", "GENERATION", "MODEL", "FIRMWARE", "SENDS BY")]
    for each in found:
        address = f"[{each['address']}]" if ":" in each["address"] else each["address"]
        place = address if each["port"] == 80 else f"{address}:{each['port']}"
        generation = str(each["generation"] or "?")
        ways = ", ".join(each["ways"]) or "not adopted"
        rows.append((each["id"], place, generation, each["model"], each["version"], ways))
    return _table(rows)


def shellies(known: list[dict[str, Any]]) -> str:
    """Return the table of `edge-energy shelly list`."""
    if not known:
        return "No Shelly was heard yet. Find those that announce themselves with `edge-energy shelly discover`."
    rows = [("DEVICE", "NAME", "MODEL", "ADDRESS", "AVAILABLE", "HEARD BY")]
    available = {True: "yes", False: "NO", None: "?"}
    for each in known:
        ways = ", ".join(f"{way} {duration(seconds)} ago" for way, seconds in each["ways"].items())
        state = available[each["available"]]
        rows.append((each["device"], each["name"], each["model"], each["address"], state, ways or "nothing"))
    return _table(rows)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows in columns of equal width, the last as it is."""
    widths = [max(len(cell) for cell in column) for column in list(zip(*rows, strict=True))[:-1]]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
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
