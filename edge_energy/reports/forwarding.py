"""Reports for people on what entries are forwarded to, and on commands that come back. No I/O."""

from __future__ import annotations

import json
from typing import Any

from edge_energy.reports.words import connection, duration, table

SLOW = 3.0
"""Seconds without an answer of a sink that are worth a line."""


def forwarding(report: dict[str, Any]) -> str:
    """Return the report of `edge-energy forward status`."""
    blocks = ["\n".join(sink(each)) for each in report["sinks"]]
    blocks += ["\n".join(commands(each)) for each in report["commands"]]
    return "\n\n".join(blocks) or "No sink is configured: readings stay in the journal."


def sink(report: dict[str, Any]) -> list[str]:
    """Return the lines on one sink."""
    lag, backlog, rate = report["lag_seconds"], report["backlog_entries"], report["replay_rate"]
    behind = f", {duration(lag)}" if lag else ""
    lines = [
        f"{report['name']}  {connection(report)}, delivered {report['delivered']}, "
        f"lag {report['lag_entries']} entries{behind}"
    ]
    if backlog and report["connected"]:
        pace = f"at most {rate:g} a second: {duration(backlog / rate)} more" if rate else "as fast as it goes"
        lines.append(f"  what is new goes first; {backlog} of an outage follow, {pace}")
    if report["connected"] and (report["unanswered_seconds"] or 0) >= SLOW:
        lines.append(f"  ! it has not answered for {duration(report['unanswered_seconds'])}")
    if report["set_aside"]:
        lines.append(f"  ! {report['set_aside']} entries refused and set aside: see `edge-energy journal rejections`")
    if report["last_error"] and report["connected"]:
        lines.append(f"  last error: {report['last_error']}")
    return lines


def commands(report: dict[str, Any]) -> list[str]:
    """Return the lines on one source of commands."""
    ended = [f"{count} {verdict}" for verdict, count in report["outcomes"].items() if count]
    lines = [
        f"{report['name']}  {connection(report)}, received {report['received']}: "
        + (", ".join(ended) or "none carried out yet")
    ]
    if report["repeated"] or report["not_ours"]:
        lines.append(f"  {report['repeated']} came again, {report['not_ours']} were for devices that are not here")
    if report["not_switchable"]:
        lines.append(
            f"  ! {report['not_switchable']} were for devices that may not be switched: the log names them; "
            "a [[relay]] block allows it"
        )
    if report["malformed"]:
        lines.append(f"  ! {report['malformed']} could not be understood: see `edge-energy journal rejections`")
    return lines


def topics(answer: dict[str, Any]) -> str:
    """Return the report of `edge-energy forward create-topics`."""
    return table([(each["sink"], each["topic"], each["outcome"]) for each in answer["topics"]])


def forward_test(answer: dict[str, Any]) -> str:
    """Return the report of `edge-energy forward test`."""
    return table(
        [
            (hop["hop"], "passed" if hop["passed"] else "FAILED", f"{hop['text']} ({hop['milliseconds']:.0f} ms)")
            for hop in answer["hops"]
        ]
    )


def arrived(message: dict[str, Any]) -> str:
    """Return the line of one message that a broker gave."""
    body = message["body"]
    text = body if isinstance(body, str) else compact(body)
    where = message["topic"] + (f"[{message['partition']}]@{message['offset']}" if "partition" in message else "")
    return f"{message['time']}  {where}  {message['attributes'].get('ce_id', '-')}  {text}"


def compact(message: Any) -> str:
    """Return one line of JSON."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))
