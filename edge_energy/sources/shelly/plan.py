"""What has to be changed in a Shelly (Gen2 and later) so that it sends to us. No I/O.

Each function takes what the device says now and what is wanted, and returns the calls that lead from the one to the
other: none where nothing is left to do. What serves somebody else is a `Conflict`. Source: Shelly's documentation of
the services Ws, Webhook and Mqtt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from edge_energy.errors import EdgeEnergyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SOCKET_PATH = "/shelly/ws/"
OURS = "edge-energy"
"""The name of each webhook of ours begins with this word."""
MOST_HOOKS = 20  # of one device
HIDDEN = "…"
_UNVERIFIED = "*"
"""As `ssl_ca`: encrypted, the certificate not verified, since the appliance's own is signed by nobody."""
_OWN_CA = "user_ca.pem"
"""As `ssl_ca`: the operator has put a certificate into the device; better than ours, so it stays."""


class Conflict(EdgeEnergyError):  # noqa: N818 - a state of the device
    """A setting serves somebody else. Nothing was changed."""


class Change(NamedTuple):
    """One call to the device; `what`, `before` and `after` are for people and hold no secrets."""

    what: str
    method: str
    params: dict[str, Any]
    before: str
    after: str


class Hook(NamedTuple):
    """A webhook that the device is to have; `cid` is the number of its channel."""

    event: str
    cid: int
    url: str

    @property
    def name(self) -> str:
        """By which it is known again."""
        return f"{OURS} {self.event} {self.cid}"


class Broker(NamedTuple):
    """An MQTT broker as the device is to see it: `server` is host:port.

    `user` and `password` are the device's own; without a user it keeps what it has.
    """

    server: str
    tls: bool = False
    user: str | None = None
    password: str | None = None


def socket_token(config: Mapping[str, Any]) -> str | None:
    """Return the token in the address of an outbound WebSocket (`Ws.GetConfig`) that has the form of ours."""
    path = _split(config.get("server"))[1]
    return path.removeprefix(SOCKET_PATH) if path.startswith(SOCKET_PATH) else None


def websocket(config: Mapping[str, Any], url: str, *, replace: bool = False) -> list[Change]:
    """Plan the outbound WebSocket from the answer to `Ws.GetConfig`. Raises `Conflict`."""
    server = config.get("server")
    wanted: dict[str, Any] = {"enable": True, "server": url}
    if url.startswith("wss:") and config.get("ssl_ca") != _OWN_CA:
        wanted["ssl_ca"] = _UNVERIFIED
    if not _different(config, wanted):
        return []
    before = without_secrets(server)
    if config.get("enable") is True and server and not (_same_place(server, url) or replace):
        raise Conflict(
            f"the device's outbound WebSocket leads to {before}, and it has only one: see who uses that, then "
            "take it with --replace, or adopt the device by another way (--via webhook or --via mqtt)"
        )
    before = before if config.get("enable") is True else f"off, {before}" if server else "off"
    return [Change("outbound WebSocket", "Ws.SetConfig", {"config": wanted}, before, without_secrets(url))]


def ours(hook: Mapping[str, Any]) -> bool:
    """Tell whether a webhook (of `Webhook.List`) was made by us."""
    return str(hook.get("name")).partition(" ")[0] == OURS


def webhooks(listed: Sequence[Mapping[str, Any]], wanted: Iterable[Hook]) -> list[Change]:
    """Plan the webhooks from the `hooks` that `Webhook.List` answers; those of others stay. Raises `Conflict`.

    A condition or a repeat period that the operator has given to one of ours stays as well.
    """
    mine = [hook for hook in listed if ours(hook)]
    kept: dict[str, Mapping[str, Any]] = {}
    changes = []
    for hook in wanted:
        known = next((each for each in mine if each["name"] == hook.name), None)
        if known is not None:
            kept[hook.name] = known
        if (change := _hook(known, hook)) is not None:
            changes.append(change)
    surplus = [hook for hook in mine if hook is not kept.get(hook["name"])]
    made = sum(change.method == "Webhook.Create" for change in changes)
    if len(listed) - len(surplus) + made > MOST_HOOKS:
        raise Conflict(
            f"the device has {len(listed)} webhooks already, {made} more are needed, and it takes {MOST_HOOKS}: "
            "delete some, or adopt it by another way (--via websocket)"
        )
    return [_deletion(hook) for hook in surplus] + changes


def _hook(known: Mapping[str, Any] | None, hook: Hook) -> Change | None:
    """Return what makes a webhook as it has to be."""
    wanted = {"name": hook.name, "event": hook.event, "cid": hook.cid, "enable": True, "urls": [hook.url]}
    if hook.url.startswith("https:") and (known is None or known.get("ssl_ca") != _OWN_CA):
        wanted["ssl_ca"] = _UNVERIFIED
    what, after = f"webhook {hook.event} {hook.cid}", without_secrets(hook.url)
    if known is None:
        return Change(what, "Webhook.Create", wanted, "none", after)
    different = _different(known, wanted)
    if not different:
        return None
    return Change(what, "Webhook.Update", {"id": known.get("id"), **different}, _shown(known), after)


def _deletion(hook: Mapping[str, Any]) -> Change:
    what = f"webhook {hook.get('event')} {hook.get('cid')}"
    return Change(what, "Webhook.Delete", {"id": hook.get("id")}, _shown(hook), "none")


def _shown(hook: Mapping[str, Any]) -> str:
    urls = hook.get("urls")
    shown = " ".join(map(without_secrets, urls)) if type(urls) is list else "?"
    return shown if hook.get("enable") is True else f"off, {shown}"


def mqtt(config: Mapping[str, Any], broker: Broker, *, connected: bool, replace: bool = False) -> list[Change]:
    """Plan MQTT from the answer to `Mqtt.GetConfig`; the topic prefix stays. Raises `Conflict`.

    `connected` says whether the device is with the broker that it knows now: then what it logs in with is right.
    """
    server, enabled = config.get("server"), config.get("enable") is True
    wanted: dict[str, Any] = {"enable": True, "server": broker.server, "rpc_ntf": True, "status_ntf": True}
    if not broker.tls:
        wanted["ssl_ca"] = None
    elif config.get("ssl_ca") is None:
        wanted["ssl_ca"] = _UNVERIFIED
    different = _different(config, wanted) | _login(config, broker, connected=connected)
    if not different:
        return []
    if enabled and server and server != broker.server and not replace:
        raise Conflict(
            f"the device is with the MQTT broker {without_secrets(server)}, and it takes only one: see who uses "
            "that, then take it with --replace, or adopt the device by another way (--via websocket or --via webhook)"
        )
    after = _mqtt_shown({**config, **different}) + (", with a new password" if "pass" in different else "")
    return [Change("MQTT", "Mqtt.SetConfig", {"config": different}, _mqtt_shown(config), after)]


def _login(config: Mapping[str, Any], broker: Broker, *, connected: bool) -> dict[str, Any]:
    """Return what the device has to log in with instead; a password cannot be read, so it is sent where in doubt."""
    moves, user = config.get("server") != broker.server, config.get("user") or None
    if broker.user is None:
        return {}
    changed = user != broker.user
    login: dict[str, Any] = {"user": broker.user} if changed else {}
    if broker.password is not None and (changed or moves or not connected):
        login["pass"] = broker.password
    return login


def _mqtt_shown(config: Mapping[str, Any]) -> str:
    if config.get("enable") is not True:
        return "off"
    user = f" as {config['user']}" if config.get("user") else ""
    tells = [name for name in ("rpc_ntf", "status_ntf") if config.get(name) is True]
    encrypted = ", encrypted" if config.get("ssl_ca") is not None else ""
    return f"{without_secrets(config.get('server'))}{user}, {' and '.join(tells) or 'no notifications'}{encrypted}"


def without_secrets(url: object) -> str:
    """Return an address as it may be shown: no user, no token in path or query."""
    if type(url) is not str or not url:
        return "none"
    place, path, query = _split(url)
    if path.startswith(SOCKET_PATH):
        path = SOCKET_PATH + HIDDEN
    shown = "&".join(map(_without_value, query.split("&")))
    whole = f"{place}{path}?{shown}" if query else f"{place}{path}"
    return "".join(letter for letter in whole if letter.isprintable()) or "none"


def _without_value(parameter: str) -> str:
    """Hide the value of a parameter, unless it is an expression or a switch state: those are no secrets."""
    name, _, value = parameter.partition("=")
    return parameter if value.startswith("${") or value in ("", "true", "false") else f"{name}={HIDDEN}"


def _split(url: object) -> tuple[str, str, str]:
    """Return scheme and place without user, path, and query; empty where it is no address."""
    if type(url) is not str:
        return "", "", ""
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
    except ValueError:
        return "an address that nobody can read", "", ""
    scheme = f"{parts.scheme}://" if parts.scheme else ""
    return scheme + parts.netloc.rpartition("@")[2], parts.path, parts.query


def _same_place(server: object, url: str) -> bool:
    """Tell whether both are sockets of this appliance: with the same token, or on the same host and port."""
    token = socket_token({"server": server})
    return token is not None and (token == socket_token({"server": url}) or _split(server)[0] == _split(url)[0])


def _different(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if known.get(name) != value}
