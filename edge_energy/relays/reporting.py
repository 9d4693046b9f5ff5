"""What is told of relays: their state, their leases, the decisions about them. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_energy.relays.actor import Actor
    from edge_energy.relays.decisions import Decision
    from edge_energy.relays.state import RelayState


def state(output: bool | None, *, draws: bool, available: bool | None) -> str:  # noqa: FBT001 - a value
    """Return ON, OFF, or None where that is not known, or not believed because current flows.

    Of a device that is away nobody knows what it does: by its timer, or by somebody's hand.
    """
    if output is None or available is False or (not output and draws):
        return "None"
    return "ON" if output else "OFF"


def relay(known: RelayState, actor: Actor, lease: Mapping[str, Any] | None, now: float) -> dict[str, Any]:
    """Return what `status` shows of a relay; `lease` is what a test of its timer found."""
    wish, left = known.wish, None
    if wish is not None:
        left = None if wish.until is None else round(wish.until - now, 1)
    return {
        "device": known.settings.device,
        "output": known.output,
        "power": known.power,
        "safe_state": known.settings.safe_state,
        "timer": actor.timer,
        "lease": actor.lease or None,
        "lease_verified": None if lease is None else lease["verified"],
        "leased_seconds_left": None if known.leased_until is None else round(known.leased_until - now, 1),
        "wish": wish and {"on": wish.on, "origin": wish.origin, "seconds_left": left, "reason": wish.reason},
        "blocked": known.blocked or None,
    }


def decision(made: Decision) -> dict[str, Any]:
    """Return a decision with its inputs."""
    command = made.command
    return {
        "time": made.time,
        "command": command.id,
        "on": command.on,
        "origin": command.origin,
        "verdict": made.outcome.verdict,
        "reason": "; ".join(filter(None, (command.reason, made.outcome.reason))),
        "milliseconds": made.milliseconds,
        "times": made.times,
        "inputs": made.inputs,
    }
