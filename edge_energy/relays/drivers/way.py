"""What a driver is, and what it may use of a broker: the contracts of this folder. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class State(NamedTuple):
    """What a device says of its relay: whether it is closed, and what troubles it in its own words ("overpower")."""

    output: bool
    trouble: str = ""


class Way(Protocol):
    """One way to one relay, while its device is there.

    Both methods raise `Unavailable`, may be cancelled, and wait for as long as they are let: who calls bounds that.
    """

    peer: str
    """Where the device is, for messages."""
    timer: bool
    """Whether the device can be told to switch back by itself."""

    async def tell(self, on: bool, for_: float | None) -> None:  # noqa: FBT001 - as `interfaces.Relay`
        """Tell the relay to close (`on`) or to open, and after so many seconds to go back.

        None ends a timer that runs. `for_` is given only where `timer` is True. Raises `NotSwitched`, in the device's
        own words, where it refuses.
        """
        ...

    async def look(self) -> State:
        """Ask the device itself, now."""
        ...


class Broker(Protocol):
    """An MQTT broker that we are connected to, as drivers need it; each method raises `Unavailable` without it."""

    @property
    def rpc_source(self) -> str:
        """Whom Shelly devices are to answer: they do so on the topic `<rpc_source>/rpc`."""
        ...

    @property
    def zigbee_base(self) -> str:
        """The base of Zigbee2MQTT's topics."""
        ...

    @property
    def zigbee_online(self) -> bool | None:
        """Whether Zigbee2MQTT runs there; None while nobody has said so."""
        ...

    def zigbee_name(self, device: str) -> str | None:
        """Return the friendly name of "zigbee-0x…" at this broker, None where it is not here."""
        ...

    def shelly_prefix(self, device: str) -> str | None:
        """Return the beginning of the topics of "shelly-…", `shellies/<id>` for Gen1, None where it is not here."""
        ...

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish."""
        ...

    async def request(
        self, topic: str, payload: bytes, answers: str, accept: Callable[[bytes], T | None], timeout: float
    ) -> T:
        """Publish, and return what `accept` makes of the first new message on `answers` for which it is not None.

        `accept` may raise `UnreadablePayload`. Raises `Unavailable` where nothing comes within so many seconds, too.
        """
        ...
