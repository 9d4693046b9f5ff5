"""Places readings that bring their own time, and recognises those that are no news. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from edge_energy.reading import Values


class _Newest(NamedTuple):
    """The newest reading of a device; `nudged` is the last time given to one with this time of its own."""

    time: int
    values: Values
    nudged: int


class OwnTimes:
    """Knows the newest reading of every device that gives its own time (`last_seen`)."""

    def __init__(self) -> None:
        self._newest: dict[str, _Newest] = {}

    def place(self, device: str, own_time: int, values: Values, *, again: bool) -> tuple[int, bool] | None:
        """Return the time of a reading, and whether it is news; None for a mere repetition.

        Equal times do not mean the same reading: an optimistic state may carry the previous last_seen. It is put
        a nanosecond later, so that it does not overwrite the other. What the broker sends `again` is no
        repetition but what could not be recorded the first time.
        """
        newest = self._newest.get(device)
        if newest is None or own_time > newest.time:
            self._newest[device] = _Newest(own_time, values, own_time)
            return own_time, True
        if own_time < newest.time:
            return own_time, False
        if values == newest.values:
            return (newest.nudged, False) if again else None
        self._newest[device] = _Newest(own_time, values, newest.nudged + 1)
        return newest.nudged + 1, False
