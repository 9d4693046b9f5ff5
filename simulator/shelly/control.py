"""The door through which tests disturb the devices and learn the truth about them; on its own loopback port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from simulator.shelly.em import EnergyData
from simulator.shelly.truth import truth

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.shelly.gen1 import Gen1Device
    from simulator.shelly.host_gen1 import Gen1Host
    from simulator.shelly.host_gen2 import Gen2Host
    from simulator.shelly.switch import Switch

    AnyHost = Gen1Host | Gen2Host


class Control:
    """GET /, GET /DEVICE, POST /DEVICE/DISTURBANCE?parameter=value; a device goes by its name or its id."""

    def __init__(self, hosts: list[AnyHost]) -> None:
        self._hosts = {name: host for host in hosts for name in (host.device.identity.name, host.device.identity.id)}
        self._all = hosts
        self._disturbances: dict[str, Callable[[AnyHost, web.Request], None]] = {
            "reboot": lambda host, request: host.reboot(reset_counters=_flag(request, "reset_counters")),
            "wifi": lambda host, request: host.lose_network(_number(request, "seconds")),
            "slow": _slow,
            "garbage": _garbage,
            "clock": lambda host, request: host.device.clock.set(known=_flag(request, "set")),
            "load": _load,
            "minute": _minute,
            "deaf": _deaf,
            "weld": _weld,
            "press": _press,
        }

    def application(self) -> web.Application:
        """Make the application."""
        application = web.Application()
        application.router.add_get("/", self._list)
        application.router.add_get("/{device}", self._state)
        application.router.add_post("/{device}/{disturbance}", self._disturb)
        return application

    async def _list(self, _: web.Request) -> web.Response:
        return _json({host.device.identity.name: state(host) for host in self._all})

    async def _state(self, request: web.Request) -> web.Response:
        return _json(state(self._host(request)))

    async def _disturb(self, request: web.Request) -> web.Response:
        host, name = self._host(request), request.match_info["disturbance"]
        if name not in self._disturbances:
            raise web.HTTPNotFound(text=f"{name}: one of {', '.join(self._disturbances)}\n")
        self._disturbances[name](host, request)
        return _json(state(host))

    def _host(self, request: web.Request) -> AnyHost:
        name = request.match_info["device"]
        if name not in self._hosts:
            raise web.HTTPNotFound(text=f"{name}: one of {', '.join(self._hosts)}\n")
        return self._hosts[name]


def state(host: AnyHost) -> dict[str, Any]:
    """Give the true state of a device and of its connections."""
    return truth(host.device) | {
        "port": host.port,
        "running": host.running,
        "connections": len(host.connections.open),
        "most_connections": host.connections.most_ever,
        "refused_connections": host.connections.refused,
        **vars(host.counts),
    }


def _slow(host: AnyHost, request: web.Request) -> None:
    host.faults.slow = _number(request, "seconds")


def _garbage(host: AnyHost, request: web.Request) -> None:
    host.faults.garbage = _flag(request, "on")


def _load(host: AnyHost, request: web.Request) -> None:
    host.device.source.force(_number(request, "watts") if "watts" in request.query else None)


def _minute(host: AnyHost, _: web.Request) -> None:
    host.device.minute()
    host.flush()


def _deaf(host: AnyHost, request: web.Request) -> None:
    _switch(host).relay.deaf = _flag(request, "on")


def _weld(host: AnyHost, request: web.Request) -> None:
    _switch(host).outlet.weld(on=_flag(request, "on"))


def _press(host: AnyHost, _: web.Request) -> None:
    _switch(host).press()
    host.device.report()
    host.flush()


def _switch(host: AnyHost) -> Switch | Gen1Device:
    meter = host.device.meter
    if isinstance(meter, EnergyData):
        raise web.HTTPBadRequest(text=f"{host.device.identity.name} has no relay\n")
    return meter


def _number(request: web.Request, name: str) -> float:
    try:
        return float(request.query[name])
    except (KeyError, ValueError):
        raise web.HTTPBadRequest(text=f"{name}: a number is needed\n") from None


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "0") in {"1", "true", "on"}


def _json(body: Any) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")
