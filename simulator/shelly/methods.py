"""The RPC methods of a Gen2 device. No I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from simulator.shelly.rpc import Json, RpcError

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.shelly.component import Component
    from simulator.shelly.gen2 import Gen2Device
    from simulator.shelly.switch import Switch

OPEN = frozenset({"shelly.getdeviceinfo"})
"""Methods that need no authentication."""


class Methods:
    """Everything that one device can be asked; names are found whatever their case."""

    def __init__(self, device: Gen2Device) -> None:
        self._device = device
        named: dict[str, Callable[..., Any]] = {
            "Shelly.GetDeviceInfo": lambda _: device.info(),
            "Shelly.GetStatus": lambda _: device.status(),
            "Shelly.GetConfig": lambda _: device.config(),
            "Shelly.ListMethods": lambda _: {"methods": sorted(name for name, _ in self._named.values())},
            "Shelly.GetComponents": self._components,
            "Shelly.CheckForUpdate": lambda _: {},
            "Shelly.Reboot": self._reboot,
            "Shelly.SetAuth": self._set_auth,
            "Script.List": lambda _: {"scripts": []},
            "Schedule.List": lambda _: {"jobs": [], "rev": 0},
            "KVS.List": lambda _: {"keys": {}, "rev": 0},
            "Webhook.ListSupported": lambda _: device.webhooks.supported(),
            "Webhook.List": lambda _: device.webhooks.listed(),
            "Webhook.Create": lambda params: self._hooked(device.webhooks.create(params)),
            "Webhook.Update": lambda params: self._hooked(device.webhooks.update(params)),
            "Webhook.Delete": lambda params: self._hooked(device.webhooks.delete(params)),
            "Webhook.DeleteAll": lambda _: self._hooked(device.webhooks.delete_all()),
        }
        for component in device.components.values():
            space = component.namespace
            named[f"{space}.GetStatus"] = self._on(space, lambda part, _: part.status())
            named[f"{space}.GetConfig"] = self._on(space, lambda part, _: part.config)
            named[f"{space}.SetConfig"] = self._on(space, self._set_config)
        if device.switch:
            named["Switch.Set"] = self._on("Switch", self._switch)
            named["Switch.Toggle"] = self._on("Switch", self._toggle)
            named["Switch.ResetCounters"] = self._on("Switch", self._reset_counters)
        self._named = {name.lower(): (name, method) for name, method in named.items()}
        self._source = ""

    def call(self, name: str, params: Json, source: str) -> Any:
        """Carry out a method for a channel (`source`: "HTTP_in", "WS_in", …); RpcError where it cannot be."""
        if name.lower() not in self._named:
            raise RpcError(404, f"No handler for {name}")
        self._source = source
        result = self._named[name.lower()][1](params)
        self._device.report()
        return result

    def _on(self, namespace: str, method: Callable[[Any, Json], Any]) -> Callable[[Json], Any]:
        """Make a method act on the component that `id` names."""
        kind = namespace.lower()

        def act(params: Json) -> Any:
            if kind in self._device.components:
                return method(self._device.components[kind], params)
            number = params.get("id")
            if number is None:
                raise RpcError(-103, "Missing required 'id'")
            if isinstance(number, bool) or not isinstance(number, int):
                raise RpcError(-103, "Invalid argument 'id'")
            if f"{kind}:{number}" not in self._device.components:
                raise RpcError(-105, f"Argument 'id', value {number} not found!")
            return method(self._device.components[f"{kind}:{number}"], params)

        return act

    def _set_config(self, component: Component, params: Json) -> Json:
        change = params.get("config")
        if not isinstance(change, dict):
            raise RpcError(-103, "Missing required 'config'")
        return {"restart_required": self._device.configure(component, change)}

    def _switch(self, switch: Switch, params: Json) -> Json:
        if not isinstance(params.get("on"), bool):
            raise RpcError(-103, "Invalid argument 'on'" if "on" in params else "Missing required 'on'")
        after = _seconds(params)
        return {"was_on": switch.set(on=params["on"], source=self._source, toggle_after=after)}

    def _toggle(self, switch: Switch, params: Json) -> Json:
        on = not switch.outlet.output
        return {"was_on": switch.set(on=on, source=self._source, toggle_after=_seconds(params))}

    def _reset_counters(self, switch: Switch, _: Json) -> Json:
        before = switch.status()["aenergy"]["total"]
        switch.reset_counters()
        return {"aenergy": {"total": before}}

    def _components(self, params: Json) -> Json:
        parts = [] if params.get("dynamic_only") else list(self._device.components.values())
        include = params.get("include")
        if not isinstance(include, list):
            include = []
        offset = params.get("offset") if isinstance(params.get("offset"), int) else 0
        return {
            "components": [_described(part, include) for part in parts[offset:]],
            "cfg_rev": self._device.system.config["cfg_rev"],
            "offset": offset,
            "total": len(parts),
        }

    def _reboot(self, params: Json) -> None:
        delay = params.get("delay_ms", 1000)
        if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay < math.inf:
            raise RpcError(-103, "Invalid argument 'delay_ms'")
        self._device.schedule_reboot(delay / 1000)

    def _set_auth(self, params: Json) -> None:
        if params.get("user") != "admin" or params.get("realm") != self._device.identity.id:
            raise RpcError(-103, "Invalid argument 'user' or 'realm'")
        ha1 = params.get("ha1")
        if ha1 is not None and (not isinstance(ha1, str) or len(ha1) != 64):
            raise RpcError(-103, "Invalid argument 'ha1'")
        self._device.digest.ha1 = ha1

    def _hooked(self, result: Json) -> Json:
        self._device.system.webhook_rev = self._device.webhooks.revision
        return result


def _seconds(params: Json) -> float | None:
    after = params.get("toggle_after")
    if after is None:
        return None
    if isinstance(after, bool) or not isinstance(after, int | float) or not 0 < after < math.inf:
        raise RpcError(-103, "Invalid argument 'toggle_after'")
    return float(after)


def _described(component: Component, include: list[str]) -> Json:
    described: Json = {"key": component.key}
    if "status" in include:
        described["status"] = component.status()
    if "config" in include:
        described["config"] = component.config
    return described
