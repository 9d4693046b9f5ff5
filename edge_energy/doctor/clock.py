"""Checks of the clock: whether the date can be believed, and what a day is here."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge_energy import clock
from edge_energy.doctor.finding import Check, Finding, failure, not_permitted, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_energy.doctor.case import Case

_REMEDY = "connect to the internet, or name a time server in /etc/systemd/timesyncd.conf; then `timedatectl`"


def checks(case: Case) -> Iterator[Check]:
    """Yield what concerns time."""
    yield Check("clock", partial(synchronised, case))
    if case.settings is not None:
        yield Check("time zone", partial(timezone, case))


def synchronised(case: Case) -> Finding:
    """Tell whether the clock follows a time server, and whether the daemon believes it."""
    shown = _timedatectl(case)
    trusted = None if case.status is None else bool(case.status["clock_trusted"])
    known = shown.get("NTPSynchronized")
    found = {"yes": "synchronised", "no": "NOT synchronised"}.get(known or "", "kept by this machine")
    if known is None and not clock.synchronised():
        known, found = "no", "NOT synchronised"
    if trusted is not None:
        found += ", and the daemon trusts it" if trusted else ", and the daemon does not trust it"
    if trusted is False:
        cause = "the date is not known: what is recorded now is dated, and delivered, once it is"
        return failure(found, cause, _REMEDY)
    if known == "no":
        if shown.get("NTP") == "no":
            return warning(found, "the time service is off", "sudo timedatectl set-ntp true")
        return warning(found, "no time server has answered since the start", _REMEDY)
    return ok(found)


def _timedatectl(case: Case) -> dict[str, str]:
    if not case.machine.systemd:
        return {}
    shown = case.machine.run("timedatectl", "show") or ""
    return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)


def timezone(case: Case) -> Finding:
    """Tell which time zone schedules and days follow."""
    settings = case.settings
    if settings is None:
        return not_permitted("the configuration")
    zone = settings.appliance.timezone
    if zone in ("UTC", "Etc/UTC") and any(schedule.start is not None for schedule in settings.schedule):
        cause = "schedules follow local time, and this machine's is UTC"
        return warning(zone, cause, "sudo timedatectl set-timezone Europe/Paris, or set [appliance] timezone")
    return ok(zone)
