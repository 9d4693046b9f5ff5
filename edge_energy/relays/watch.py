"""The closed loop of one relay: does current flow as its state says, and who switched it? No I/O.

A false alarm is worse than a late one, and meters tell of the past: a plug is asked once a minute, Zigbee2MQTT
repeats the last power with every message, anything may lag by a minute and a half. So a reading counts only
- when it is another number than the one before, and came LAGGING after the switching;
- or, as a heater with a welded contact may draw the same for ever, when there has been no silence for REPEATED. For
  a load that draws nothing this is the only way: some begin slowly.
Two readings that count, LASTING apart and with none in between that says otherwise, are a finding.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_energy import config

LAGGING = 100.0
"""Seconds after a switching in which a meter may still tell of before: also the device's own, by another way."""
REPEATED = 180.0
"""The same for a number that is exactly the one before; and seconds after a silence, in which nobody was asked."""
SILENCE = 150.0
"""Seconds between two readings that are more than one poll that failed."""
LASTING = 15.0
"""Seconds that a state has to last before it is a finding: a command may be on its way to its confirmation."""
OVERTAKEN = 240.0
"""Seconds after a command in which a state may be from before it: a lag, and two polls until the next one."""
WITHIN = 300.0
"""Seconds within which each finding is made where output and power are told every minute, and every one is right.

Told less often than every SILENCE, a number that is always the same proves nothing.
"""
IDLE = 5.0
"""W that may flow through an open contact or a load that is idle; or a twentieth of the load, if that is more."""

STILL_DRAWS = "still draws"
DRAWS_NOTHING = "draws nothing"
SWITCHED_ELSEWHERE = "switched elsewhere"


class Watch:
    """What contradicts that which is known of one relay.

    Of one reading, its output is to be told before its power.
    """

    def __init__(self, settings: config.Relay) -> None:
        self._settings = settings
        self._on: bool | None = None
        """What it is said to be."""
        self._expected: bool | None = None
        """What it was when it was first heard, or when a command of ours was confirmed."""
        self._switched = -math.inf
        """When it last changed."""
        self._commanded = -math.inf
        self._elsewhere: float | None = None
        """Since when it is not what is expected."""
        self._power: float | None = None
        self._heard = -math.inf
        self._contact = -math.inf
        """Since when its power has been told without a silence."""
        self._load = 0.0
        """W that it drew before it was switched off."""
        self._odd: float | None = None
        """When the first reading that counts came, of those that contradict its state."""
        self._finding: tuple[str, str] | None = None
        """What is open of its power: key, and the sentence as it was when it was found."""

    @property
    def draws(self) -> bool:
        """Whether current flows although it is said to be off."""
        return self._finding is not None and self._finding[0] == STILL_DRAWS

    def commanded(self, on: bool, now: float) -> None:  # noqa: FBT001 - what it was told
        """Note that the device confirmed a command of ours."""
        self._expected, self._commanded, self._elsewhere = on, now, None
        self._switch(on, now)

    def doubt(self) -> None:
        """Note that a command failed, and may have worked all the same: the next report or confirmation tells."""
        self._on = self._odd = self._finding = None

    def reported(self, output: bool, now: float) -> None:  # noqa: FBT001 - a value
        """Note what a live reading says of the output."""
        if self._expected is None:
            self._expected = output
        if output == self._expected:
            self._elsewhere = None
        elif self._elsewhere is None:
            self._elsewhere = now
        if output != self._on:
            self._switch(output, now)

    def measured(self, power: float, now: float) -> None:
        """Take a live reading of its power (W)."""
        if now > self._heard + SILENCE:
            self._contact, self._odd = now, None
        repeated, self._power, self._heard = power == self._power, power, now
        contradiction = self._contradiction(power)
        if contradiction is None:
            self._odd = self._finding = None
            return
        slow = repeated or contradiction == DRAWS_NOTHING
        if now < (max(self._switched, self._contact) + REPEATED if slow else self._switched + LAGGING):
            return
        if self._odd is None:
            self._odd = now
        elif self._finding is None and now >= self._odd + LASTING:
            self._finding = (contradiction, self._sentence(power, now))

    def findings(self, now: float) -> dict[str, str]:
        """Return what is open, as sentences by their keys."""
        found = dict([self._finding]) if self._finding is not None else {}
        if self._elsewhere is not None and now >= self._told_apart():
            state = "off" if self._expected else "on"
            found[SWITCHED_ELSEWHERE] = f"was switched {state} without us: at the device, or by another program"
        return found

    def due(self, now: float) -> float:
        """Return when the findings change if nothing more is heard, inf for never."""
        return self._told_apart() if self._elsewhere is not None and now < self._told_apart() else math.inf

    def _switch(self, on: bool, now: float) -> None:  # noqa: FBT001 - as above
        if on != self._on:
            self._finding = None
            if not on and self._power is not None:
                self._load = self._power
        self._on, self._switched, self._odd = on, now, None

    def _told_apart(self) -> float:
        """Return from when on the state that is not ours is no message from before our command."""
        return max((self._elsewhere or 0.0) + LASTING, self._commanded + OVERTAKEN)

    def _contradiction(self, power: float) -> str | None:
        flows = abs(power) > max(IDLE, (self._settings.power or self._load) / 20)
        if self._on is False and flows:
            return STILL_DRAWS
        return DRAWS_NOTHING if self._on and self._settings.always_draws and not flows else None

    def _sentence(self, power: float, now: float) -> str:
        since = f"{now - self._switched:,.0f} s after it was switched {'on' if self._on else 'off'}"
        if not self._on:
            return f"still draws {power:,.0f} W, {since}"
        rated = f" of its {self._settings.power:,.0f} W" if self._settings.power is not None else ""
        return f"draws only {power:,.0f} W{rated}, {since}"
