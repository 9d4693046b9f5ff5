"""What is known of one relay, what is wished for it, and how its own limits stand. No I/O.

`now` is our uptime in seconds, powers are in W.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_energy.relays.command import Origin
from edge_energy.relays.heating import Heating
from edge_energy.relays.watch import Watch

if TYPE_CHECKING:
    from edge_energy.config import Relay

GRACE = 3.0  # seconds after our own switching in which an older report may still arrive
UNHEARD = 300.0  # seconds that it may be on without a word of its power, where that has to be watched
TROUBLE = 60.0  # seconds after which it is worth an incident that a relay cannot be switched
TAKES_EFFECT = 60.0  # seconds in which a command that got no answer may still be seen to have worked
OFFLINE = 60.0  # seconds that a meter may be offline, as radio links are now and then
FIRST_RETRY, LONGEST_RETRY = 1.0, 300.0
HEARD_RETRY = 30.0  # seconds at most, while the device is heard
INTRODUCTION = 3.0  # seconds after our start in which connections with devices come about


class Wish(NamedTuple):
    """What somebody wants of a relay, until something newer is wanted, or until `until` (uptime, s)."""

    on: bool
    origin: Origin
    at: float
    until: float | None = None
    reason: str = ""


@dataclass(slots=True)
class RelayState:
    """One relay. `since` is when it was last switched, as far as we know: our start, for what was before that."""

    settings: Relay
    started: float
    output: bool | None = None
    """As it was last reported or confirmed; None while that is not known."""
    power: float | None = None
    power_at: float | None = None
    offline_since: float | None = None
    """Of its meter."""
    wish: Wish | None = None
    switching: bool | None = None
    """What it is being switched to."""
    latched: str = ""
    """Why it is cut out, until a person switches it on again."""
    over_since: float | None = None
    ends: tuple[float, bool] | None = None
    """When (uptime, s) to end what it was switched to for a time before a restart, if it still is."""
    urgent: bool = False
    """Whether a rule has wanted it switched at all costs since it was last looked at."""
    leased_until: float | None = None
    """When the device switches it to its safe state by itself."""
    retry_at: float = float("-inf")
    failures: int = 0
    trouble: tuple[str, float] | None = None
    """Why switching it fails, and since when."""
    blocked: str = ""
    """Why what is wanted of it is not done."""
    settled: bool = False
    """Whether its safe state was reached since our start, or could not be; then schedules count."""
    since: float = field(init=False)
    heating: Heating = field(init=False)
    watch: Watch = field(init=False)
    _confirmed_at: float = field(default=float("-inf"), init=False)
    _doubtful: bool | None = field(default=None, init=False)
    _tried: tuple[bool | None, float] = field(default=(None, float("-inf")), init=False)
    """What we last failed to switch it to, and when."""

    def __post_init__(self) -> None:
        self.since = self.started
        self.heating = Heating(self.settings)
        self.watch = Watch(self.settings)
        self.restart(self.started)

    def restart(self, now: float) -> None:
        """Wish for the safe state alone until it is reached: at our start, and after a defect of ours."""
        self.switching, self.settled = None, self.safe is None
        if self.safe is not None:
            self.wish = Wish(self.safe, Origin.SAFETY, now, reason="safe state at the start")
            self.retry_at = now + INTRODUCTION

    @property
    def safe(self) -> bool | None:
        """Its safe state; None where it is to be left as it is."""
        return {"off": False, "on": True}.get(self.settings.safe_state)

    @property
    def presumed(self) -> bool | None:
        """What it is, or is about to be."""
        return self.output if self.switching is None else self.switching

    @property
    def end(self) -> tuple[float, bool] | None:
        """When (uptime, s) what it is switched to is to end, and what that is; None where it is for good."""
        wish = self.wish
        return self.ends if wish is None or wish.until is None else (wish.until, wish.on)

    # -- what is told of it -----------------------------------------------------------------------------------

    def reported(self, output: bool, now: float) -> bool:  # noqa: FBT001 - a value
        """Take what a live reading says; tell whether it changed.

        What differs from what we did ourselves is somebody's hand at the switch, and from now on what is wished.
        """
        self.watch.reported(output, now)
        self.retry_at = min(self.retry_at, now + HEARD_RETRY if self.settled else now)
        self.settled |= output is self.safe
        doubtful = now - self._confirmed_at < GRACE and output is not self.output  # it may be from before we switched
        self._doubtful = output if doubtful or self.switching is not None else None
        if self._doubtful is not None or output is self.output:
            return False
        if self._lease_ended(output, now) or self._was_tried(output, now):
            self.watch.commanded(output, now)
        elif self.output is not None:
            self.wish = Wish(output, Origin.DEVICE, now, reason="it was switched at the device")
            self.ends = None
        self.output, self.since = output, now if self.output is not None else self.since
        return True

    def found(self, output: bool) -> None:  # noqa: FBT001 - a value
        """Take what the device said when it was asked: no lease has ended that, for it was before its time."""
        self._doubtful, self.leased_until = output, None

    def doubt_over(self, now: float) -> bool | None:
        """Return what was reported while we switched it, or soon after, and is still the last word, if any."""
        return None if self.switching is not None or now - self._confirmed_at < GRACE else self._doubtful

    def _lease_ended(self, output: bool, now: float) -> bool:  # noqa: FBT001 - a value
        ended = self.leased_until is not None and now >= self.leased_until - 1
        return ended and output == self.safe

    def _was_tried(self, output: bool, now: float) -> bool:  # noqa: FBT001 - a value
        """Tell whether we tried that, and the device did it without an answer in time."""
        tried, at = self._tried
        return output is tried and now - at < TAKES_EFFECT

    def measured(self, power: float, now: float) -> None:
        """Take a live reading of its meter."""
        self.power, self.power_at = power, now
        self.watch.measured(power, now)
        limit = self.settings.max_power
        if limit is None or power <= limit:
            self.over_since = None
        elif self.over_since is None:
            self.over_since = now

    def available(self, available: bool | None, now: float) -> None:  # noqa: FBT001 - a value
        """Take whether its meter can be reached."""
        if available is not False:
            self.offline_since = None
        elif self.offline_since is None:
            self.offline_since = now

    # -- what we do with it -----------------------------------------------------------------------------------

    def begin(self, on: bool) -> None:  # noqa: FBT001 - a value
        """Note that it is being switched."""
        self.switching = on

    def confirmed(self, on: bool, now: float) -> None:  # noqa: FBT001 - a value
        """Note that the device has confirmed."""
        if self.output != on:
            self.since = now
        self.output, self.switching, self._confirmed_at, self._doubtful = on, None, now, None
        self.settled, self.failures, self.retry_at, self.trouble = True, 0, float("-inf"), None
        self.watch.commanded(on, now)

    def failed(self, now: float, reason: str) -> None:
        """Note why it did not work, and that it may have worked all the same."""
        self.trouble = (reason, now if self.trouble is None else self.trouble[1])
        self._tried = self.switching, now
        self.watch.doubt()
        self.settled, self.switching, self.output = True, None, None
        self.retry_at = now + min(FIRST_RETRY * 2**self.failures, LONGEST_RETRY)
        self.failures = min(self.failures + 1, 10)

    def left_alone(self) -> None:
        """Note that it was not even tried."""
        self.switching = None

    def forget(self, now: float) -> None:
        """Note that it was used for something else: what it is now has to be heard, or made sure."""
        self.failed(now, "")
        self.output, self.leased_until, self.trouble, self.retry_at = None, None, None, now

    # -- its own limits ---------------------------------------------------------------------------------------

    def meter_lost(self, now: float) -> str:
        """Return why its meter cannot be relied upon, where its safety needs one."""
        settings = self.settings
        if settings.meter is None and settings.meter_timeout is None and settings.max_power is None:
            return ""
        if self.offline_since is not None and now - self.offline_since >= OFFLINE:
            return f"its meter {settings.metered_by} is offline"
        heard = self.started if self.power_at is None else self.power_at
        if self.power_at is None and self.output and now - max(self.since, self.started) >= UNHEARD:
            return f"{settings.metered_by} has told no power yet, so nothing would cut it out"
        if settings.meter_timeout is not None and now - heard >= settings.meter_timeout:
            return f"its meter {settings.metered_by} has said nothing for {seconds(settings.meter_timeout)}"
        return ""

    def latch(self, now: float) -> None:
        """Cut out what has drawn too much for too long; let go of wishing for what was on for too long."""
        settings = self.settings
        if not self.latched and self.over_since is not None and now - self.over_since >= settings.max_power_delay:
            drawn, most = self.power or 0.0, settings.max_power or 0.0
            why = f"overload: {drawn:.0f} W is more than max_power {most:.0f} W"
            self.latched = f"{why}; a command to switch it on ends this"
        if self.on_too_long(now) and (self.wish is None or self.wish.on):
            self.wish = Wish(False, Origin.SAFETY, now, reason="max_on is over")

    def on_too_long(self, now: float) -> bool:
        """Tell whether it has been on for `max_on`."""
        longest = self.settings.max_on
        return self.output is True and longest is not None and now - self.since >= longest

    def rests(self, now: float) -> float:
        """Return for how many seconds more it has to stay off."""
        return 0.0 if self.output is True else max(0.0, self.since + self.settings.min_off - now)

    def runs(self, now: float) -> float:
        """Return for how many seconds more it has to stay on."""
        return 0.0 if self.output is False else max(0.0, self.since + self.settings.min_on - now)

    def due(self, now: float) -> float:
        """Return when (uptime, s) its limits have to be looked at again."""
        settings, moments = self.settings, [self.heating.due(now), self.watch.due(now)]
        if self.over_since is not None and not self.latched:
            moments.append(self.over_since + settings.max_power_delay)
        if self.end is not None:
            moments.append(self.end[0])
        if self.output is True and settings.max_on is not None:
            moments.append(self.since + settings.max_on)
        if self.blocked:
            moments += [now + rest for rest in (self.rests(now), self.runs(now)) if rest]
        if self.trouble is not None and now < self.trouble[1] + TROUBLE:
            moments.append(self.trouble[1] + TROUBLE)
        if self.retry_at > now:
            moments.append(self.retry_at)
        if self._doubtful is not None:
            moments.append(self._confirmed_at + GRACE)
        return min((moment for moment in moments if moment > now), default=inf)

    def inputs(self, now: float) -> dict[str, Any]:
        """Return what decisions about it are based on, for people."""
        found: dict[str, Any] = {"output": self.output, "seconds in this state": round(now - self.since, 1)}
        if self.power is not None and self.power_at is not None:
            found |= {"power": self.power, "power seconds ago": round(now - self.power_at, 1)}
        if self.wish is not None:
            found |= {"wished": self.wish.on, "by": self.wish.origin}
        if self.leased_until is not None:
            found["lease seconds left"] = round(self.leased_until - now, 1)
        return found


def seconds(duration: float) -> str:
    """Return a duration in words, as an operator would write it."""
    if duration >= 120:
        return f"{duration / 60:.0f} min"
    return f"{duration:.0f} s" if duration >= 1 or not duration else f"{duration * 1000:.0f} ms"
