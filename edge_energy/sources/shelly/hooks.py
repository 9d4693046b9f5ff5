"""Which webhooks tell all that webhooks can tell of a Shelly (Gen2 and later). No I/O.

A webhook is a GET with expressions in its URL. Source: Shelly's documentation of the services Webhook and Switch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from edge_energy.sources.shelly.plan import Hook, ours

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LONGEST_URL = 300  # characters; the device refuses more
_EVENTS = ("switch.on", "switch.off", "switch.active_power_change", "switch.active_power_measurement")
_OUTPUT = {"switch.on": "true", "switch.off": "false"}
_QUANTITIES = {"power": ("apower",), "energy": ("aenergy", "total"), "voltage": ("voltage",), "current": ("current",)}
"""What a URL tells and where a switch's status has it, the most important first."""
_RETURNED = ("ret_aenergy", "total")


class Hooks(NamedTuple):
    """The webhooks, and which quantities they had to leave out for want of space."""

    hooks: list[Hook]
    left_out: list[str]


def supported(answer: Mapping[str, Any]) -> set[str]:
    """Return the events of `Webhook.ListSupported`: `types` in firmware 1.0 and later, `hook_types` before."""
    found = answer.get("types") or answer.get("hook_types") or ()
    return {event for event in found if type(event) is str}


def token(hook: Mapping[str, Any]) -> str | None:
    """Return the token in the first URL of a webhook (of `Webhook.List`), if it is one of ours."""
    urls = hook.get("urls")
    if not ours(hook) or type(urls) is not list or not urls or type(urls[0]) is not str:
        return None
    return next((part.removeprefix("token=") for part in urls[0].split("&") if part.startswith("token=")), None)


def hooks(base: str, status: Mapping[str, Any], events: set[str], token: str | None) -> Hooks:
    """Return the webhooks of a device's switches.

    `base` is http://HOST:PORT/webhook/ID, `status` the answer to `Shelly.GetStatus`, `events` what the device
    supports.
    """
    found: list[Hook] = []
    left_out: set[str] = set()
    for cid, switch in switches(status):
        values = {name: path for name, path in _QUANTITIES.items() if _at(switch, path) is not None}
        returns = _at(switch, _RETURNED) is not None
        for event in _EVENTS:
            if event in events and (values or event in _OUTPUT):
                parameters = dict(_parameters(event, cid, values, returns=returns))
                url = _url(base, parameters, token)
                while len(url) > LONGEST_URL and len(parameters) > 1:
                    left_out.add(parameters.popitem()[0])
                    url = _url(base, parameters, token)
                found.append(Hook(event, cid, url))
    return Hooks(found, sorted(left_out))


def switches(status: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield each relay of a device with its number."""
    for key, switch in status.items():
        kind, _, number = key.partition(":")
        if kind == "switch" and number.isdecimal() and len(number) <= 2 and type(switch) is dict:
            yield int(number), switch


def _at(value: Any, path: tuple[str, ...]) -> float | None:
    for key in path:
        value = value.get(key) if type(value) is dict else None
    return value if type(value) in (int, float) else None


def _parameters(
    event: str, cid: int, values: Mapping[str, tuple[str, ...]], *, returns: bool
) -> Iterator[tuple[str, str]]:
    """Yield what a URL tells. Energy that was returned goes with the energy that includes it, or neither does."""
    suffix = f"_{cid}" if cid else ""
    if event in _OUTPUT:
        yield f"output{suffix}", _OUTPUT[event]
    for name, path in values.items():
        own = name == "power" and event not in _OUTPUT  # only these events have attributes
        value = "${ev.apower}" if own else _expression(cid, path)
        if name == "energy" and returns:
            value += f"&ret_aenergy{suffix}={_expression(cid, _RETURNED)}"
        yield f"{name}{suffix}", value


def _expression(cid: int, path: tuple[str, ...]) -> str:
    return f'${{status["switch:{cid}"].{".".join(path)}}}'


def _url(base: str, parameters: Mapping[str, str], token: str | None) -> str:
    query = [f"{name}={value}" for name, value in parameters.items()]
    return f"{base}?{'&'.join([*query, f'token={token}'] if token else query)}"
