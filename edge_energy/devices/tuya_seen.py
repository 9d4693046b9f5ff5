"""Which properties of Tuya devices were taken, so that none counts twice. No I/O.

Bridges repeat messages, and with both protocols enabled every property comes twice. Most may be forgotten at a
restart: the same value at the same time is the same point. Increments may not, because they are summed.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_energy.interfaces import Durable

PREFIX = "tuya/"
"""Of the keys in the journal's state: `tuya/<device>` has, by code, the last times (UTC ns) of its increments."""
MOST_DEVICES = 256  # in memory; a house has a hundred
MOST_RECENT = 512  # properties of each device in memory; a message has 256 at most
LASTING = 32  # times of each code in the journal's state


class _Taken(NamedTuple):
    device: str
    code: str
    time: int


class Seen:
    """What was taken, by device, code and time.

    It lasts in the same transaction as the entries: hand `state()` to the recorder and tell `recorded` what it
    promised. What a commit that fails had taken is forgotten, so that it can be sent again.
    """

    def __init__(self, remembered: Mapping[str, Mapping[str, list[int]]]) -> None:
        """Begin with what the journal's state has under `PREFIX`."""
        self._recent: OrderedDict[str, OrderedDict[tuple[str, int], None]] = OrderedDict()
        self._lasting = {
            key.removeprefix(PREFIX): {code: dict.fromkeys(times) for code, times in codes.items()}
            for key, codes in remembered.items()
        }
        self._unsaved: list[_Taken] = []
        self._pending: deque[tuple[Durable, list[_Taken]]] = deque()

    def known(self, device: str, code: str, time: int) -> bool:
        """Tell whether a property was taken before."""
        self._settle()
        return (code, time) in self._recent.get(device, ()) or time in self._lasting.get(device, {}).get(code, ())

    def note(self, device: str, code: str, time: int) -> None:
        """Know a property from now on."""
        recent = self._recent.setdefault(device, OrderedDict())
        recent[code, time] = None
        if len(recent) > MOST_RECENT:
            recent.popitem(last=False)
        self._recent.move_to_end(device)
        if len(self._recent) > MOST_DEVICES:
            self._recent.popitem(last=False)

    def take(self, device: str, code: str, time: int, *, lasting: bool) -> None:
        """Know a property that is to be recorded; `lasting`: after a restart too."""
        self.note(device, code, time)
        if lasting:
            self._lasting.setdefault(device, {}).setdefault(code, {})[time] = None
        self._unsaved.append(_Taken(device, code, time))

    def state(self) -> dict[str, Any]:
        """Return what must last of the devices that took something since the last `recorded`."""
        devices = {taken.device for taken in self._unsaved if taken.code in self._lasting.get(taken.device, {})}
        return {
            f"{PREFIX}{device}": {code: list(times)[-LASTING:] for code, times in self._lasting[device].items()}
            for device in devices
        }

    def recorded(self, durable: Durable | None) -> None:
        """Note what `state` went with; None where it was refused at once."""
        taken, self._unsaved = self._unsaved, []
        if durable is None:
            self._forget(taken)
        elif taken:
            self._pending.append((durable, taken))

    def _settle(self) -> None:
        """Forget what was not written, and of what was all but the last times."""
        while self._pending and self._pending[0][0].done():
            durable, taken = self._pending.popleft()
            if durable.failed():
                self._forget(taken)
            for device, code, _ in taken:
                times = self._lasting.get(device, {}).get(code, {})
                while len(times) > LASTING:
                    del times[next(iter(times))]

    def _forget(self, taken: list[_Taken]) -> None:
        for device, code, time in taken:
            self._recent.get(device, OrderedDict()).pop((code, time), None)
            self._lasting.get(device, {}).get(code, {}).pop(time, None)
