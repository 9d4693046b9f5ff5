"""What the local socket offers for relays: switch one, how they are, why, and a test of a device's timer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web

from edge_energy.api.answers import BadRequest, ok
from edge_energy.api.switches import asked_duration, asked_name, only
from edge_energy.devices.payload import parse
from edge_energy.errors import NotSwitched, Unavailable
from edge_energy.relays.command import Origin, UnknownRelay, UnknownState

if TYPE_CHECKING:
    from edge_energy.api.switches import Switches

PATIENCE = 50.0  # seconds; a command has ended before, unless the disk is dying
_STATES: dict[object, bool | None] = {"on": True, "off": False, "toggle": None}


def relay_routes(switches: Switches) -> list[web.RouteDef]:
    """Return what the local socket offers to the command line."""
    handler = _Relays(switches)
    return [
        web.get("/relays", handler.get_relays),
        web.get("/relays/why", handler.get_why),
        web.post("/relays/switch", handler.post_switch),
        web.post("/relays/test-lease", handler.post_test_lease),
    ]


class _Relays:
    def __init__(self, switches: Switches) -> None:
        self._switches = switches

    async def get_relays(self, _request: web.Request) -> web.Response:
        return ok(relays=self._switches.report())

    async def get_why(self, request: web.Request) -> web.Response:
        return ok(**self._switches.why(self._relay(request.query.get("device"))))

    async def post_switch(self, request: web.Request) -> web.Response:
        """Answer with `outcome` and `reason`; `outcome` is "pending" where it is not waited for."""
        body = parse(await request.read())
        only(body, "device", "state", "for", "wait")
        relay, on = self._relay(body.get("device")), _state(body.get("state"))
        wait = body.get("wait", True)
        if type(wait) is not bool:
            raise BadRequest("expected true or false", "wait")
        try:
            command = self._switches.command(relay, on, Origin.CLI, for_=asked_duration(body.get("for")))
        except UnknownState as error:
            raise BadRequest(str(error), status=409) from None
        began = asyncio.get_running_loop().time()
        task = self._switches.submit(command)
        about = {"relay": relay, "name": self._name(relay), "on": command.on, "for": command.for_}
        # Not ended when whoever waits goes away: it was sent.
        done, _ = await asyncio.wait([task], timeout=PATIENCE if wait else 0)
        if not done:
            return ok(**about, command_id=command.id, outcome="pending", reason="")
        if task.cancelled():
            raise web.HTTPServiceUnavailable(text="the daemon stops")
        outcome, passed = task.result(), asyncio.get_running_loop().time() - began
        return ok(
            **about,
            command_id=command.id,
            outcome=outcome.verdict,
            reason=outcome.reason,
            milliseconds=round(passed * 1000, 1),
        )

    async def post_test_lease(self, request: web.Request) -> web.Response:
        body = parse(await request.read())
        only(body, "device")
        relay = self._relay(body.get("device"))
        try:
            found = await self._switches.test_lease(relay)
        except Unavailable as error:
            raise BadRequest(str(error), status=502) from None
        except NotSwitched as error:
            raise BadRequest(str(error), status=409) from None
        return ok(name=self._name(relay), **found)

    def _relay(self, name: object) -> str:
        try:
            return self._switches.resolve(asked_name(name, "device"))
        except UnknownRelay as error:
            raise BadRequest(str(error), status=404) from None

    def _name(self, relay: str) -> str:
        """Return what people call it."""
        names: dict[str, Any] = {each["relay"]: each["name"] for each in self._switches.report()}
        return str(names.get(relay) or relay)


def _state(value: object) -> bool | None:
    if type(value) is not str or value not in _STATES:
        raise BadRequest("expected on, off or toggle", "state")
    return _STATES[value]
