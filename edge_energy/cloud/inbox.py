"""Takes commands from the cloud to the relay controller, and acknowledges each when its outcome is in the journal.

A letter may come twice, and its acknowledgement may get lost: the controller knows by its id what was carried out,
also after a crash, because that is in the transaction of the intent. What waits only for space on the disk holds up
nobody: OFF switches then, too.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from edge_energy.cloud.command import Wanted, parse
from edge_energy.errors import UnreadablePayload
from edge_energy.relays.command import Command, Origin, Outcome, UnknownDevice, UnknownRelay, Verdict
from edge_energy.relays.fields import LARGEST
from edge_energy.together import together

if TYPE_CHECKING:
    from edge_energy.cloud.letter import CommandSource, Letter
    from edge_energy.interfaces import Recorder

    _Work = asyncio.Task[tuple[Command, Outcome] | None]

log = structlog.get_logger()

MOST_AT_WORK = 64
"""Letters that are being carried out."""
MOST_WAITING = 1000
"""Letters that are received and not acknowledged; while nothing can be recorded the oldest make way for new ones."""
REMEMBERED = 1000
"""Letters that are known if they come again before a restart."""
MOST_WARNINGS = 32
"""Kinds of letters that are told of in the log, once each; the counters have all."""
_UNDATED = "the broker does not say when it was published, so nobody knows whether it comes too late"
_BY_NAME = "called by its name, which others may have too: command it by its id"


class Controller(Protocol):
    """Who decides, as far as it concerns us."""

    up: asyncio.Event

    def resolve(self, name: str) -> str:
        """Return the relay that is called so. Raises `UnknownDevice` and `UnknownRelay`."""

    def command(self, relay: str, on: bool | None, origin: Origin, **more: Any) -> Command:  # noqa: FBT001
        """Make a command of now."""

    def submit(self, command: Command) -> asyncio.Task[Outcome]:
        """Carry a command out."""

    async def recorded(self, command: Command) -> bool:
        """Wait for the commit of the outcome of a command; tell whether it is on disk."""

    def record_again(self, command: Command, outcome: Outcome) -> None:
        """Record an outcome that a full disk has kept out of the journal. Raises nothing."""


@dataclass(slots=True, eq=False)
class _Place:
    """A letter as it came last, without its payload, and what it asks for: done when that has an outcome."""

    letter: Letter
    work: _Work


class Inbox:
    """A component for one broker."""

    def __init__(self, source: CommandSource, controller: Controller, recorder: Recorder) -> None:
        self.name = f"{source.name} commands"
        self.up = asyncio.Event()
        self._source = source
        self._controller = controller
        self._recorder = recorder
        self._counts: Counter[str] = Counter()
        self._verdicts: Counter[Verdict] = Counter()
        self._known: dict[str, _Work] = {}
        """By the ids of letters: those at work, and the newest of those that have an outcome."""
        self._places: dict[str, _Place] = {}
        """By the ids of letters: those not acknowledged, in the order of arrival."""
        self._arrived = asyncio.Event()
        self._warned: set[str] = set()

    def status(self) -> dict[str, Any]:
        """Return what `edge-energy status --json` shows of this source."""
        counted = ("received", "acknowledged", "repeated", "malformed", "not_ours", "not_switchable")
        verdicts = {str(verdict): self._verdicts[verdict] for verdict in Verdict}
        return {"kind": "commands", **{name: self._counts[name] for name in counted}, "outcomes": verdicts}

    async def run(self) -> None:
        """Take letters until cancelled."""
        async with self._source:
            self.up.set()
            self._places.clear()
            await together(self._receive(), self._acknowledge())

    async def _receive(self) -> None:
        room = asyncio.Semaphore(MOST_AT_WORK)
        async with asyncio.TaskGroup() as group:
            while True:
                await self._place()
                await room.acquire()
                letter = await self._source.receive()
                self._counts["received"] += 1
                work = self._known.pop(letter.id, None)
                if work is None or (work.done() and (work.cancelled() or work.exception() is not None)):
                    work = group.create_task(self._settle(letter))
                    work.add_done_callback(lambda _: room.release())
                else:
                    self._counts["repeated"] += 1
                    room.release()
                self._remember(letter, work)
                self._arrived.set()

    async def _place(self) -> None:
        """Wait for a place; the oldest with an outcome gives way, and is acknowledged when it comes again."""
        while len(self._places) >= MOST_WAITING:
            oldest = next(iter(self._places.values()))
            await asyncio.wait([oldest.work])
            if self._places.get(oldest.letter.id) is oldest:
                del self._places[oldest.letter.id]

    def _remember(self, letter: Letter, work: _Work) -> None:
        self._places[letter.id] = _Place(letter._replace(payload=b""), work)  # where it was, if it waits already
        self._known[letter.id] = work
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]

    async def _acknowledge(self) -> None:
        """Acknowledge in the order of arrival: some brokers know only "everything up to here"."""
        while True:
            while not self._places:
                self._arrived.clear()
                await self._arrived.wait()
            await asyncio.wait([next(iter(self._places.values())).work])
            settled = list(takewhile(lambda place: place.work.done(), self._places.values()))
            await self._on_disk([ended for place in settled if (ended := place.work.result()) is not None])
            # As they came last, without those that gave way; what comes again from now on has a place of its own.
            letters = [self._places.pop(at).letter for place in settled if (at := place.letter.id) in self._places]
            if letters:
                await self._source.acknowledge(letters)
                self._counts["acknowledged"] += len(letters)

    # -- one letter -------------------------------------------------------------------------------------------

    async def _settle(self, letter: Letter) -> tuple[Command, Outcome] | None:
        """Return how a command has ended; None where nobody here is to carry anything out."""
        await self._controller.up.wait()
        command = self._command(letter)
        if command is None:
            return None
        outcome = await self._carry_out(command)
        self._verdicts[outcome.verdict] += 1
        return command, outcome

    def _command(self, letter: Letter) -> Command | None:
        """Return the command in a letter; None where nobody here is to carry anything out."""
        try:
            wanted = parse(letter.payload)
            if letter.published_at is None:
                raise UnreadablePayload(_UNDATED)  # noqa: TRY301 - as all that is wrong with a letter
        except UnreadablePayload as error:
            self._recorder.keep_aside(self.name, str(error), letter.payload[:LARGEST])
            self._count("malformed", reason=str(error))
            return None
        try:
            relay = self._relay(wanted)
        except UnknownDevice as error:  # of another house: all hear everything
            self._counts["not_ours"] += 1
            log.debug("command for a device that is not here", source=self.name, reason=str(error))
            return None
        except UnknownRelay as error:
            self._count("not_switchable", device=wanted.device, reason=str(error))
            return None
        more: dict[str, Any] = {"id": wanted.id or letter.id, "foreign": True, "for_": wanted.for_}
        more |= {"issued_at": letter.published_at, "expires_at": wanted.expires_at}
        more["reason"] = f"asked for by {self._source.name}"
        return self._controller.command(relay, wanted.on, Origin.CLOUD, **more)

    def _relay(self, wanted: Wanted) -> str:
        """Return the relay that is meant. Raises `UnknownRelay`, also for a name: every house may have a boiler."""
        relay = self._controller.resolve(wanted.device)
        if wanted.device not in (relay, relay.partition("_")[0]):
            raise UnknownRelay(_BY_NAME)
        return relay

    async def _carry_out(self, command: Command) -> Outcome:
        while True:
            await self._controller.up.wait()
            task = self._controller.submit(command)
            await asyncio.wait([task])  # it goes on if we are cancelled
            if not task.cancelled():  # by a controller that ended before it began with this one
                return task.result()

    async def _on_disk(self, ended: list[tuple[Command, Outcome]]) -> None:
        """Wait until outcomes are in the journal."""
        while lost := [each for each in ended if not await self._controller.recorded(each[0])]:
            await self._recorder.writable()
            for command, outcome in lost:
                self._controller.record_again(command, outcome)

    def _count(self, kind: str, **details: str) -> None:
        """Count a letter that does nothing and should not be; tell of it once, whoever sends how many."""
        self._counts[kind] += 1
        what = f"{kind} {details.get('device') or details['reason']}"
        if what not in self._warned and len(self._warned) < MOST_WARNINGS:
            self._warned.add(what)
            log.warning("command from the cloud is not carried out", source=self.name, what=kind, **details)
