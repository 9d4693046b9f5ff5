"""Reports for people on Shelly devices: found, adopted, heard. No I/O."""

from __future__ import annotations

from typing import Any

from edge_energy.reports.words import duration, table


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
    return table(rows)


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
    return table(rows)
