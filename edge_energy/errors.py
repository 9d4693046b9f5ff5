"""Errors, grouped by who must act."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class EdgeEnergyError(Exception):
    """Base of everything this program raises on purpose."""


class ConfigError(EdgeEnergyError):
    """The operator must change a setting.

    `problems` holds one line per mistake: file, key, value, what was expected. The process exits with 78
    (EX_CONFIG), and systemd does not restart it.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Unavailable(EdgeEnergyError):  # noqa: N818 - a state of the world, not a mistake
    """A peer is away; nobody must act. The supervisor tries again.

    `retry_after` is the peer's own wish in seconds (HTTP Retry-After), where it expressed one.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Rejected(EdgeEnergyError):  # noqa: N818 - as above
    """The far side understood and refused at least one of these entries; sending them again cannot help.

    `certain` says that the refusal names the data itself (a field-type conflict), so that it never counts
    towards "the far side is wrong". `accepted` are the positions of those that it has confirmed all the same.
    """

    def __init__(self, reason: str, *, certain: bool = False, accepted: Collection[int] = ()) -> None:
        super().__init__(reason)
        self.certain = certain
        self.accepted = accepted


class NotSwitched(EdgeEnergyError):  # noqa: N818 - a state of the world
    """The device answered, and the relay is not in the state that was asked for; the reason is for whoever asked.

    It refuses, or says yes and does nothing.
    """


class SwitchedElsewhere(NotSwitched):
    """Somebody else switched the relay, at the device or by another program; it is in the other state."""


class TooLarge(EdgeEnergyError):  # noqa: N818 - as above
    """The far side wants smaller batches (HTTP 413); `accepted` as in `Rejected`."""

    def __init__(self, reason: str, *, accepted: Collection[int] = ()) -> None:
        super().__init__(reason)
        self.accepted = accepted


class UnreadablePayload(EdgeEnergyError):  # noqa: N818 - as above
    """A message that no reading can be made of. Counted, kept aside with this reason, acknowledged."""


class JournalFull(EdgeEnergyError):  # noqa: N818 - as above
    """The disk is full. Nothing was recorded; nothing may be acknowledged. Ends by itself when there is space."""


class JournalError(EdgeEnergyError):
    """The journal's file or disk failed. The process ends; the next start repairs what can be repaired."""
