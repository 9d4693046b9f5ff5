"""Takes commands from the cloud to the relay controller, and acknowledges each when its outcome is in the journal.

A letter may come twice, and its acknowledgement may get lost: the controller knows by its id what was carried out,
also after a crash, because that is in the transaction of the intent.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from edge_energy.cloud.command import Wanted, parse
from edge_energy.errors import JournalFull, UnreadablePayload
from edge_energy.relays.command import Command, Origin, Outcome, UnknownDevice, UnknownRelay, Verdict
from edge_energy.together import together

if TYPE_CHECKING:
    from edge_energy.cloud.letter import CommandSource, Letter
    from edge_energy.interfaces import Recorder

    _Arrived = asyncio.Queue[tuple[Letter, asyncio.Task[None]]]

log = structlog.get_logger()

MOST_AT_WORK = 64
"""Letters that are received and not acknowledged."""
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

    def record_again(self, command: Command, outcome: Outcome) -> None:
        """Record an outcome that may be missing in the journal. Raises nothing."""


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
        self._known: dict[str, asyncio.Task[None]] = {}
        """By the ids of letters: those at work, and the newest of those that are settled."""
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
            arrived: _Arrived = asyncio.Queue()
            room = asyncio.Semaphore(MOST_AT_WORK)
            await together(self._receive(arrived, room), self._acknowledge(arrived, room))

    async def _receive(self, arrived: _Arrived, room: asyncio.Semaphore) -> None:
        async with asyncio.TaskGroup() as work:
            while True:
                await room.acquire()
                letter = await self._source.receive()
                self._counts["received"] += 1
                known = self._known.pop(letter.id, None)
                if known is None or (known.done() and (known.cancelled() or known.exception() is not None)):
                    known = work.create_task(self._settle(letter))
                else:
                    self._counts["repeated"] += 1
                self._remember(letter, known)
                arrived.put_nowait((letter, known))

    def _remember(self, letter: Letter, task: asyncio.Task[None]) -> None:
        self._known[letter.id] = task
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]

    async def _acknowledge(self, arrived: _Arrived, room: asyncio.Semaphore) -> None:
        """Acknowledge in the order of arrival: some brokers know only "everything up to here"."""
        while True:
            letter, settled = await arrived.get()
            await settled
            await self._source.acknowledge(letter)
            self._counts["acknowledged"] += 1
            room.release()

    # -- one letter -------------------------------------------------------------------------------------------

    async def _settle(self, letter: Letter) -> None:
        """Return when nothing is left to be done for a letter, and that is on disk."""
        await self._controller.up.wait()
        command = self._command(letter)
        if command is None:
            return
        outcome = await self._carry_out(command)
        await self._on_disk(command, outcome)
        self._verdicts[outcome.verdict] += 1

    def _command(self, letter: Letter) -> Command | None:
        """Return the command in a letter; None where nobody here is to carry anything out."""
        try:
            wanted = parse(letter.payload)
            if letter.published_at is None:
                raise UnreadablePayload(_UNDATED)  # noqa: TRY301 - as all that is wrong with a letter
        except UnreadablePayload as error:
            self._recorder.keep_aside(self.name, str(error), letter.payload)
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

    async def _on_disk(self, command: Command, outcome: Outcome) -> None:
        """Wait until an outcome is in the journal: commits happen in the order of the calls."""
        while True:
            try:
                await self._recorder.record([], within=0)
            except JournalFull:
                await self._recorder.writable()
                self._controller.record_again(command, outcome)
            else:
                return

    def _count(self, kind: str, **details: str) -> None:
        """Count a letter that does nothing and should not be; tell of it once, whoever sends how many."""
        self._counts[kind] += 1
        what = f"{kind} {details.get('device') or details['reason']}"
        if what not in self._warned and len(self._warned) < MOST_WARNINGS:
            self._warned.add(what)
            log.warning("command from the cloud is not carried out", source=self.name, what=kind, **details)
