"""Recognises messages that a broker delivers again. No I/O."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

_IDS = 65_536
_RECENT = _IDS // 2


class Redelivery:
    """Remembers, by packet id, what the newest messages of one session were.

    A broker redelivers after a reconnect what was not acknowledged: with the DUP flag, in the same session,
    under the same packet id. It is the same message only if the decoded values are equal too, and if that id was
    not remembered too long ago: ids are given in turn, so one that comes round again is another message's, which
    may well have the same values.
    """

    def __init__(self) -> None:
        # By packet id: what it was, and as which message. Arrays, because a dict of all ids would take 10 MB.
        self._identities = array("q", bytes(8 * _IDS))
        self._numbers = array("q", bytes(8 * _IDS))
        self._count = _RECENT

    def restore(self, recalled: Iterable[tuple[int, str, Hashable]]) -> None:
        """Rebuild after a restart from (packet id, device, identity) of the newest entries, newest first."""
        for packet, device, identity in reversed(list(recalled)):
            self.remember(packet, device, identity)

    def remember(self, packet: int, device: str, identity: Hashable) -> None:
        """Note a message that was handed to the journal."""
        self._count += 1
        self._identities[packet] = hash((device, identity))
        self._numbers[packet] = self._count

    def known(self, packet: int, device: str, identity: Hashable) -> bool:
        """Tell whether a message with the DUP flag is one that was handed to the journal."""
        return self._count - self._numbers[packet] < _RECENT and self._identities[packet] == hash((device, identity))

    def forget(self, packets: Iterable[int]) -> None:
        """Forget messages whose commit failed."""
        for packet in packets:
            self._numbers[packet] = 0
