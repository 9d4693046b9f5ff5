"""Checks of the appliance's own parts: configuration, daemon, units of systemd, release, memory."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from edge_energy import __version__, reports
from edge_energy.doctor.finding import Check, Finding, failure, not_applicable, not_permitted, ok, warning
from edge_energy.reports.words import connection, duration, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_energy.doctor.case import Case

DAEMON_UNIT = "edge-energy.service"
_UNITS = (
    DAEMON_UNIT,
    "mosquitto.service",
    "zigbee2mqtt.service",
    "edge-energy-simulator.service",
    "influxdb.service",
    "grafana-server.service",
)
_PROPERTIES = ("LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "NRestarts", "WatchdogUSec")
_PARTS = ("sources", "servers", "sinks", "commands")
"""Where the status has what is connected to others."""
_EX_CONFIG = "78"
_RELEASES = "/opt/edge-energy"
_LITTLE_MEMORY = 0.1  # of all


def checks(case: Case) -> Iterator[Check]:
    """Yield what concerns the appliance itself."""
    yield Check("configuration", partial(configuration, case))
    yield Check("daemon", partial(daemon, case))
    if (status := case.status) is not None:
        # A daemon of another release may say less: only a check may stumble over that.
        for kind in _PARTS:
            for part in status.get(kind, ()):
                yield Check(f"daemon: {part.get('name', kind)}", partial(component, part))
        yield Check("daemon: journal", partial(journal, status))
        yield Check("relays", partial(relays, status))
    if not case.machine.systemd:
        yield Check("units of systemd", partial(not_applicable, "systemd does not run here"))
    for unit in _UNITS if case.machine.systemd else ():
        yield Check(unit, partial(service, case, unit))
    yield Check("release", partial(release, case))
    yield Check("memory", partial(memory, case))


def configuration(case: Case) -> Finding:
    """Tell whether the settings are valid."""
    if case.settings is not None:
        return ok(f"{case.config} is valid" + ("" if case.secrets else ", as far as can be seen without its secrets"))
    if case.forbidden:
        return not_permitted(f"{case.config} may not be read")
    return failure(
        f"{case.config} is invalid, so what depends on it was not checked",
        "; ".join(case.problems),
        "correct it, see `edge-energy check`, then `sudo systemctl restart edge-energy`",
    )


def daemon(case: Case) -> Finding:
    """Tell whether the daemon runs, and whether it is the release that is installed."""
    status = case.status
    if status is None:
        if "You may not use" in case.silence:
            return not_permitted(f"{case.socket} may not be used")
        return failure("does not answer", case.silence, "sudo systemctl start edge-energy; journalctl -u edge-energy")
    if status["version"] != __version__:
        return warning(
            f"edge-energy {status['version']}",
            f"this command is of release {__version__}: the daemon was not restarted after an upgrade",
            "sudo systemctl restart edge-energy",
        )
    found = f"edge-energy {status['version']}, up {duration(status['up_seconds'])}, {status['devices']} devices"
    if defects := status.get("defects"):
        cause = "; ".join(f"{name}: {said}" for name, said in defects.items())
        return warning(
            found, f"a part failed by a mistake of ours, and was started again: {cause}", "please report it"
        )
    return ok(found)


def component(part: dict[str, Any]) -> Finding:
    """Tell how the daemon itself gets on with one of its sources, servers or sinks."""
    if part["connected"]:
        return ok("listening" if part.get("kind") == "http" else "connected")
    if part["unavailable_seconds"] is None:
        return ok("connecting")
    return failure(connection(part), str(part["last_error"]), "see the checks of that part below")


def journal(status: dict[str, Any]) -> Finding:
    """Tell whether anything was lost, or had to be repaired."""
    found = status["journal"]
    said = f"{size(found['bytes'])} of {size(found['budget_bytes'])}, dropped {found['dropped_ever']}"
    if found["full"]:
        cause = "the disk is full: nothing is recorded until there is space"
        return failure(said, cause, "see the checks of the disk below")
    if found["dropped_ever"]:
        cause = "[journal] max_size is used up: the oldest readings are dropped"
        return warning(said, cause, "raise [journal] max_size, or mend the sink that is behind (edge-energy status)")
    if found["recovered"]:
        return warning(said, found["recovered"], "look at the checks of power supply and disk below")
    return ok(said)


def relays(status: dict[str, Any]) -> Finding:
    """Tell whether the relays need attention."""
    known = status["relays"]
    if not known:
        return not_applicable("no [[relay]] block: nothing may be switched")
    wrong = [f"{relay['relay']}: {finding}" for relay in known for finding in relay["findings"]]
    if wrong:
        return warning(f"{len(wrong)} findings", "; ".join(wrong), "edge-energy status; edge-energy why DEVICE")
    return ok(f"{len(known)} relays, nothing wrong with them")


def service(case: Case, unit: str) -> Finding:
    """Tell how systemd sees a unit: running, restarted by itself, watched, its memory."""
    shown = case.machine.unit(unit, *_PROPERTIES, "ExecMainStatus", "MemoryCurrent", "MemoryMax")
    if shown.get("LoadState", "not-found") == "not-found":
        return not_applicable("no such unit here")
    state, restarts = shown.get("ActiveState", "unknown"), shown.get("NRestarts", "0")
    name = unit.removesuffix(".service")
    if state != "active":
        return _inactive(shown, unit)
    found = f"active, {restarts} restarts by itself{_memory_of(shown)}"
    if restarts not in ("0", ""):
        cause = f"it failed {restarts} times and was started again"
        return warning(found, cause, f"journalctl -u {name} -p warning; a restart of it sets the count to 0")
    if unit == DAEMON_UNIT and shown.get("WatchdogUSec") in ("0", "infinity"):
        return warning(found, "no watchdog: a hanging daemon is not restarted", "set WatchdogSec= in the unit")
    return ok(found)


def _inactive(shown: dict[str, str], unit: str) -> Finding:
    name, state = unit.removesuffix(".service"), shown.get("ActiveState", "unknown")
    if state == "inactive" and shown.get("UnitFileState") != "enabled" and unit != DAEMON_UNIT:
        return not_applicable("installed, not enabled")
    cause = f"systemd says {state} ({shown.get('SubState', '')}), result {shown.get('Result', 'unknown')}"
    if unit == DAEMON_UNIT and shown.get("ExecMainStatus") == _EX_CONFIG:
        return failure("does not run", f"{cause}: the configuration is invalid", "sudo edge-energy check")
    return failure("does not run", cause, f"sudo systemctl restart {name}; journalctl -u {name} -n 50")


def _memory_of(shown: dict[str, str]) -> str:
    current, most = shown.get("MemoryCurrent", ""), shown.get("MemoryMax", "")
    # Without a limit it is "infinity"; not counted is "[not set]", or all ones in older versions.
    if not current.isdecimal() or int(current) >= 1 << 60:
        return ""
    limit = f" of at most {size(int(most))}" if most.isdecimal() and int(most) < 1 << 60 else ""
    return f", {size(int(current))} of memory{limit}"


def release(case: Case) -> Finding:
    """Tell which release is installed, and which one a rollback would bring."""
    current, previous = (case.machine.path(f"{_RELEASES}/{name}") for name in ("current", "previous"))
    if not current.is_symlink():
        return not_applicable("not installed by install.sh")
    name = current.readlink().name
    if not current.is_dir():
        cause = f"{_RELEASES}/current leads to nothing"
        return failure(f"{name} is not there", cause, "run install.sh again, or sudo ./install.sh --rollback")
    back = f"{previous.readlink().name} before it" if previous.is_symlink() else "none before it"
    return ok(f"{name}, {back}")


def memory(case: Case) -> Finding:
    """Tell whether the machine has memory left."""
    text = case.machine.text("/proc/meminfo")
    if text is None:
        return not_applicable("this system does not say")
    kibibytes = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines() if ":" in line}
    total, available = kibibytes["MemTotal"], kibibytes["MemAvailable"]
    found = f"{reports.size(available * 1024)} of {reports.size(total * 1024)} available"
    if available < total * _LITTLE_MEMORY:
        cause = "when it is used up, the kernel ends programs"
        return warning(found, cause, "look at `top -o %MEM`; move InfluxDB or Grafana to another machine")
    return ok(found)
