"""What of relays outlives the process beside the audit trail: ends, cut-outs, and what tests of leases found."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edge_energy.clock import boot_id
from edge_energy.errors import JournalFull
from edge_energy.relays.command import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_energy.interfaces import Recorder
    from edge_energy.relays.lease_test import Finding
    from edge_energy.relays.state import Wish

ENDS = "relay/"
LEASES = "lease/"
CUT_OUTS = "cut-out/"
OFFS = "off/"
"""Of keys in the journal's state, with the relay behind them."""


SOON = 0.25  # seconds until it is on disk, together with the outcome that brought it about
KEPT = (ENDS, LEASES, CUT_OUTS, OFFS)


class Memory:
    """Kept in the journal's state."""

    def __init__(self, recorder: Recorder, kept: Mapping[str, Any]) -> None:
        """Begin with what the journal's state has under `KEPT`."""
        self._recorder = recorder
        self._kept = dict(kept)

    def keep_end(self, relay: str, end: tuple[float, bool] | None) -> None:
        """Keep when (uptime, s) what a relay is switched to is to end, and what that is; None forgets it.

        A safe state would end it after a restart; what is to be left as it is has nothing but this.
        """
        kept = None if end is None else {"end": end[0], "boot": boot_id(), "on": end[1]}
        self._keep(f"{ENDS}{relay}", kept)

    def end(self, relay: str, now: float) -> tuple[float, bool] | None:
        """Return what is kept of a relay's end.

        Nobody knows how long ago another boot was: what was begun then has had its time.
        """
        kept = self._kept.get(f"{ENDS}{relay}")
        if not kept:
            return None
        return kept["end"] if kept["boot"] == boot_id() else now, kept["on"]

    def cut_out(self, relay: str) -> str:
        """Return why a relay was cut out before a restart; nothing where a person has switched it on since."""
        return str(self._kept.get(f"{CUT_OUTS}{relay}") or "")

    def keep_cut_out(self, relay: str, why: str) -> None:
        """Keep why a relay is cut out, or that it is not any more."""
        self._keep(f"{CUT_OUTS}{relay}", why or None)

    def off(self, relay: str) -> float | None:
        """Return when (UTC, s) somebody switched a relay off who has not changed his mind since."""
        kept = self._kept.get(f"{OFFS}{relay}")
        return None if kept is None else kept["utc"]

    def keep_off(self, relay: str, wish: Wish, now: float, utc: float | None) -> None:
        """Keep that somebody switched a relay off: a restart within a window of its schedule must not undo that."""
        key = f"{OFFS}{relay}"
        if wish.origin is Origin.SAFETY:
            return
        if wish.on or not (wish.origin.manual or wish.origin is Origin.DEVICE):
            self._keep(key, None)
        elif utc is not None and (self._kept.get(key) or {}).get("at") != wish.at:
            self._keep(key, {"at": wish.at, "utc": utc - (now - wish.at)})

    def _keep(self, key: str, kept: Any) -> None:
        if kept != self._kept.get(key):
            with suppress(JournalFull):  # then it is tried again the next time
                self._recorder.record([], SOON, {key: kept})
                self._kept[key] = kept

    def lease(self, relay: str) -> dict[str, Any] | None:
        """Return what the last test of a device's timer found: `verified`, `detail`, `time` (UTC ns)."""
        return self._kept.get(f"{LEASES}{relay}")

    async def keep_lease(self, relay: str, finding: Finding, time: int | None) -> dict[str, Any]:
        """Keep what a test found."""
        key, kept = f"{LEASES}{relay}", {"verified": finding.verified, "detail": finding.detail, "time": time}
        self._kept[key] = kept
        with suppress(JournalFull):
            await self._recorder.record([], 0, {key: kept})
        return kept
