"""Reports for people on what the journal holds, and on what was refused. No I/O."""

from __future__ import annotations

import json
from typing import Any

from edge_energy.reports.words import moment, size


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


def tail(entries: list[dict[str, Any]]) -> str:
    """Return the lines of `edge-energy journal tail`."""
    if not entries:
        return "The journal is empty."
    width = max(len(entry["device"]) for entry in entries)
    return "\n".join(
        f"{entry['position']:>9}  {moment(entry['time'])}  {entry['kind']:<9}  {entry['device']:<{width}}  "
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
