"""What a command source hands over, and what is expected of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Sequence


class Letter(NamedTuple):
    """One message of a broker. What is delivered again has the same `id`, which is a valid one of a command.

    `published_at` is UTC seconds, None where the broker does not say; `receipt` is what its source acknowledges.
    """

    payload: bytes
    id: str
    published_at: float | None
    receipt: Any = None


class CommandSource(Protocol):
    """A broker that delivers each letter until it is acknowledged. All methods raise `Unavailable`."""

    name: str

    async def __aenter__(self) -> Self:
        """Connect; return when the broker has answered."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Disconnect. What is not acknowledged comes again after the next connect."""
        ...

    async def receive(self) -> Letter:
        """Wait for the next letter. Cancelled only to disconnect: what is on its way then comes again."""
        ...

    async def acknowledge(self, letters: Sequence[Letter]) -> None:
        """Have letters not delivered again, one at least; all come here in the order of arrival.

        Returns without waiting for the broker where that would take time: what gets lost is delivered again.
        """
        ...
