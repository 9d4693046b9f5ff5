"""The contracts between the parts. Read this file first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator, Mapping, Sequence

READING = "reading"
COMMAND = "command"
INCIDENT = "incident"
APPLIANCE = "appliance"


class NewEntry(NamedTuple):
    """What a source asks the journal to keep.

    `time` is UTC nanoseconds, or None while the date is unknown; `uptime` is CLOCK_BOOTTIME nanoseconds at
    arrival. `span` (nanoseconds) is set where the instant is only known to lie in (time - span, time].
    `origin` is a number that a source uses to recognise what it is given twice. `body` is the JSON object of
    values only, encoded.
    """

    kind: str
    device: str
    time: int | None
    uptime: int
    body: str
    span: int | None = None
    origin: int | None = None


class Entry(NamedTuple):
    """One row of the journal as a sink sees it; `time` is known by then. (journal id, position) is its identity."""

    position: int
    kind: str
    device: str
    time: int
    span: int | None
    boot: int
    uptime: int
    body: dict[str, Any]


class Batch(NamedTuple):
    """Entries that a sink owes, oldest first, and the range of positions that they cover, ends included."""

    entries: list[Entry]
    first: int
    last: int


class Durable(Protocol):
    """What `Recorder.record` promises; many callers may hold and await the same one, and be cancelled."""

    def done(self) -> bool:
        """Tell whether the commit has ended, well or not."""
        ...

    def failed(self) -> bool:
        """Tell whether the commit has ended without anything written."""
        ...

    def __await__(self) -> Generator[Any, None, None]:
        """Wait for the commit; raises what `record` says."""
        ...


class Component(Protocol):
    """A part with a life of its own, kept running by the supervisor.

    A constructor does no I/O. `run()` owns its connections, runs until cancelled, and raises `Unavailable` when
    its peer is away; the supervisor then calls it again. `up` is set by the component while its peer answers,
    and cleared by the supervisor when `run()` ends.
    """

    name: str
    up: asyncio.Event

    async def run(self) -> None:
        """Run until cancelled."""
        ...


class Recorder(Protocol):
    """Where sources put what must not be lost."""

    def record(
        self,
        entries: Sequence[NewEntry],
        within: float,
        state: Mapping[str, Any] | None = None,
    ) -> Durable:
        """Queue entries for the next commit, at most `within` seconds away; the result can be awaited.

        Callers whose entries share a commit share the result, so it costs nothing per entry. Commits happen in
        the order of the calls. `state` is written in the same transaction (a value of None deletes its key).

        Raises `JournalFull` at once while the disk is full, and when awaited if *that* commit failed; nothing of
        it may be acknowledged then.
        """
        ...

    def keep_aside(self, origin: str, reason: str, payload: bytes) -> None:
        """Keep something unreadable for whoever looks later; written with the next commit, newest 1,000 only."""
        ...

    async def writable(self) -> None:
        """Wait until the journal accepts entries."""
        ...


class Lane(Protocol):
    """A part of what a sink owes, read in the order in which it was recorded, ahead of being confirmed."""

    def unread(self) -> int:
        """Return how many positions are owed and not read yet; only news can make it more."""
        ...

    async def read(self, limit: int) -> Batch | None:
        """Return the next entries of one owed range, or None where nothing is left unread."""
        ...


class Outbox(Protocol):
    """One sink's view of the journal: what it still owes.

    Reading runs ahead of confirming; `rewind` goes back to the oldest unconfirmed entry, as does a restart of
    the process, so every entry is delivered at least once. What is owed at a rewind is the `backlog`, but for what
    is only seconds old: that, and what is recorded later, is `new`. Both can be delivered side by side. Where strict
    order is wanted everything is `new`.
    """

    @property
    def backlog(self) -> Lane:
        """What was owed at the last rewind."""
        ...

    @property
    def new(self) -> Lane:
        """What was recorded after it."""
        ...

    async def news(self) -> None:
        """Wait for the next commit, or for the date becoming known."""
        ...

    def owes(self, position: int) -> bool:
        """Tell whether the entry at a position was neither confirmed nor set aside."""
        ...

    def confirm(self, batch: Batch) -> None:
        """Note that the far side has everything in the batch's range (or that it was set aside)."""
        ...

    def set_aside(self, entry: Entry, reason: str) -> None:
        """Note that the far side refused an entry for ever; `journal retry` brings it back."""
        ...

    def rewind(self) -> None:
        """Read again from the oldest unconfirmed entry; `backlog` and `new` are others from now on."""
        ...


class Sink(Protocol):
    """A far side. Neither buffers nor retries: that is Delivery's and the journal's."""

    name: str
    batch_size: int
    batch_age: float
    """A batch is sent when it has `batch_size` entries or its oldest has waited `batch_age` seconds."""

    async def __aenter__(self) -> Self:
        """Open the connection (no error when the far side is away: `write` says so)."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Close the connection."""
        ...

    async def write(self, entries: Sequence[Entry]) -> None:
        """Return when the far side has confirmed every entry.

        Writing the same entries again must have no further effect. Raises `Unavailable` (the far side is away,
        or a setting is wrong; nothing is lost), `Rejected` (at least one entry is refused for good) or
        `TooLarge` (send fewer at a time).
        """
        ...


class Relay(Protocol):
    """A driver: one way to switch one relay, and to know that it is switched.

    It neither decides nor repeats: that is the controller's. Calls may be cancelled at any moment, and are never made
    side by side for one relay. Both methods raise `Unavailable` (the device does not answer, within ten seconds) and
    `NotSwitched` (it answered, and is in the other state). After `Unavailable`, and after a call that was cancelled,
    nobody knows the state, and the device may still carry the command out when it can be reached again.
    """

    @property
    def timer(self) -> bool | None:
        """Whether the device has a timer of its own that can be set now, so that the unsafe state can be leased.

        None while it was never reached: then it is told as if it had one, which fails rather than does without.
        """
        ...

    async def switch(self, on: bool, for_: float | None = None) -> None:  # noqa: FBT001 - the one thing it is told
        """Return when the device has confirmed that the relay is closed (`on`) or open.

        That is what the device says after the command, not that it took the command. After `for_` seconds the device
        itself switches back, whatever became of us, unless it is told again; None ends a timer that runs. `for_` is
        given only where `timer` is not False; where it cannot be set any more, this is `Unavailable`, and nothing is
        switched. Devices may cut it (Zigbee at 1.8 hours, Gen1 to whole seconds), never prolong it.
        """
        ...

    async def renew(self, on: bool, for_: float) -> None:  # noqa: FBT001 - as above
        """Start the device's timer again without a click: only if the relay still is in that state.

        Raises `SwitchedElsewhere` where it is in the other one: that must not be undone.
        """
        ...
