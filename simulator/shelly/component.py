"""What every component of a Gen2 device has: a key, a configuration, a status. No I/O."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from simulator.shelly.rpc import Json, RpcError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.shelly.moment import Clock, Moment


class HookEvent(NamedTuple):
    """Something that webhooks may be bound to, with what its expressions see as `ev`."""

    event: str
    cid: int
    attributes: Json


class Component:
    """One component; `namespace` is that of its methods, `number` its id where there can be several."""

    restarts = False  # whether a new configuration counts only after a reboot

    def __init__(self, namespace: str, config: Json, status: Json | None = None, number: int | None = None) -> None:
        self.namespace = namespace
        self.number = number
        kind = namespace.lower()
        self.key = kind if number is None else f"{kind}:{number}"
        self.config = config
        self._status = status or {}
        self.active: Json = copy.deepcopy(config)

    def boot(self, now: Moment) -> None:  # noqa: ARG002 - most components have no memory of time
        """Start anew; a configuration that needs a restart counts from now on."""
        self.active = copy.deepcopy(self.config)

    def advance(self, now: Moment) -> None:
        """Let time pass."""

    def status(self) -> Json:
        """Give the whole status."""
        return dict(self._status)

    def changes(self) -> Json:
        """Give what is to be pushed and was not yet: a part of the status, empty for nothing."""
        return {}

    def minute(self) -> Json:
        """Close a full minute and give what is pushed about it."""
        return {}

    def hooks(self) -> Iterable[HookEvent]:
        """Give the events since the last call."""
        return ()

    def configure(self, change: Json) -> bool:
        """Take over what is known of a change; tell whether a restart is needed for it."""
        merge(self.config, change)
        if not self.restarts:
            self.active = copy.deepcopy(self.config)
        return self.needs_restart

    @property
    def needs_restart(self) -> bool:
        """Whether the configuration is not the one that counts."""
        return self.restarts and self.active != self.config


class Connected(Component):
    """A service that connects to somewhere, and says whether it is connected; its settings wait for a reboot."""

    restarts = True

    def __init__(self, namespace: str, config: Json, secrets: Json | None = None) -> None:
        super().__init__(namespace, config)
        self.secrets = secrets or {}
        self.connected = False
        self._told = False

    def configure(self, change: Json) -> bool:
        """Take a password aside first: it is never shown."""
        merge(self.secrets, change)
        return super().configure(change)

    def boot(self, now: Moment) -> None:
        """Not connected yet."""
        super().boot(now)
        self.connected = self._told = False

    def status(self) -> Json:
        """Give whether it is connected."""
        return {"connected": self.connected}

    def changes(self) -> Json:
        """Give a change of that."""
        if self.connected == self._told:
            return {}
        self._told = self.connected
        return self.status()


class System(Component):
    """The component `sys`: time, revisions, memory."""

    def __init__(self, mac: str, firmware: str, clock: Clock) -> None:
        config = {
            "device": {"name": None, "mac": mac, "fw_id": firmware, "discoverable": True, "eco_mode": False},
            "location": {"tz": "Europe/Paris", "lat": 47.2, "lon": -1.55},
            "debug": {
                "level": 2,
                "file_level": None,
                "mqtt": {"enable": False},
                "websocket": {"enable": False},
                "udp": {"addr": None},
            },
            "ui_data": {},
            "rpc_udp": {"dst_addr": None, "listen_port": None},
            "sntp": {"server": "pool.ntp.org"},
            "cfg_rev": 10,
        }
        super().__init__("Sys", config)
        self._mac = mac
        self._clock = clock
        self.restart_required = False
        self.webhook_rev = 0

    def status(self) -> Json:
        """Give the status; time and unixtime are null until the date is known."""
        unixtime = self._clock.unixtime
        return {
            "mac": self._mac,
            "restart_required": self.restart_required,
            "time": None if unixtime is None else f"{unixtime // 3600 % 24:02}:{unixtime // 60 % 60:02}",
            "unixtime": unixtime,
            "last_sync_ts": self._clock.synchronised,
            "uptime": int(self._clock.uptime),
            "ram_size": 250_892,
            "ram_free": 111_296,
            "fs_size": 524_288,
            "fs_free": 192_512,
            "cfg_rev": self.config["cfg_rev"],
            "kvs_rev": 0,
            "schedule_rev": 0,
            "webhook_rev": self.webhook_rev,
            "available_updates": {},
            "reset_reason": 3,
            "utc_offset": 3600,
        }


def merge(target: Json, change: Json) -> None:
    """Overlay a change, deeply; what the target does not know is left out, a value of another type is refused."""
    for name, value in change.items():
        if name not in target:
            continue
        if not _fits(target[name], value):
            raise RpcError(-103, f"Invalid argument '{name}'")
        if isinstance(value, dict):
            merge(target[name], value)
        else:
            target[name] = value


def _fits(old: Any, new: Any) -> bool:
    """Tell whether a setting may become this; null stands for an empty text."""
    if old is None or isinstance(old, str):
        return new is None or isinstance(new, str)
    if isinstance(old, bool) or isinstance(new, bool):
        return isinstance(old, bool) and isinstance(new, bool)
    return isinstance(new, int | float) if isinstance(old, int | float) else isinstance(new, type(old))
