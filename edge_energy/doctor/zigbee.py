"""Checks of Zigbee2MQTT, of the settings that decide whether its messages can be kept, and of the dongle."""

from __future__ import annotations

import json
import re
import stat
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_energy.doctor import processes
from edge_energy.doctor.brokers import readable
from edge_energy.doctor.finding import Check, Finding, failure, not_applicable, not_permitted, ok, warning
from edge_energy.doctor.mqtt import Refused, visit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_energy.config import Mqtt
    from edge_energy.doctor.case import Case
    from edge_energy.doctor.machine import Machine

DONGLE = "/dev/edge-energy-zigbee"
UNIT = "zigbee2mqtt.service"
OWN_SETTINGS = "/var/lib/zigbee2mqtt/configuration.yaml"
_AS_OURS = re.compile(rf"{DONGLE}|/dev/tty(?:USB|ACM)[0-9]+")
"""At these names the appliance looks under `DONGLE`: Zigbee2MQTT itself writes those of the kernel."""
_BY_ID = "/dev/serial/by-id"
_GROUP = "dialout"
_PATIENCE = 14.0
_RETAINED = 1.0
"""Seconds in which a broker sends what is retained."""
_RESTART = "then sudo systemctl restart zigbee2mqtt"


def checks(case: Case) -> Iterator[Check]:
    """Yield what concerns Zigbee: for each broker, and the dongle."""
    for broker in () if case.settings is None else case.settings.mqtt:
        if broker.zigbee2mqtt:
            place = f"{broker.zigbee2mqtt}/ at {broker.host}:{broker.port}"
            yield Check(f"Zigbee2MQTT, {place}", partial(online, case, broker), _PATIENCE)
            yield Check(f"Zigbee2MQTT's settings, {place}", partial(settings, case, broker), _PATIENCE)
    yield Check("dongle", partial(dongle, case.machine))


def _retained(case: Case, broker: Mqtt, name: str) -> bytes | None:
    """Return what Zigbee2MQTT's bridge has left at the broker; None where there is nothing."""
    if not readable(case, broker):
        raise PermissionError("the password of the broker may not be read")
    topic = f"{broker.zigbee2mqtt}/bridge/{name}"
    with visit(broker) as here:
        here.subscribe(topic)
        here.until(lambda: bool(here.messages), _RETAINED)
        return bytes(here.messages[0].payload) if here.messages else None


def online(case: Case, broker: Mqtt) -> Finding:
    """Tell whether Zigbee2MQTT runs and is connected to the broker."""
    unit = case.machine.unit(UNIT, "LoadState", "ActiveState", "UnitFileState")
    wanted = unit.get("LoadState") == "loaded" and unit.get("UnitFileState") == "enabled"
    start = "sudo systemctl restart zigbee2mqtt; journalctl -u zigbee2mqtt -n 50"
    try:
        state = _retained(case, broker, "state")
    except (Refused, TimeoutError, ConnectionError):
        return not_applicable("the broker cannot be asked: see its checks")
    if state is None:
        if not wanted:
            return not_applicable('none has ever connected here (zigbee2mqtt = "" in [[mqtt]] if there is none)')
        return failure("never connected", f"{UNIT} is {unit.get('ActiveState')}, but did not reach the broker", start)
    if _state(state) == "online":
        return ok("online")
    cause = "it is stopped, or it cannot start: often the dongle is not there, or another program has it"
    return failure(f"says {_state(state)}", cause, start)


def _state(payload: bytes) -> str:
    """Return the state in `{"state":"online"}`, or in the plain word of older versions."""
    text = payload[:200].decode(errors="replace")
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return str(found.get("state")) if isinstance(found, dict) else text


def settings(case: Case, broker: Mqtt) -> Finding:
    """Tell whether its messages can be kept, say when they were measured, and do not repeat what is old."""
    try:
        info = _retained(case, broker, "info")
    except (Refused, TimeoutError, ConnectionError):
        return not_applicable("the broker cannot be asked: see its checks")
    if info is None:
        return not_applicable("it has told nothing of itself")
    found = json.loads(info)
    config = found.get("config", {}) if isinstance(found, dict) else {}
    qos = _at(config, "device_options", "qos")
    advanced = {key: _at(config, "advanced", key) for key in ("last_seen", "cache_state")}
    version = found.get("version", "?")
    said = f"version {version}, qos {qos or 0}, " + ", ".join(f"{key} {_word(v)}" for key, v in advanced.items())
    wrong = list(_wrong(qos, advanced))
    if not wrong:
        return ok(said)
    cause = "; ".join(cause for cause, _ in wrong)
    remedy = f"in its configuration.yaml: {'; '.join(line for _, line in wrong)}; {_RESTART}"
    return failure(said, cause, remedy) if qos != 1 else warning(said, cause, remedy)


def _wrong(qos: Any, advanced: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if qos != 1:
        yield "at QoS 0 what it says while the daemon is away is lost", "device_options: {qos: 1}"
    if advanced["last_seen"] in (None, "disable"):
        yield "without last_seen nobody knows when late messages were measured", "advanced: {last_seen: ISO_8601}"
    if advanced["cache_state"] is not False:
        yield "with its cache it repeats old values as if they were new", "advanced: {cache_state: false}"


def _at(table: Any, *keys: str) -> Any:
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table


def _word(value: Any) -> str:
    return "unset" if value is None else str(value).lower() if isinstance(value, bool) else str(value)[:40]


def dongle(machine: Machine) -> Finding:
    """Tell whether the dongle is there, may be used, and is used by one program only."""
    place = machine.path(DONGLE)
    others = [file.name for file in machine.files(_BY_ID, "*")]
    if not place.exists():
        return _no_dongle(machine, others)
    device = place.resolve()
    users = processes.holders(machine, str(device))
    programs = sorted({str(user) for user in users})
    if len(programs) > 1:
        return failure(
            f"{DONGLE} is open in {', '.join(programs)}",
            "two programs at one dongle disturb each other, and devices get lost",
            f"stop one of them: sudo systemctl disable --now zigbee2mqtt, or sudo kill {users[-1].pid}",
        )
    if programs:
        return ok(f"{DONGLE} is there, and open in {programs[0]}")
    return _unused(machine, device)


def _no_dongle(machine: Machine, others: list[str]) -> Finding:
    unit = machine.unit(UNIT, "LoadState", "UnitFileState")
    if unit.get("LoadState") != "loaded" or unit.get("UnitFileState") != "enabled":
        return not_applicable("no Zigbee program of this appliance wants one")
    try:
        port = serial_port(machine.text(OWN_SETTINGS) or "")
    except PermissionError:
        return not_permitted(OWN_SETTINGS)
    if not _AS_OURS.fullmatch(port):
        if "://" in port or machine.path(port).exists():
            return ok(f"Zigbee2MQTT uses {port}")
        cause = f"Zigbee2MQTT is to use it, by {OWN_SETTINGS}, and it is not plugged in, or has another name"
        return failure(f"{port} is not there", cause, f"plug it in, or correct port: below serial: there, {_RESTART}")
    if others:
        cause = f"what is plugged in ({', '.join(others)}) is no dongle that is known"
        remedy = f"name it in {OWN_SETTINGS}, below serial: as port: {_BY_ID}/{others[0]}, {_RESTART}"
        return failure(f"{DONGLE} is not there", cause, remedy)
    cause = "no dongle is plugged in, or the USB port gives it no power"
    return failure(
        f"{DONGLE} is not there", cause, f"plug it in, with an extension cable; `sudo dmesg | tail`; {_RESTART}"
    )


def serial_port(text: str) -> str:
    """Return the dongle's port in a configuration of Zigbee2MQTT, in a block or in braces; ours if it names none."""
    section = re.search(r"^serial:(.*(?:\n(?:[ \t#].*)?)*)", text, re.MULTILINE)
    port = re.search(r"(?:^[ \t]+|[{,]\s*)port:\s*['\"]?([^'\"\s,}]+)", section[1] if section else "", re.MULTILINE)
    return port[1] if port else DONGLE


def _unused(machine: Machine, device: Path) -> Finding:
    status = device.stat()
    usable = status.st_mode & stat.S_IRGRP and status.st_mode & stat.S_IWGRP
    if not usable:
        cause = f"{device} has mode {stat.S_IMODE(status.st_mode):04o}, so its group may not use it"
        remedy = f"sudo udevadm trigger {device}; look for other rules in /etc/udev/rules.d"
        return failure(f"{DONGLE} is there, but may not be used", cause, remedy)
    member = re.compile(rf"^{_GROUP}:[^:]*:[0-9]+:(?:.*,)?(?:zigbee2mqtt|edge-energy)(?:,|$)", re.MULTILINE)
    if not member.search(machine.text("/etc/group") or ""):
        cause = f"neither zigbee2mqtt nor edge-energy is in the group {_GROUP}"
        return warning(f"{DONGLE} is there, unused", cause, f"sudo usermod -aG {_GROUP} zigbee2mqtt; {_RESTART}")
    return ok(f"{DONGLE} is there; no program that can be seen has it open")
