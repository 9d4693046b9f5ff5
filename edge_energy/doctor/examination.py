"""Makes all checks and runs them side by side; whatever one of them does, the others go on."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING

from edge_energy.doctor import (
    appliance,
    board,
    brokers,
    clock,
    cloud,
    database,
    disk,
    mosquitto,
    permissions,
    ports,
    wear,
    zigbee,
)
from edge_energy.doctor.finding import Check, Finding, Result, failure, not_permitted, warning
from edge_energy.errors import EdgeEnergyError
from edge_energy.together import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_energy.doctor.case import Case

GROUPS: tuple[tuple[str, tuple[Callable[[Case], Iterable[Check]], ...]], ...] = (
    ("Appliance", (appliance.checks,)),
    ("Clock", (clock.checks,)),
    ("Board", (board.checks,)),
    ("Disk", (disk.checks, wear.checks)),
    ("Permissions", (permissions.checks,)),
    ("Ports", (ports.checks,)),
    ("MQTT", (brokers.checks, mosquitto.checks)),
    ("Zigbee", (zigbee.checks,)),
    ("InfluxDB", (database.checks,)),
    ("Cloud", (cloud.checks,)),
)
"""The checks by theme, in the order of the report. A new check is one function and one line in its module."""


def checks(case: Case) -> list[tuple[str, Check]]:
    """Return every check that this case has, with its group."""
    return [(group, check) for group, makers in GROUPS for make in makers for check in make(case)]


async def examine(wanted: Iterable[tuple[str, Check]]) -> list[Result]:
    """Run checks side by side, each within its time; return the results in the same order."""
    wanted = list(wanted)
    found = await asyncio.gather(*(_look(check) for _, check in wanted), return_exceptions=True)
    return [
        Result(group, check.name, _broken(each) if isinstance(each, BaseException) else each)
        for (group, check), each in zip(wanted, found, strict=True)
    ]


async def _look(check: Check) -> Finding:
    found: list[Finding] = []
    try:
        async with asyncio.timeout(check.timeout) as patience:
            await in_thread(lambda: found.append(check.look()))
    except TimeoutError as error:
        if patience.expired():
            said = f"no answer within {check.timeout:g} s"
            cause = "what was asked hangs, or the machine is overloaded"
            return failure(said, cause, "look at `top` and `sudo dmesg | tail`, then try again")
        return _unclear(error)
    except PermissionError as error:
        return not_permitted(f"cannot be seen: {error.filename or error}")
    except (OSError, ValueError, LookupError, EdgeEnergyError) as error:
        return _unclear(error)
    return found[0]


def _unclear(error: Exception) -> Finding:
    said = str(error) or type(error).__name__
    return warning("could not be found out", said, "try again; `sudo edge-energy doctor` sees more")


def _broken(error: BaseException) -> Finding:
    """Return that a check is wrong itself: a mistake of ours, which must not look like one of the operator's."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({last[0].name}, line {last[0].lineno})" if last else ""
    return warning("this check is broken", f"{type(error).__name__}{where}: {error}", "please report it")
