"""A relay with a timer that switches it back, as devices of both generations have it; and its defects. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from simulator.outlet import Outlet
    from simulator.shelly.moment import Clock


class Quirks(NamedTuple):
    """What a device does with a timer that is sent again while one runs; a good one starts it anew, and no more.

    One that `timer_clicks` opens and closes the relay for a moment; with `no_restart` the first timer goes on.
    """

    timer_clicks: bool = False
    no_restart: bool = False


class Timer(NamedTuple):
    """A running timer: its start as the device's clock shows it, its seconds, its monotonic end."""

    started: float
    duration: float
    ends: float


class TimedRelay:
    """The relay of one outlet; with `deaf` the device takes commands, says yes and does nothing."""

    def __init__(self, outlet: Outlet, clock: Clock) -> None:
        self.outlet = outlet
        self.source = "init"
        self.timer: Timer | None = None
        self.deaf = False
        self.quirks = Quirks()
        self._clock = clock
        self._now = 0.0
        self._back_to: bool | None = None  # after a click

    def boot(self, now: float) -> None:
        """Start anew at this monotonic time: no timer survives."""
        self._now, self.source, self.timer, self._back_to = now, "init", None, None

    def switch(self, *, on: bool, source: str, after: float | None = None) -> None:
        """Operate the relay, and again after so many seconds."""
        again = self.timer is not None and after is not None and on == self.outlet.output
        if again and self.quirks.no_restart:
            return
        self.source = source
        self.timer = None if after is None else Timer(self._clock.timestamp, after, self._now + after)
        clicks = again and self.quirks.timer_clicks
        self._back_to = on if clicks else None
        self.outlet.switch(on=on != clicks)

    def advance(self, now: float) -> bool:
        """Let time pass until this monotonic time; tell whether the timer is over, so that it must be switched."""
        self._now = now
        if self._back_to is not None:
            self.outlet.switch(on=self._back_to)
            self._back_to = None
        return self.timer is not None and now >= self.timer.ends

    @property
    def duration(self) -> float:
        """Seconds for which the timer was set, 0 for none."""
        return self.timer.duration if self.timer else 0.0

    @property
    def remaining(self) -> float:
        """Seconds until the timer ends, 0 for none."""
        return max(self.timer.ends - self._now, 0.0) if self.timer else 0.0
