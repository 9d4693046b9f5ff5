"""The webhooks of a device: which there are, and which URLs an event calls. No I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from simulator.shelly.expression import ExpressionError, evaluate, fill
from simulator.shelly.rpc import Json, RpcError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.shelly.component import HookEvent

MOST_HOOKS, MOST_URLS, LONGEST_URL = 20, 5, 300
POWER = {"attrs": [{"name": "apower", "type": "number", "desc": "active power in W"}]}
EVENTS: dict[str, Json] = {
    "switch.on": {},
    "switch.off": {},
    "switch.active_power_change": POWER,
    "switch.active_power_measurement": POWER,
}
FIELDS: Json = {
    "cid": None,
    "enable": False,
    "event": None,
    "name": None,
    "ssl_ca": "ca.pem",
    "urls": [],
    "condition": None,
    "repeat_period": 0,
}


class Webhooks:
    """At most twenty hooks; `revision` counts their changes."""

    def __init__(self, cids: Mapping[str, int]) -> None:
        self.revision = 0
        self._events = {event: more for event, more in EVENTS.items() if event.split(".")[0] in cids}
        self._hooks: dict[int, Json] = {}
        self._called: dict[int, float] = {}

    def supported(self) -> Json:
        """Answer Webhook.ListSupported."""
        return {"types": self._events}

    def listed(self) -> Json:
        """Answer Webhook.List."""
        return {"hooks": [{"id": number, **hook} for number, hook in self._hooks.items()], "rev": self.revision}

    def create(self, params: Json) -> Json:
        """Answer Webhook.Create."""
        if len(self._hooks) == MOST_HOOKS:
            raise RpcError(-108, "Resource exhausted: too many webhooks")
        for required in ("cid", "event", "urls"):
            if required not in params:
                raise RpcError(-103, f"Missing required '{required}'")
        hook = self._checked({**FIELDS, **_known(params)})
        number = max(self._hooks, default=0) + 1
        self._hooks[number] = hook
        return {"id": number, "rev": self._changed(number)}

    def update(self, params: Json) -> Json:
        """Answer Webhook.Update."""
        number = self._number(params)
        self._hooks[number] = self._checked({**self._hooks[number], **_known(params)})
        return {"id": number, "rev": self._changed(number)}

    def delete(self, params: Json) -> Json:
        """Answer Webhook.Delete."""
        number = self._number(params)
        del self._hooks[number]
        return {"rev": self._changed(number)}

    def delete_all(self) -> Json:
        """Answer Webhook.DeleteAll."""
        self._hooks.clear()
        return {"rev": self._changed(0)}

    def calls(self, event: HookEvent, scope: Mapping[str, Any], now: float) -> list[str]:
        """Give the URLs that an event calls, with their placeholders filled."""
        urls: list[str] = []
        for number, hook in self._hooks.items():
            if (hook["event"], hook["cid"]) != (event.event, event.cid) or not hook["enable"]:
                continue
            if self._fires(number, hook, {**scope, "ev": event.attributes}, now):
                urls += [fill(url, {**scope, "ev": event.attributes}) for url in hook["urls"]]
        return urls

    def _fires(self, number: int, hook: Json, scope: Mapping[str, Any], now: float) -> bool:
        """Tell whether the condition holds and the last call is long enough ago.

        A negative period means once only, until the condition has been false in between.
        """
        if not _holds(hook["condition"], scope):
            self._called.pop(number, None)
            return False
        last, period = self._called.get(number, -math.inf), hook["repeat_period"]
        if period and now - last < (math.inf if period < 0 and number in self._called else period):
            return False
        self._called[number] = now
        return True

    def _number(self, params: Json) -> int:
        number = params.get("id")
        if number is None:
            raise RpcError(-103, "Missing required 'id'")
        if not isinstance(number, int) or number not in self._hooks:
            raise RpcError(-105, f"Argument 'id', value {number} not found!")
        return int(number)

    def _changed(self, number: int) -> int:
        self._called.pop(number, None)
        self.revision += 1
        return self.revision

    def _checked(self, hook: Json) -> Json:
        urls, event = hook["urls"], hook["event"]
        if not isinstance(event, str) or event not in self._events:
            raise RpcError(-105, f"Argument 'event', value '{event}' not found!")
        if not isinstance(urls, list) or not 0 < len(urls) <= MOST_URLS:
            raise RpcError(-103, f"Invalid argument 'urls': 1 to {MOST_URLS}")
        if not all(isinstance(url, str) and len(url) <= LONGEST_URL for url in urls):
            raise RpcError(-103, f"Invalid argument 'urls': at most {LONGEST_URL} characters each")
        for name, kind in (("repeat_period", int | float), ("condition", str | None), ("enable", bool), ("cid", int)):
            if not isinstance(hook[name], kind):
                raise RpcError(-103, f"Invalid argument '{name}'")
        return hook


def _known(params: Json) -> Json:
    return {name: value for name, value in params.items() if name in FIELDS}


def _holds(condition: str | None, scope: Mapping[str, Any]) -> bool:
    if not condition:
        return True
    try:
        return bool(evaluate(condition, scope))
    except ExpressionError:
        return False
