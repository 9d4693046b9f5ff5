"""Checks of the settings of a mosquitto on this machine: what it keeps, for how long it keeps it in memory only.

Source: mosquitto.conf(5); what it does unless told otherwise is that of 2.0.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from edge_energy.config.values import loopback
from edge_energy.doctor import processes
from edge_energy.doctor.finding import Check, Finding, failure, not_applicable, ok, warning
from edge_energy.doctor.ports import seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_energy.config import Mqtt
    from edge_energy.doctor.case import Case
    from edge_energy.doctor.machine import Machine

_DEFAULTS = {"persistence": "false", "autosave_interval": "1800", "max_queued_messages": "1000"}
LONGEST_AUTOSAVE = 900
"""Seconds of messages that a power cut may take; shorter wears the card."""
SHORTEST_AUTOSAVE = 60
LEAST_QUEUED = 10_000
_RESTART = "then sudo systemctl restart mosquitto"
_MOST_FILES = 100


def checks(case: Case) -> Iterator[Check]:
    """Yield what concerns each broker on this machine."""
    for broker in () if case.settings is None else case.settings.mqtt:
        if loopback(broker.host):
            yield Check(f"mosquitto's settings, port {broker.port}", partial(settings, case, broker))


def settings(case: Case, broker: Mqtt) -> Finding:
    """Tell whether the broker keeps what it has for the daemon through restarts and power cuts."""
    file = _file(case.machine, broker.port)
    if file is None:
        return not_applicable("no mosquitto of this machine has that port")
    if case.machine.text(file) is None:
        return not_applicable(f"{file} is not there")
    found = read(case.machine, file)
    return _judged(found, file)


def _judged(found: dict[str, str], file: Path) -> Finding:
    interval, queued = int(found["autosave_interval"]), int(found["max_queued_messages"])
    said = f"persistence {found['persistence']}, autosave_interval {interval}, max_queued_messages {queued} ({file})"
    if found["persistence"] != "true":
        cause = "what waits for the daemon is lost when mosquitto or the machine restarts"
        return failure(said, cause, f"persistence true in {file}, {_RESTART}")
    if queued and queued < LEAST_QUEUED:
        cause = "what is more than that while the daemon is away is lost without a word"
        return warning(said, cause, f"max_queued_messages 100000 in {file}, {_RESTART}")
    if interval == 0 or interval > LONGEST_AUTOSAVE:
        cause = "a power cut takes what came since the last time it saved"
        return warning(said, cause, f"autosave_interval 300 in {file}, {_RESTART}")
    if interval < SHORTEST_AUTOSAVE:
        return warning(said, "so often wears a memory card", f"autosave_interval 300 in {file}, {_RESTART}")
    return ok(said)


def _file(machine: Machine, port: int) -> Path | None:
    """Return the configuration of the mosquitto that has a port. Raises `PermissionError` where that is unclear."""
    running = [each for each in processes.processes(machine) if each.program == processes.MOSQUITTO]
    who = seen(machine, port)
    if who is not None and who.holders:
        running = [each for each in running if each in who.holders]
    files = {argument for each in running for before, argument in pairwise(each.arguments) if before == "-c"}
    if len(files) > 1:
        raise PermissionError(f"which of {', '.join(sorted(files))} is that of port {port}")
    return Path(files.pop()) if files else None


def read(machine: Machine, file: Path) -> dict[str, str]:
    """Return what a configuration and the directories that it includes say. Raises `PermissionError`."""
    found = dict(_DEFAULTS)
    waiting = [file]
    for _ in range(_MOST_FILES):
        if not waiting:
            break
        for line in (machine.text(waiting.pop(0)) or "").splitlines():
            key, _, value = line.strip().partition(" ")
            if key == "include_dir":
                directory = Path(value.strip())
                waiting += [directory / part.name for part in machine.files(directory, "*.conf")]
            elif key in found:
                found[key] = value.strip()
    return found
