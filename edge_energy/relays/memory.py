"""What of relays outlives the process beside the audit trail: ends, cut-outs, and what tests of leases found."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edge_energy.clock import boot_id
from edge_energy.errors import JournalFull
from edge_energy.relays.command import Origin
from edge_energy.relays.state import Wish

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_energy.interfaces import Recorder
    from edge_energy.relays.lease_test import Finding

ENDS = "relay/"
LEASES = "lease/"
CUT_OUTS = "cut-out/"
"""Of keys in the journal's state, with the relay behind them."""


class Memory:
    """Kept in the journal's state."""

    def __init__(self, recorder: Recorder, kept: Mapping[str, Any]) -> None:
        """Begin with what the journal's state has under `ENDS`, `LEASES` and `CUT_OUTS`."""
        self._recorder = recorder
        self._kept = dict(kept)

    def keep_end(self, relay: str, wish: Wish | None) -> None:
        """Keep when a relay is to be switched back (`wish.until`, uptime); one without an end forgets it.

        A safe state would do it after a restart; what is to be left as it is has nothing but this.
        """
        key = f"{ENDS}{relay}"
        timed = wish is not None and wish.until is not None
        kept = {"end": wish.until, "boot": boot_id(), "on": wish.on} if wish is not None and timed else None
        self._keep(key, kept)

    def unended(self, relay: str, now: float) -> Wish | None:
        """Return what a relay was switched to for a time before a restart.

        Nobody knows how long ago another boot was: what was begun then has had its time.
        """
        kept = self._kept.get(f"{ENDS}{relay}")
        if not kept:
            return None
        end = kept["end"] if kept["boot"] == boot_id() else now
        return Wish(kept["on"], Origin.SAFETY, now, end, "switched for a time before the restart")

    def cut_out(self, relay: str) -> str:
        """Return why a relay was cut out before a restart; nothing where a person has switched it on since."""
        return str(self._kept.get(f"{CUT_OUTS}{relay}") or "")

    def keep_cut_out(self, relay: str, why: str) -> None:
        """Keep why a relay is cut out, or that it is not any more."""
        self._keep(f"{CUT_OUTS}{relay}", why or None)

    def _keep(self, key: str, kept: Any) -> None:
        if kept != self._kept.get(key):
            with suppress(JournalFull):  # then it is tried again the next time
                self._recorder.record([], 0, {key: kept})
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
