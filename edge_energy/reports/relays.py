"""Reports for people on relays: how they are, what became of a command, and why. No I/O."""

from __future__ import annotations

from typing import Any

from edge_energy.reports.words import duration, moment

_BY = {
    "cli": "the command line",
    "http": "HTTP",
    "mqtt": "MQTT",
    "cloud": "the cloud",
    "schedule": "a schedule",
    "surplus": "surplus",
    "safety": "safety",
    "device": "its own button or another program",
}
_FORCED = ("budget: ", "safe state: ")
"""How the reasons begin for which a relay is switched whatever is wished; findings tell of the others."""


def relays(report: list[dict[str, Any]]) -> list[str]:
    """Return the lines of `edge-energy status` on relays."""
    return [line for relay in report for line in _relay(relay)]


def why(report: dict[str, Any]) -> str:
    """Return the report of `edge-energy why`."""
    lines = _relay(report)
    if now := _inputs(report["inputs"]):
        lines.append(f"  known now: {now}")
    for made in report["decisions"]:
        lines += ["", *_decision(made)]
    if not report["decisions"]:
        lines += ["", "Nothing was decided about it since the daemon's start."]
    return "\n".join(lines)


def switched(answer: dict[str, Any]) -> str:
    """Return what became of `edge-energy switch`."""
    name, wanted, other = _name(answer), _state(answer["on"]), _state(not answer["on"])
    if answer["outcome"] == "pending":
        return f"{name}: {wanted} was sent; `edge-energy why {answer['relay']}` tells what became of it."
    if answer["outcome"] != "confirmed":
        return f"{name} was NOT switched {wanted}. {answer['outcome'].capitalize()}: {answer['reason']}"
    after = f", and goes {other} in {duration(answer['for'])}" if answer["for"] else ""
    return f"{name} is {wanted}{after} (confirmed {_passed(answer['milliseconds'])})."


def lease_test(found: dict[str, Any]) -> str:
    """Return what `edge-energy shelly test-lease` found."""
    if found["verified"]:
        return f"{_name(found)}: verified: {found['detail']}."
    return f"{_name(found)}: NOT VERIFIED: {found['detail']}. Its lease cannot be relied upon."


def _relay(relay: dict[str, Any]) -> list[str]:
    """Return a line on a relay, and further ones on what is not as it should be."""
    lines = [f"{_name(relay)}  {_now(relay)}, safe state {relay['safe_state']}, {_lease(relay)}"]
    wish = relay["wish"]
    if wish is not None and (relay["blocked"] or wish["seconds_left"] or wish["on"] is not relay["output"]):
        left = f" for {duration(wish['seconds_left'])} more" if wish["seconds_left"] else ""
        reason = _in_the_way(relay, wish["on"])
        blocked = f", not done: {reason}" if reason else ""
        lines.append(f"  wished {_state(wish['on'])} by {_by(wish['origin'])}{left}{blocked}")
    lines += [f"  ! {finding}" for finding in relay["findings"]]
    if relay["lease"] is not None and relay["lease_verified"] is False:
        lines.append("  ! its timer failed the test: the lease cannot be relied upon")
    return lines


def _in_the_way(relay: dict[str, Any], on: bool) -> str:  # noqa: FBT001 - what is wished
    """Return why what is wished is not done, where the findings do not tell."""
    last = relay["last"]
    if relay["blocked"] or last is None or relay["output"] is on:
        return relay["blocked"] or ""
    reason = str(last["reason"])
    failed = last["on"] is on and last["verdict"] != "confirmed"
    forced = last["on"] is not on and reason.startswith(_FORCED)
    told = any(found in reason or found.startswith("cannot be switched") for found in relay["findings"])
    return reason if (failed or forced) and not told else ""


def _now(relay: dict[str, Any]) -> str:
    power = "" if relay["power"] is None else f" {relay['power']:,.0f} W"
    away = relay["available"] is False
    # Of a finding from before a restart, of which more is not known, the findings tell.
    if relay["draws"] and relay["output"] is False:
        return f"{'OFFLINE, was ' if away else ''}said to be OFF, STILL DRAWS{power}"
    if away:
        return "OFFLINE" if relay["output"] is None else f"OFFLINE, was {_state(relay['output'])}"
    return f"{_state(relay['output'])}{power}"


def _lease(relay: dict[str, Any]) -> str:
    """Return what makes it safe when this machine cannot."""
    if relay["lease"] is not None and relay["timer"] is None:
        return "never reached yet: device-side safety unknown"
    if relay["lease"] is not None:
        return f"lease {duration(relay['lease'])} {'verified' if relay['lease_verified'] else 'not verified'}"
    return "nothing to lease" if relay["safe_state"] == "leave" else "no device-side safety"


def _decision(made: dict[str, Any]) -> list[str]:
    at = "date unknown       " if made["time"] is None else moment(made["time"])
    passed = "" if made["milliseconds"] is None else f" {_passed(made['milliseconds'])}"
    times = f", {made['times']} times in a row" if made["times"] > 1 else ""
    lines = [f"{at}  {_state(made['on']):<3}  by {_by(made['origin'])}: {made['verdict']}{passed}{times}"]
    if made["reason"]:
        lines.append(f"    because: {made['reason']}")
    if known := _inputs(made["inputs"]):
        lines.append(f"    known then: {known}")
    return lines


def _inputs(inputs: dict[str, Any]) -> str:
    return "; ".join(f"{name} {_input(name, value)}" for name, value in inputs.items())


def _input(name: str, value: Any) -> str:
    if value is None:
        return "not known"
    if isinstance(value, bool):  # each is the state of a relay, or what is wished of it
        return _state(value)
    if name == "by":
        return _by(value)
    return f"{value:,.10g}" if isinstance(value, int | float) else str(value)


def _by(origin: str) -> str:
    """Return who wanted it, in words."""
    return _BY.get(origin, origin)


def _state(on: bool | None) -> str:  # noqa: FBT001 - a value
    return "unknown" if on is None else "ON" if on else "OFF"


def _name(relay: dict[str, Any]) -> str:
    """Return what people call it, and its id where that is another one."""
    name, relay_id = relay["name"], relay["relay"]
    return str(relay_id) if name == relay_id else f"{name} ({relay_id})"


def _passed(milliseconds: float) -> str:
    return f"after {milliseconds:.0f} ms" if milliseconds < 1000 else f"after {milliseconds / 1000:.1f} s"
