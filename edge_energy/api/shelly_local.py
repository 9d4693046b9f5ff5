"""What the local socket offers for Shelly devices: find, adopt and list them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from edge_energy.api.access import Role
from edge_energy.api.answers import BadRequest, ok
from edge_energy.devices.payload import parse
from edge_energy.errors import EdgeEnergyError, JournalFull, Unavailable, UnreadablePayload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_energy.api.tokens import Tokens

SEARCH = 5.0  # seconds
_SHORTEST, _LONGEST = 0.1, 30.0


class Adopter(Protocol):
    """Sets devices up."""

    async def adopt(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Do what the body wants; return what was changed."""
        ...


class Finder(Protocol):
    """Knows which devices there are."""

    async def find(self, seconds: float, interface: str | None = None) -> list[dict[str, Any]]:
        """Return those that announce themselves."""
        ...

    def known(self) -> list[dict[str, Any]]:
        """Return those that were heard."""
        ...


class DeviceTokens:
    """The tokens of devices, as adoption needs them."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def create(self, name: str) -> str:
        """Make a token of role `device`. Raises `EdgeEnergyError` where that is not possible."""
        try:
            return await self._tokens.create(Role.DEVICE, name)
        except BadRequest as error:
            raise EdgeEnergyError(error.reason) from None

    def valid(self, text: str) -> bool:
        """Tell whether a token lets a device in."""
        token = self._tokens.check(text)
        return token is not None and token.role is Role.DEVICE

    async def revoke(self, text: str) -> None:
        """End a token."""
        await self._tokens.revoke(text.split("_")[1])


def shelly_routes(adopter: Adopter, finder: Finder) -> list[web.RouteDef]:
    """Return what the local socket offers to the command line."""

    async def adopt(request: web.Request) -> web.Response:
        try:
            return ok(**await adopter.adopt(parse(await request.read())))
        except (JournalFull, UnreadablePayload):
            raise
        except Unavailable as error:
            raise BadRequest(str(error), status=502) from None
        except EdgeEnergyError as error:
            raise BadRequest(str(error), status=409) from None

    async def discover(request: web.Request) -> web.Response:
        seconds, interface = _seconds(request), _interface(request)
        try:
            return ok(devices=await finder.find(seconds, interface))
        except Unavailable as error:
            raise BadRequest(str(error), status=502) from None

    async def devices(_request: web.Request) -> web.Response:
        return ok(devices=finder.known())

    return [
        web.post("/shelly/adopt", adopt),
        web.get("/shelly/discover", discover),
        web.get("/shelly/devices", devices),
    ]


def _seconds(request: web.Request) -> float:
    try:
        seconds = float(request.query.get("seconds", SEARCH))
    except ValueError:
        seconds = -1
    if not _SHORTEST <= seconds <= _LONGEST:
        raise BadRequest(f"expected {_SHORTEST:g} to {_LONGEST:g}", "seconds")
    return seconds


def _interface(request: web.Request) -> str | None:
    interface = request.query.get("interface")
    try:
        return None if interface is None else str(ip_address(interface))
    except ValueError:
        raise BadRequest("expected an IP address of this machine", "interface") from None
