"""Sets a Shelly up over RPC so that it sends to us, and waits until a reading of it has come."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import structlog

from edge_energy.clock import uptime
from edge_energy.errors import EdgeEnergyError
from edge_energy.sources.shelly import addresses, identity
from edge_energy.sources.shelly.patient import Patient
from edge_energy.sources.shelly.preparation import Preparation, mapping
from edge_energy.sources.shelly.session import WrongPassword
from edge_energy.sources.shelly.wish import Device, Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from edge_energy.config import Settings
    from edge_energy.live import Live
    from edge_energy.sources.shelly.addresses import Place
    from edge_energy.sources.shelly.plan import Change
    from edge_energy.sources.shelly.wish import Rpc, Tokens
    from edge_energy.ways import Ways

log = structlog.get_logger()

RECENT = 120.0  # s; a device that was heard so lately needs no further proof
_POLL = 0.2
_REBOOT_DELAY = 0.5  # s between the answer to Shelly.Reboot and the restart
_SECOND = 1_000_000_000
_WAYS = {"websocket": "outbound websocket", "webhook": "webhook", "mqtt": "mqtt "}
"""How the names of the ways begin that `Ways.heard` knows."""


class CannotAdopt(EdgeEnergyError):  # noqa: N818 - a state of the world
    """Why not, and what to do about it. Nothing was changed."""


class HalfAdopted(EdgeEnergyError):  # noqa: N818 - as above
    """The device stopped answering in the middle. Adopting it again does the rest."""


class Adoption:
    """Adopts one device at a time."""

    def __init__(
        self,
        settings: Settings,
        live: Live,
        ways: Ways,
        tokens: Tokens,
        connect: Callable[[Place, str | None], AbstractAsyncContextManager[Rpc]],
    ) -> None:
        self._settings = settings
        self._live = live
        self._ways = ways
        self._tokens = tokens
        self._connect = connect
        self._busy = asyncio.Lock()

    async def adopt(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Do what the body of the request (`Wish`) wants; return what was changed.

        `{"device", "name", "model", "changes": [{"what", "before", "after"}], "rebooted", "verified_seconds",
        "problems": []}`; `verified_seconds` is None where no reading came. Raises `CannotAdopt`, `Conflict`,
        `BadAddress`, `HalfAdopted`, `UnreadablePayload` and `Unavailable`.
        """
        wish = Wish.of(body)
        if self._busy.locked():
            raise CannotAdopt("another device is being adopted: try again in a minute")
        async with self._busy:
            place = addresses.place(wish.address)
            found = await addresses.locate(place)
            password = self._password(wish, place, found)
            try:
                async with self._connect(found, password) as hasty:
                    rpc = Patient(hasty)
                    device = await identify(rpc, found, authorised=password is not None)
                    return await self._adopt(rpc, device, wish)
            except WrongPassword:
                raise CannotAdopt(
                    f"{found} refuses the password: correct --password, SHELLY_PASSWORD or [[shelly]] password"
                ) from None

    async def _adopt(self, rpc: Rpc, device: Device, wish: Wish) -> dict[str, Any]:
        prepare = Preparation(self._settings, self._tokens, rpc, device, wish)
        plan = await prepare.plan()
        heard = self._heard(device.id, wish.via, uptime() - round(RECENT * _SECOND))
        rebooted, seconds, problems = False, None, list(plan.problems)
        if not wish.dry_run:
            rebooted = await self._apply(rpc, prepare, plan.changes, pending=not heard and _pending(device.status))
            since = uptime() + round(_REBOOT_DELAY * _SECOND) * rebooted
            self._live.describe(device.id, device.name, device.model)
            self._live.locate(device.id, device.place.host)
            seconds = 0.0 if heard and not plan.changes else await self._verify(device.id, wish, since)
            if seconds is None:
                problems.append(await prepare.explanation())
            log.info("shelly adopted", device=device.id, via=wish.via, changes=len(plan.changes), verified=seconds)
        shown = [{"what": each.what, "before": each.before, "after": each.after} for each in plan.changes]
        return {
            "device": device.id,
            "name": device.name,
            "model": device.model,
            "changes": shown,
            "rebooted": rebooted,
            "verified_seconds": seconds,
            "problems": problems,
        }

    async def _apply(self, rpc: Rpc, prepare: Preparation, changes: Sequence[Change], *, pending: bool) -> bool:
        """Make the changes; tell whether the device was restarted for them, or for what was `pending` before."""
        restart, made = pending, 0
        try:
            for change in changes:
                result = await rpc.call(change.method, change.params)
                restart |= type(result) is dict and result.get("restart_required") is True
                made += 1
            if restart:
                await rpc.call("Shelly.Reboot", {"delay_ms": round(_REBOOT_DELAY * 1000)})
        except EdgeEnergyError as error:
            if made < len(changes):
                await prepare.abandon()
            if not made:
                raise
            raise HalfAdopted(f"{error}; {made} of {len(changes)} changes were made: adopt it again") from None
        return restart

    def _password(self, wish: Wish, *places: Place) -> str | None:
        """Return the password for a device: as given, else as configured."""
        if wish.password is not None:
            return wish.password.get_secret_value()
        for shelly in self._settings.shelly:
            if (shelly.host, shelly.port) in places and shelly.password is not None:
                return shelly.password.get_secret_value()
        return None

    def _heard(self, device: str, via: str, since: int) -> bool:
        heard = self._ways.heard(device)
        return any(way.startswith(_WAYS[via]) and at > since for way, at in heard.items())

    async def _verify(self, device: str, wish: Wish, since: int) -> float | None:
        """Return after how many seconds a reading came that way, or None where none did."""
        began = time.monotonic()
        while not self._heard(device, wish.via, since):
            if time.monotonic() - began > wish.wait:
                return None
            await asyncio.sleep(_POLL)
        return round(time.monotonic() - began, 1)


async def identify(rpc: Rpc, place: Place, *, authorised: bool) -> Device:
    """Ask a device who and how it is (`GET /shelly` is open to all). Raises `CannotAdopt` and `Unavailable`."""
    info = mapping(await rpc.get("/shelly"), "/shelly")
    if identity.is_gen1(info):
        raise CannotAdopt(_gen1(info, place))
    who = identity.of_gen2(info)
    if who is None:
        raise CannotAdopt(f"what answers on {place} is no Shelly")
    if info.get("auth_en") is True and not authorised:
        raise CannotAdopt(
            f"{who.own_id} asks for its password: give it with --password or in SHELLY_PASSWORD, or configure it "
            "as [[shelly]] password"
        )
    status = mapping(await rpc.call("Shelly.GetStatus"), "Shelly.GetStatus")
    return Device(who.device, who.name, who.model, place, status)


def _gen1(info: Mapping[str, Any], place: Place) -> str:
    """Say what to do with a device that has no RPC."""
    lines = ["[[shelly]]", f'host = "{place.host}"']
    lines += [f"port = {place.port}"] if place.port != addresses.HTTP_PORT else []
    lines += ['username = "admin"', 'password = "…"'] if info.get("auth") is True else []
    block = "\n".join(f"    {line}" for line in lines)
    return (
        f"{str(info['type'])[:64]} is a Shelly of the first generation, which nobody can set up by RPC. Let the "
        f"daemon read it: write this into its configuration, then `systemctl reload edge-energy`:\n{block}"
    )


def _pending(status: Mapping[str, Any]) -> bool:
    """Tell whether the device waits for a restart, by which settings only count."""
    system = status.get("sys")
    return type(system) is dict and system.get("restart_required") is True
