"""What a command is, and what can become of it. No I/O."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from edge_energy.config.values import duration
from edge_energy.errors import EdgeEnergyError

EXPIRY = 30.0
"""Seconds after which a command that nobody gave another expiry is not carried out any more."""
LONGEST_GOOD = 3600.0
"""Seconds for which its sender may have a command be good: so long its id has to be remembered."""
SHORTEST, LONGEST = 0.1, 365 * 86400.0
"""Seconds for which a relay may be switched; the shortest is an impulse for a garage door."""
ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
"""Of a command, where its sender chooses it."""


class UnknownRelay(EdgeEnergyError):  # noqa: N818 - what the caller asks for, no mistake of ours
    """Nobody can switch that; the reason says what to do."""


class UnknownDevice(UnknownRelay):
    """There is nothing here that is called so; it may be somewhere else."""


class UnknownState(EdgeEnergyError):  # noqa: N818 - a state of the world
    """To toggle a relay, its state has to be known."""


class Origin(StrEnum):
    """Where a command comes from."""

    CLI = "cli"
    HTTP = "http"
    MQTT = "mqtt"
    CLOUD = "cloud"
    SCHEDULE = "schedule"
    SURPLUS = "surplus"
    SAFETY = "safety"
    DEVICE = "device"
    """Somebody used the device's own button, or another program."""

    @property
    def manual(self) -> bool:
        """Whether somebody gave it as a command, which ends a cut-out; a press of the device's button does not."""
        return self in (Origin.CLI, Origin.HTTP, Origin.MQTT, Origin.CLOUD)


class Verdict(StrEnum):
    """How a command ended."""

    CONFIRMED = "confirmed"
    REFUSED = "refused"
    FAILED = "failed"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


class Outcome(NamedTuple):
    """How a command ended, and why; confirmed ones need no reason."""

    verdict: Verdict
    reason: str = ""

    @property
    def confirmed(self) -> bool:
        """Whether the device confirmed it."""
        return self.verdict is Verdict.CONFIRMED


class Command(NamedTuple):
    """One request to switch a relay.

    `expires` is on our uptime (seconds). A command born elsewhere may say when that was and when it ends, `issued_at`
    and `expires_at` (UTC seconds), which mean something only while our clock is right. `for_` seconds later the relay
    is switched back. `foreign` says that the id was given by the sender, who may send it twice; `planned` that no
    person gave it now: it carries out what was wished before, or what a rule demands.
    """

    id: str
    relay: str
    on: bool
    origin: Origin
    expires: float
    reason: str = ""
    for_: float | None = None
    issued_at: float | None = None
    expires_at: float | None = None
    foreign: bool = False
    planned: bool = False

    def same(self, other: Command) -> bool:
        """Tell whether another command with the same id wants the same."""
        return (self.relay, self.on, self.for_) == (other.relay, other.on, other.for_)


def duration_of(value: object) -> float:
    """Return for how long (s) a relay is to be switched: a number of seconds, or "30m". Raises ValueError."""
    seconds = duration(value)
    if not SHORTEST <= seconds <= LONGEST:  # which nan is not, either
        raise ValueError
    return seconds
