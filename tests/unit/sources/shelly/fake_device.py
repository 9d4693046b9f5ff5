"""A Shelly in memory: what the calls of an adoption find in it, and what they do to it."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Self

from edge_energy.devices.shelly_rpc import RpcError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_energy.sources.shelly.plan import Change

ID = "shellypro1pm-ec62608ab9a4"
DEVICE = "shelly-ec62608ab9a4"
EVENTS = ("switch.on", "switch.off", "switch.active_power_change", "switch.active_power_measurement")
MOST_HOOKS = 20
INFO = {"name": "Boiler", "id": ID, "model": "SPSW-201PE16EU", "gen": 2, "app": "Pro1PM", "auth_en": False}
SWITCH = {
    "id": 0,
    "output": True,
    "apower": 5.2,
    "voltage": 232.1,
    "current": 0.053,
    "aenergy": {"total": 84885.708},
    "ret_aenergy": {"total": 0},
}
WS = {"enable": False, "server": None, "ssl_ca": "ca.pem"}
MQTT = {
    "enable": False,
    "server": None,
    "user": None,
    "ssl_ca": None,
    "topic_prefix": ID,
    "rpc_ntf": True,
    "status_ntf": False,
}


class FakeDevice:
    """Its settings, changed as a real device changes them, and every call that changed something."""

    def __init__(
        self,
        *,
        ws: dict[str, Any] | None = None,
        mqtt: dict[str, Any] | None = None,
        hooks: Sequence[dict[str, Any]] = (),
        info: dict[str, Any] | None = None,
    ) -> None:
        self.info = {**INFO, **(info or {})}
        self.ws = {**WS, **(ws or {})}
        self.mqtt = {**MQTT, **(mqtt or {})}
        self.hooks = deepcopy(list(hooks))
        self.status: dict[str, Any] = {"switch:0": deepcopy(SWITCH), "sys": {}, "mqtt": {"connected": False}}
        self.initial_state = "restore_last"
        self.asked: list[str] = []
        self.changed: list[str] = []
        self.reboots = 0
        self.answers: dict[str, Any] = {}
        """By method: what is answered instead, or raised."""
        self.after: Callable[[], None] = lambda: None
        """Called when a change counts."""

    async def __aenter__(self) -> Self:
        """Be connected to."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Be left."""

    async def get(self, path: str) -> Any:
        """Answer GET."""
        assert path == "/shelly"
        return self.info

    async def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Answer a call."""
        self.asked.append(method)
        if method in self.answers:
            if isinstance(self.answers[method], Exception):
                raise self.answers[method]
            return self.answers[method]
        if method == "Shelly.Reboot":
            self.reboots += 1
            self.status["sys"] = {}
            self.after()
            return None
        known = {
            "Ws.GetConfig": self.ws,
            "Mqtt.GetConfig": self.mqtt,
            "Ws.GetStatus": {"connected": False},
            "Mqtt.GetStatus": {"connected": False},
            "Shelly.GetStatus": self.status,
            "Switch.GetConfig": {"id": 0, "initial_state": self.initial_state},
            "Webhook.ListSupported": {"types": {event: {} for event in EVENTS}},
            "Webhook.List": {"hooks": self.hooks, "rev": 1},
        }
        return deepcopy(known[method]) if method in known else self._change(method, params or {})

    def apply(self, changes: Sequence[Change]) -> None:
        """Make the changes of a plan."""
        for change in changes:
            self._change(change.method, change.params)

    def _change(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self.changed.append(method)
        match method:
            case "Ws.SetConfig" | "Mqtt.SetConfig":
                known = getattr(self, method[: -len(".SetConfig")].lower())
                known |= {name: value for name, value in params["config"].items() if name != "pass"}
                self.status["sys"] = {"restart_required": True}
                return {"restart_required": True}
            case "Webhook.Create":
                number = max((hook["id"] for hook in self.hooks), default=0) + 1
                self.hooks.append({"id": number, "ssl_ca": "ca.pem", "condition": None, **params})
                assert len(self.hooks) <= MOST_HOOKS
            case "Webhook.Update":
                next(hook for hook in self.hooks if hook["id"] == params["id"]).update(params)
            case "Webhook.Delete":
                self.hooks = [hook for hook in self.hooks if hook["id"] != params["id"]]
            case _:
                raise RpcError(404, f"No handler for {method}")
        self.after()
        return {"rev": 2}
