"""What the doors need of the relay controller, and how they read what they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from edge_energy.api.answers import BadRequest
from edge_energy.relays.command import duration_of

if TYPE_CHECKING:
    import asyncio

    from edge_energy.relays.command import Command, Origin, Outcome

_LONGEST_NAME = 128


class Switches(Protocol):
    """The relay controller."""

    def resolve(self, name: str) -> str:
        """Return the relay of an id or a friendly name. Raises `UnknownRelay`."""
        ...

    def command(self, relay: str, on: bool | None, origin: Origin, **more: Any) -> Command:  # noqa: FBT001
        """Make a command; `on` None toggles. Raises `UnknownRelay` and `UnknownState`."""
        ...

    def submit(self, command: Command) -> asyncio.Task[Outcome]:
        """Carry it out. An id that is at work already gets the task that it has."""
        ...

    def report(self) -> list[dict[str, Any]]:
        """Return how every relay is."""
        ...

    def why(self, relay: str) -> dict[str, Any]:
        """Return the last decisions about a relay."""
        ...

    async def test_lease(self, relay: str) -> dict[str, Any]:
        """Find out what the device's timer does. Raises `Unavailable` and `NotSwitched`."""
        ...


def asked_name(value: object, parameter: str) -> str:
    """Return what a relay is called: its id, its device's, or a friendly name."""
    if type(value) is not str or not 0 < len(value) <= _LONGEST_NAME:
        raise BadRequest("expected the id or the name of a device", parameter)
    return value


def asked_duration(value: object) -> float | None:
    """Return for how long (s) something is to be switched: a number of seconds, "30m", or None."""
    if value is None:
        return None
    try:
        return duration_of(value)
    except ValueError:
        text = 'expected a duration like "30m", or a number of seconds, from 0.1s to 365d'
        raise BadRequest(text, "for") from None


def only(body: dict[str, Any], *known: str) -> None:
    """Refuse what nobody here understands: it was meant to change something."""
    for name in body:
        if name not in known:
            raise BadRequest(f"not known here; expected {', '.join(known)}", name)
