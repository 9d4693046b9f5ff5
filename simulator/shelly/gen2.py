"""A Gen2 device as a whole: its components, its clock, what it tells about itself and when. No I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from simulator.outlet import Outlet
from simulator.shelly import services
from simulator.shelly.component import Component, System
from simulator.shelly.em import EnergyData, EnergyMeter
from simulator.shelly.product import FIRMWARE
from simulator.shelly.switch import Switch
from simulator.shelly.webhook import Webhooks

if TYPE_CHECKING:
    from simulator.shelly.digest import Digest
    from simulator.shelly.moment import Clock, Moment
    from simulator.shelly.product import Identity
    from simulator.shelly.rpc import Json
    from simulator.supply import Supply


class News(NamedTuple):
    """A notification for everybody who listens."""

    method: str
    params: Json


class Gen2Device:
    """What the device knows and does; `take_news` and `take_calls` give what is to go out since they were asked.

    A reboot that was asked for is due at `reboot_at` (monotonic seconds); whoever owns the device carries it out.
    """

    def __init__(
        self, identity: Identity, source: Outlet | Supply, clock: Clock, digest: Digest, firmware: int = 1
    ) -> None:
        self.identity = identity
        self.clock = clock
        self.digest = digest
        self.source = source
        self.reboot_at = math.inf
        self._firmware = firmware
        self._version, self._build = FIRMWARE[firmware]
        self.system = System(identity.mac, self._build, clock)
        self.mqtt, self.ws = services.outgoing(identity)
        self.switch: Switch | None = None
        self.meter: Switch | EnergyData = self._meter(source)
        parts = [*services.network(identity), *services.inputs(identity), self.mqtt, self.ws, self.system]
        self.components = {part.key: part for part in [*self._measuring, *parts]}
        self.webhooks = Webhooks({part.namespace.lower(): 0 for part in self._measuring})
        self._now = 0.0
        self._news: list[News] = []
        self._calls: list[str] = []

    def _meter(self, source: Outlet | Supply) -> Switch | EnergyData:
        if isinstance(source, Outlet):
            self.switch = Switch(source, self.clock, returned=self.identity.product.returned)
            self._measuring: list[Component] = [self.switch]
            return self.switch
        data = EnergyData(source)
        self._measuring = [EnergyMeter(source), data]
        return data

    def boot(self, now: Moment) -> None:
        """Start anew: uptime 0, no date, no nonces, configurations that waited for it count."""
        self._now, self.reboot_at = now.monotonic, math.inf
        self.clock.boot(now)
        self.digest.boot()
        self.system.restart_required = False
        self._news, self._calls = [], []
        for component in self.components.values():
            component.boot(now)

    def advance(self, now: Moment) -> None:
        """Let time pass; what is to be told about it waits in the news."""
        self._now = now.monotonic
        full_minute = self.clock.advance(now)
        for component in self.components.values():
            component.advance(now)
        self.report()
        if full_minute:
            self.minute()

    def report(self) -> None:
        """Note the changes that are to be told, and the webhooks that they call."""
        changes = {key: change for key, part in self.components.items() if (change := part.changes())}
        if changes:
            self._tell("NotifyStatus", changes)
        for component in self.components.values():
            for event in component.hooks():
                self._calls += self.webhooks.calls(event, self._scope(), self._now)

    def minute(self) -> None:
        """Report the energy of a full minute."""
        reports = {key: report for key, part in self.components.items() if (report := part.minute())}
        if reports:
            self._tell("NotifyStatus", reports)

    def take_news(self) -> list[News]:
        """Give the notifications since the last call."""
        news, self._news = self._news, []
        return news

    def take_calls(self) -> list[str]:
        """Give the URLs to call since the last call."""
        calls, self._calls = self._calls, []
        return calls

    def full_status(self) -> News:
        """Give what is said first on a connection that the device makes."""
        return News("NotifyFullStatus", {"ts": self.clock.timestamp, **self.status()})

    def status(self) -> Json:
        """Answer Shelly.GetStatus."""
        return {key: component.status() for key, component in self.components.items()}

    def config(self) -> Json:
        """Answer Shelly.GetConfig."""
        return {key: component.config for key, component in self.components.items()}

    def info(self) -> Json:
        """Answer Shelly.GetDeviceInfo and /shelly."""
        protected = self.digest.ha1 is not None
        info: Json = {
            "name": self.system.config["device"]["name"],
            "id": self.identity.id,
            "mac": self.identity.mac,
            "slot": 0,
            "model": self.identity.product.model,
            "gen": 2,
            "fw_id": self._build,
            "ver": self._version,
            "app": self.identity.product.app,
            "auth_en": protected,
            "auth_domain": self.identity.id if protected else None,
        }
        if not self.identity.product.relay:
            info["profile"] = "triphase"
        return info | ({"enhanced_security": False} if self._firmware == 2 else {})

    def configure(self, component: Component, change: Json) -> bool:
        """Change a configuration; tell whether it waits for a restart."""
        needed = component.configure(change)
        self.system.config["cfg_rev"] += 1
        self.system.restart_required = any(part.needs_restart for part in self.components.values())
        more = {"restart_required": needed, "cfg_rev": self.system.config["cfg_rev"]}
        self._event(component.key, "config_changed", more)
        return needed

    def schedule_reboot(self, delay: float) -> None:
        """Reboot after so many seconds."""
        self.reboot_at = self._now + delay
        self._event("sys", "scheduled_restart", {"time_ms": int(delay * 1000)})

    def _event(self, component: str, event: str, more: Json) -> None:
        moment = self.clock.timestamp
        self._tell("NotifyEvent", {"events": [{"component": component, "event": event, **more, "ts": moment}]})

    def _tell(self, method: str, params: Json) -> None:
        self._news.append(News(method, {"ts": self.clock.timestamp, **params}))

    def _scope(self) -> Json:
        return {"status": self.status(), "config": self.config(), "info": self.info()}
