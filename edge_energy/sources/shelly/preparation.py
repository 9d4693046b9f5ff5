"""Asks a Shelly for what it has, and finds out what it shall have: our address as it sees us, a token, a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from edge_energy.config import values
from edge_energy.errors import EdgeEnergyError, Unavailable
from edge_energy.sources.shelly import addresses, hooks, plan
from edge_energy.sources.shelly.addresses import BadAddress, Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_energy.config import Http, Mqtt, Settings
    from edge_energy.sources.shelly.plan import Change
    from edge_energy.sources.shelly.wish import Device, Rpc, Tokens, Wish

_TOKEN_TO_COME = "ee_00000000_" + "0" * 43
"""As long as a token: what is planned with it, and shown of it, is the same as with a real one."""


class Missing(EdgeEnergyError):  # noqa: N818 - a state of the configuration
    """The daemon or the device lacks what this way needs. Nothing was changed."""


class Plan(NamedTuple):
    """What has to be done, and what the operator should know all the same."""

    changes: list[Change]
    problems: list[str]


class Preparation:
    """One adoption's questions."""

    def __init__(self, settings: Settings, tokens: Tokens, rpc: Rpc, device: Device, wish: Wish) -> None:
        self._settings = settings
        self._tokens = tokens
        self._rpc = rpc
        self._device = device
        self._wish = wish
        self._created: str | None = None
        self._server = ""
        """Where the device is to send to."""

    async def plan(self) -> Plan:
        """Return what has to be done. Makes a token where one is needed, unless this is a dry run."""
        if self._wish.via == "webhook":
            return await self._webhooks()
        relays = await self._relays()  # before a token is made: it can fail
        changes = await (self._websocket() if self._wish.via == "websocket" else self._mqtt())
        return Plan(changes, relays if changes else [])

    async def abandon(self) -> None:
        """End the token that was made: the device did not take it."""
        if self._created is not None:
            await self._tokens.revoke(self._created)

    async def explanation(self) -> str:
        """Say why no reading may have come, with what the device says of it."""
        none = f"no reading has come by {self._wish.via} within {self._wish.wait:g} s"
        if self._wish.via == "webhook":
            return (
                f"{none}: a webhook comes when the relay or its power changes, so switch something on; if none comes "
                f"then, see whether the device can reach {self._server} (firewall, [http] allowed_hosts, --server)"
            )
        try:
            status = await self._rpc.call("Ws.GetStatus" if self._wish.via == "websocket" else "Mqtt.GetStatus")
            connected = type(status) is dict and status.get("connected") is True
        except EdgeEnergyError:
            return f"{none}: the device does not answer any more; ask `edge-energy shelly list` in a minute"
        if connected:
            return f"{none}, though the device says that it is connected to {self._server}"
        where = "the broker's user and password" if self._wish.via == "mqtt" else "firewall, [http] allowed_hosts"
        return f"{none}: the device cannot connect to {self._server} ({where}, --server)"

    async def _websocket(self) -> list[Change]:
        http = self._http()
        config = await self._ask("Ws.GetConfig")
        base = f"{'wss' if http.cert_file else 'ws'}://{self._own_place(http.port, http.host)}{plan.SOCKET_PATH}"
        self._server = base + plan.HIDDEN
        kept = plan.socket_token(config)
        token = kept if kept is not None and self._tokens.valid(kept) else None
        # Planned first: a conflict must not leave a token behind.
        changes = plan.websocket(config, base + (token or _TOKEN_TO_COME), replace=self._wish.replace)
        if token is not None or self._wish.dry_run:
            return changes
        return plan.websocket(config, base + await self._new_token(), replace=self._wish.replace)

    async def _webhooks(self) -> Plan:
        http = self._http()
        listed = (await self._ask("Webhook.List")).get("hooks")
        known = [hook for hook in listed if type(hook) is dict] if type(listed) is list else []
        events = hooks.supported(await self._ask("Webhook.ListSupported"))
        place = self._own_place(http.port, http.host)
        self._server = f"{'https' if http.cert_file else 'http'}://{place}/webhook/{self._device.id}"
        token = None
        if http.webhook_auth:
            tokens = filter(None, map(hooks.token, known))
            token = next(filter(self._tokens.valid, tokens), _TOKEN_TO_COME)
        wanted = hooks.hooks(self._server, self._device.status, events, token)
        if not wanted.hooks:
            raise Missing("the device has no webhook that could tell of a relay or a power: use --via websocket")
        changes = plan.webhooks(known, wanted.hooks)
        if token == _TOKEN_TO_COME and not self._wish.dry_run:
            wanted = hooks.hooks(self._server, self._device.status, events, await self._new_token())
            changes = plan.webhooks(known, wanted.hooks)
        missing = ", ".join(wanted.left_out)
        return Plan(changes, [f"webhooks of this device cannot tell {missing}"] if missing else [])

    async def _mqtt(self) -> list[Change]:
        config = await self._ask("Mqtt.GetConfig")
        settings = self._broker(str(config.get("topic_prefix") or ""))
        broker_host = None if values.loopback(settings.host) else settings.host
        self._server = str(self._own_place(settings.port, broker_host))
        wish = self._wish
        if wish.mqtt_user is None and settings.username is not None and not config.get("user"):
            # The daemon's own login stays its own: who opens a device could read everything with it.
            raise Missing("the broker wants a login: make one for the device, and name it with --mqtt-user")
        secret = wish.mqtt_password.get_secret_value() if wish.mqtt_password is not None else None
        broker = plan.Broker(self._server, settings.tls, wish.mqtt_user, secret)
        status = self._device.status.get("mqtt")
        connected = type(status) is dict and status.get("connected") is True
        return plan.mqtt(config, broker, connected=connected, replace=wish.replace)

    def _broker(self, prefix: str) -> Mqtt:
        """Return the first broker on which the daemon listens to a device's topics."""
        listening = [mqtt for mqtt in self._settings.mqtt if mqtt.shelly]
        if not listening:
            raise Missing("the daemon listens to no Shelly by MQTT: see [[mqtt]] shelly, or use --via websocket")
        for mqtt in listening:
            if any(values.overlapping(known, prefix) for known in mqtt.shelly):
                return mqtt
        raise Missing(
            f"the device publishes under {prefix!r}, to which the daemon does not listen: add it to [[mqtt]] shelly, "
            "or give the device its usual topic prefix again"
        )

    def _http(self) -> Http:
        if self._settings.http is None:
            raise Missing("the daemon has no HTTP server to send to: write [http] into its configuration")
        return self._settings.http

    def _own_place(self, port: int, host: str | None) -> Place:
        """Return where the device reaches us (or a broker): as asked for, else `host`, else on the way to it."""
        if self._wish.server is not None:
            return addresses.place(self._wish.server, port)
        if host is not None and not _everywhere(host):
            if values.loopback(host) and not values.loopback(self._device.place.host):
                raise BadAddress(f"the daemon listens on {host} only, which no device can reach: see [http] host")
            return Place(host, port)
        return Place(addresses.own_address(self._device.place.host), port)

    async def _new_token(self) -> str:
        self._created = await self._tokens.create(self._device.id)
        return self._created

    async def _ask(self, method: str) -> Mapping[str, Any]:
        return mapping(await self._rpc.call(method), method)

    async def _relays(self) -> list[str]:
        """Say which relays the restart can switch: each then takes its configured initial state."""
        found = []
        for cid, switch in hooks.switches(self._device.status):
            config = mapping(await self._rpc.call("Switch.GetConfig", {"id": cid}), "Switch.GetConfig")
            initial, on = config.get("initial_state"), switch.get("output") is True
            if initial in ("match_input", "off" if on else "on"):
                state = "ON" if on else "OFF"
                found.append(f"the restart can switch relay {cid}, now {state}: its initial_state is {initial}")
        return found


def mapping(answer: Any, what: str) -> Mapping[str, Any]:
    """Return an answer that has to be an object."""
    if type(answer) is not dict:
        raise Unavailable(f"the device answers {what} with something else than an object")
    return answer


def _everywhere(host: str) -> bool:
    return host in ("0.0.0.0", "::")
