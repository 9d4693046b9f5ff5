"""`/webhook`: a device or a script sends its values in one request, and is answered when they are on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from edge_energy.api.answers import BadRequest, ok
from edge_energy.devices import shelly_rpc, webhook
from edge_energy.ways import MOST_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_energy.collector import Collector
    from edge_energy.config import Http
    from edge_energy.live import Live
    from edge_energy.reading import Reading

WITHIN = 0.25  # seconds until what was sent must be on disk; requests of that time share the commit
WAY = "webhook"
_FORM = "application/x-www-form-urlencoded"


def webhook_application(settings: Http, collector: Collector, live: Live) -> web.Application:
    """Return the routes behind /webhook."""
    application = web.Application()
    handler = _Webhook(settings, collector, live)
    for path in ("", "/", "/{device}"):
        # A HEAD must not record.
        application.router.add_get(path, handler.receive, allow_head=False)
        application.router.add_post(path, handler.receive)
    return application


class _Webhook:
    def __init__(self, settings: Http, collector: Collector, live: Live) -> None:
        self._collector = collector
        self._live = live
        self._senders = {shelly_rpc.device_id(s.device) or s.device: s for s in settings.devices}
        self._addresses = {webhook.plain_address(s.address): s.device for s in settings.devices if s.address}

    async def receive(self, request: web.Request) -> web.Response:
        try:
            query = webhook.form_pairs(request.rel_url.raw_query_string)
            given = webhook.parameters(query + await _body(request))
            device = webhook.known_device(self._name(request, given))
            reading = webhook.reading(device, given, self._senders.get(device))
            self._check_names(reading)
        except webhook.BadValue as error:
            raise BadRequest(error.reason, error.parameter) from None
        # What another way has just told is on disk when this is.
        await self._collector.record([reading], WAY, WITHIN).durable
        return ok(recorded=1)

    def _check_names(self, reading: Reading) -> None:
        """Refuse names without end, which would fill the memory here and the database behind."""
        known = self._live.devices.get(reading.device)
        if known is not None and len(reading.values.keys() | known.values.keys()) > MOST_NAMES:
            name = next(name for name in reading.values if name not in known.values)
            raise webhook.BadValue(name, f"{reading.device} has more than {MOST_NAMES} values already")

    def _name(self, request: web.Request, given: Mapping[str, object]) -> object:
        """Return what the request calls its device, else the device that its address belongs to."""
        if "device" in request.match_info:
            return request.match_info["device"]
        if "device" in given:
            return given["device"]
        address = webhook.plain_address(request.remote or "")
        return self._addresses.get(address) or self._live.at(address) or webhook.address_device(address)


async def _body(request: web.Request) -> list[tuple[str, object]]:
    """Return the parameters of the body, if there is one."""
    body = await request.read()
    if not body.strip():
        return []
    kind = request.headers.get("Content-Type", _FORM).partition(";")[0].strip().lower()
    # What `curl -d '{…}'` sends calls itself a form.
    if kind in ("application/json", "text/json") or (kind == _FORM and body.lstrip().startswith(b"{")):
        return webhook.json_pairs(body)
    if kind != _FORM:
        raise BadRequest(f"expected application/json or {_FORM}", "Content-Type", 415)
    return webhook.form_pairs(body.decode(errors="replace").strip())
