"""`/send`: switches a relay for whoever has a token that may; `/relays`: how they all are.

What is not here is published for the appliance that has it, where the configuration says so.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from aiohttp import web

from edge_energy.api.answers import BadRequest, failure, json_response, ok, retry_after
from edge_energy.api.elsewhere import SENT, Elsewhere
from edge_energy.api.guard import TOKEN
from edge_energy.api.pending import Pending
from edge_energy.api.switches import asked_duration, asked_name, only
from edge_energy.devices.payload import parse
from edge_energy.relays.command import ID, Command, Origin, UnknownDevice, UnknownRelay, Verdict
from edge_energy.relays.controller import SWITCHABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_energy.api.elsewhere import Publisher
    from edge_energy.api.switches import Switches
    from edge_energy.relays.command import Outcome

LONGEST_WAIT = 30.0  # seconds
STATUS: Mapping[Verdict, int] = {
    Verdict.CONFIRMED: 200,
    Verdict.REFUSED: 409,
    Verdict.SUPERSEDED: 409,
    Verdict.FAILED: 502,
    Verdict.EXPIRED: 504,
}
_BUSY_RETRY = 5  # seconds


def send_application(switches: Switches, publisher: Publisher | None = None) -> web.Application:
    """Return the route behind /send; with a publisher, commands for what is not here are its."""
    application, elsewhere = web.Application(), None if publisher is None else Elsewhere(publisher)
    if elsewhere is not None:
        application.on_cleanup.append(elsewhere.close)
    application.router.add_post("", _Sending(switches, elsewhere).receive)
    return application


def relays_application(switches: Switches) -> web.Application:
    """Return the route behind /relays."""

    async def relays(_request: web.Request) -> web.Response:
        return ok(relays=switches.report())

    application = web.Application()
    application.router.add_get("", relays, allow_head=False)
    return application


class _Sending:
    def __init__(self, switches: Switches, elsewhere: Elsewhere | None) -> None:
        self._switches = switches
        self._elsewhere = elsewhere
        self._pending: Pending[Command, Outcome] = Pending(Command.same)

    async def receive(self, request: web.Request) -> web.Response:
        wait = _wait(request)
        wanted = _wanted(await _body(request))
        try:
            command = self._command(wanted, request)
        except UnknownDevice as error:
            # A name means something only here, and what is no id is no device anywhere.
            if self._elsewhere is None or not wanted["device_id"].startswith(SWITCHABLE):
                raise BadRequest(str(error), "device_id", 404) from None
            # With an id, by which they know it if it comes twice.
            published = {"command_id": secrets.token_hex(8), **wanted}
            return await self._elsewhere.send(published, waiting=wait is not None)
        except UnknownRelay as error:
            raise BadRequest(str(error), "device_id", 404) from None
        task = self._pending.submit(command.id, command, self._switches.submit)
        if wait is None:
            return json_response({"status": SENT, "command_id": command.id})
        # Not ended when whoever waits goes away: it was sent.
        done, _ = await asyncio.wait([task], timeout=wait)
        if not done:
            return json_response(
                {"status": SENT, "command_id": command.id, "outcome": "pending", "reason": "it is not done yet"}, 202
            )
        if task.cancelled():
            return failure(503, "the daemon stops", headers=retry_after(_BUSY_RETRY))
        return _answer(command, task.result())

    def _command(self, wanted: dict[str, Any], request: web.Request) -> Command:
        """Return the command that is wanted. Raises `UnknownRelay`."""
        more: dict[str, Any] = {"for_": wanted.get("for")}
        if "command_id" in wanted:
            more |= {"id": wanted["command_id"], "foreign": True}
        if (token := request[TOKEN]) is not None:
            more["reason"] = f"asked for with token {token.id} {token.name}".rstrip()
        return self._switches.command(wanted["device_id"], wanted["switch"], Origin.HTTP, **more)


def _wanted(body: dict[str, Any]) -> dict[str, Any]:
    """Return what a body says, checked: `for` in seconds. As others get it, too. Raises `BadRequest`."""
    only(body, "device_id", "switch", "for", "command_id")
    found = {"device_id": asked_name(body.get("device_id"), "device_id"), "switch": body.get("switch")}
    if type(found["switch"]) is not bool:
        raise BadRequest("expected true or false", "switch")
    if (seconds := asked_duration(body.get("for"))) is not None:
        found["for"] = seconds
    if "command_id" in body:
        found["command_id"] = _command_id(body["command_id"])
    return found


def _answer(command: Command, outcome: Outcome) -> web.Response:
    """Return how a command ended: an error, where it did not do what was wanted."""
    details = {"command_id": command.id, "outcome": outcome.verdict, "reason": outcome.reason}
    if outcome.confirmed:
        return json_response({"status": SENT, **details})
    error = f"{outcome.verdict}: {outcome.reason}"
    return json_response({"status": "error", "error": error, **details}, STATUS[outcome.verdict])


async def _body(request: web.Request) -> dict[str, Any]:
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    body = await request.read()
    if not body.strip():
        raise BadRequest('expected a JSON object like {"device_id": "…", "switch": true}')
    if kind not in ("application/json", "text/json", ""):
        raise BadRequest("expected application/json", "Content-Type", 415)
    return parse(body)


def _wait(request: web.Request) -> float | None:
    """Return for how many seconds the outcome is waited for, or None."""
    only(dict(request.query), "wait")
    text = request.query.get("wait")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_WAIT:
        raise BadRequest(f"expected seconds, more than 0 and at most {LONGEST_WAIT:g}", "wait")
    return seconds


def _command_id(value: object) -> str:
    if type(value) is not str or not ID.fullmatch(value):
        raise BadRequest("expected 1 to 64 letters, digits and . _ : -", "command_id")
    return value
