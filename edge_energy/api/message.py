"""`/message`: Tuya-style messages, answered when what they bring is on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web

from edge_energy.api.answers import BadRequest, ok
from edge_energy.collector import LATE
from edge_energy.devices import tuya
from edge_energy.devices.payload import believable
from edge_energy.devices.tuya_seen import Seen
from edge_energy.errors import JournalFull, UnreadablePayload
from edge_energy.reading import Reading
from edge_energy.ways import MOST_NAMES, TooManyDevices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_energy.clock import Clock
    from edge_energy.collector import Collector
    from edge_energy.config import Tuya, TuyaCode
    from edge_energy.devices.tuya import Message, Property
    from edge_energy.live import Live
    from edge_energy.reading import Values

log = structlog.get_logger()

WITHIN = 0.25  # seconds until what was sent must be on disk
WAY = "message"
MOST_KNOWN = 5_000  # devices, by all ways
MOST_COMPLAINTS = 1_000  # that are logged, one for each property of a device
_JSON = ("application/json", "text/json", "")


@dataclass(slots=True)
class Counters:
    """Properties since the start, by what became of them."""

    recorded: int = 0
    duplicates: int = 0
    rejected: int = 0


COUNTERS = web.AppKey("tuya counters", Counters)


def message_application(
    tables: Sequence[Tuya], collector: Collector, live: Live, clock: Clock, remembered: Mapping[str, Any]
) -> web.Application:
    """Return the routes behind /message; `remembered` is what the journal's state has under `tuya_seen.PREFIX`."""
    application = web.Application()
    handler = _Messages(tuya.Codes(tables), collector, live, clock, Seen(remembered))
    application[COUNTERS] = handler.counters
    application.router.add_post("", handler.receive)
    return application


class _Messages:
    def __init__(self, codes: tuya.Codes, collector: Collector, live: Live, clock: Clock, seen: Seen) -> None:
        self.counters = Counters()
        self._codes = codes
        self._collector = collector
        self._live = live
        self._clock = clock
        self._seen = seen
        self._complained: set[tuple[str, str]] = set()

    async def receive(self, request: web.Request) -> web.Response:
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind not in _JSON:
            raise BadRequest("expected application/json", "Content-Type", 415)
        try:
            message = tuya.parse(await request.read())
        except tuya.UnknownMessage as error:
            raise BadRequest(str(error), "bizCode", 422) from None
        self._admit(message.device)
        if message.online is not None:
            self._live.availability(message.device, available=message.online)
            return ok(inserted=0)
        return await self._properties(message)

    async def _properties(self, message: Message) -> web.Response:
        """Record the properties of a message that are known, and let the others be live only."""
        codes, now = self._codes.of(message), self._clock.now()[0]
        taken: list[tuple[int | None, Values]] = []
        rejected: list[dict[str, str]] = []
        again = 0
        for each in message.properties:
            prop = each._replace(time=_believed(each.time, each.time))  # of a clock that was never set, none
            rule = codes.get(prop.code)
            try:
                if rule is None:
                    self._show(message.device, prop, now)
                elif (values := self._take(message.device, prop, rule)) is not None:
                    taken.append((prop.time, values))
                else:
                    again += 1
            except UnreadablePayload as error:
                rejected.append({"code": prop.code, "reason": str(error)})
        self._complain(message.device, rejected)
        self.counters.duplicates += again
        if taken or again:  # a repetition may be of what is not on disk yet
            await self._record(message.device, taken)
        self.counters.recorded += len(taken)
        return ok(inserted=len(taken), **({"rejected": rejected} if rejected else {}))

    def _take(self, device: str, prop: Property, rule: TuyaCode) -> Values | None:
        """Return what to record of a property, or None where it was taken before. Raises `UnreadablePayload`."""
        values = tuya.recorded_values(rule, prop.value)
        if prop.time is not None:
            if self._seen.known(device, prop.code, prop.time):
                return None
            self._seen.take(device, prop.code, prop.time, lasting=tuya.is_increment(rule))
        return values

    async def _record(self, device: str, taken: Sequence[tuple[int | None, Values]]) -> None:
        """Return when all that was taken, now and before, is on disk."""
        try:
            recorded = self._collector.record(tuya.readings(device, taken), WAY, WITHIN, self._seen.state())
        except (JournalFull, TooManyDevices):
            self._seen.recorded(None)
            raise
        self._seen.recorded(recorded.durable)
        await recorded.durable

    def _show(self, device: str, prop: Property, now: int | None) -> None:
        """Let a property that is not recorded be seen, unless it is old or was seen."""
        values, at = tuya.live_values(prop), _believed(prop.time, now) or now
        if prop.time is not None:
            if self._seen.known(device, prop.code, prop.time):
                return
            self._seen.note(device, prop.code, prop.time)
        if at is not None and now is not None and now - at >= LATE:
            return
        state = self._live.devices.get(device)
        if values and (state is None or prop.code in state.values or len(state.values) < MOST_NAMES):
            self._live.update(Reading(device, at, values))

    def _admit(self, device: str) -> None:
        """Refuse a device that would be one too many to remember."""
        if device not in self._live.devices and len(self._live.devices) >= MOST_KNOWN:
            raise TooManyDevices(f"more than {MOST_KNOWN} devices: {device} is not taken")

    def _complain(self, device: str, rejected: Sequence[Mapping[str, str]]) -> None:
        """Count what was left out, and log it once for each property of a device."""
        self.counters.rejected += len(rejected)
        for each in rejected:
            complaint = device, each["code"]
            if complaint not in self._complained and len(self._complained) < MOST_COMPLAINTS:
                self._complained.add(complaint)
                log.warning("Tuya: a value is left out", device=device, **each)


def _believed(time: int | None, now: int | None) -> int | None:
    """Return a property's own time if it can be taken at `now`; while nobody knows the date, if it was ever set."""
    return time if time is not None and believable(time, now or time) else None
