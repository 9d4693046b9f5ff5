"""The door for whoever switches relays over a broker: commands in, states and outcomes out.

Below `edge-energy/<appliance>/relay/<relay>/`: `set` is what others write (`mqtt_command` says what); `state` is
ON, OFF or None (not known, or not believed), retained; `result` is the `{"id", "outcome", "reason"}` of each message
on `set`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import orjson

from edge_energy.errors import Unavailable
from edge_energy.relays.command import Command, Origin, Outcome, Verdict
from edge_energy.relays.mqtt_command import NotUnderstood, Wanted, parse
from edge_energy.together import together

LONGEST = 128  # characters of a relay's id
MOST_AT_WORK = 8
"""Commands of a relay beyond which none is taken that switches it on."""
MOST_WITH_OFF = 64
"""Commands of a relay beyond which none is taken at all: a flood of ON must not keep it from going off."""
STALE = (
    "it was retained, or sent while nobody listened, or repeated by the broker: nobody knows whether it is still "
    "wanted. Send it again, without retain"
)


class Controller(Protocol):
    """Who decides, as far as it concerns us."""

    def relays(self) -> list[str]:
        """Return the ids of all relays."""

    def command(self, relay: str, on: bool | None, origin: Origin, **more: Any) -> Command:  # noqa: FBT001
        """Make a command of now."""

    def submit(self, command: Command) -> asyncio.Task[Outcome]:
        """Carry a command out."""

    def refuse(self, command: Command, reason: str) -> Outcome:
        """Record a command that is not carried out."""

    def state(self, relay: str) -> str:
        """Return ON, OFF or None."""

    async def wait_changed(self, seen: int) -> int:
        """Wait until states may have changed."""


class Broker(Protocol):
    """The connection to a broker, as far as it concerns us."""

    name: str

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Queue a message; raises `Unavailable` without a connection."""

    async def wait_connected(self, seen: int) -> int:
        """Wait for another connection than that of this number; return its number."""


class MqttDoor:
    """A component for one broker, and its source's letterbox. It answers whatever comes, and raises at nothing."""

    def __init__(self, broker: Broker, appliance: str, controller: Controller) -> None:
        self.name = f"relays at {broker.name}"
        self.up = asyncio.Event()
        self._base = f"edge-energy/{appliance}/relay/"
        self.filters = [f"{self._base}+/set"]
        self._broker = broker
        self._controller = controller
        self._at_work: dict[str, list[asyncio.Task[Outcome]]] = {}
        """By relay, one for each message: the same command sent twice is answered twice."""
        self._told: dict[str, str] = {}
        """By relay: the state that this connection was told."""

    async def run(self) -> None:
        """Tell states until cancelled: all after each connect, and each when it changes."""
        self.up.set()
        await together(self._greet(), self._follow())

    # -- states -----------------------------------------------------------------------------------------------

    async def _greet(self) -> None:
        seen = 0
        while True:
            seen = await self._broker.wait_connected(seen)
            self._told.clear()
            self._tell()

    async def _follow(self) -> None:
        seen = 0
        while True:
            seen = await self._controller.wait_changed(seen)
            self._tell()

    def _tell(self) -> None:
        with suppress(Unavailable):  # then all is told after the next connect
            for relay in self._controller.relays():
                state = self._controller.state(relay)
                if self._told.get(relay) != state:
                    self._broker.publish(f"{self._base}{relay}/state", state.encode(), retain=True)
                    self._told[relay] = state

    # -- commands ---------------------------------------------------------------------------------------------

    def take(self, topic: str, payload: bytes, *, fresh: bool) -> None:
        """Take a message on a topic of `filters`; one that is not fresh is only recorded and answered."""
        relay = topic[len(self._base) : -len("/set")]
        if not payload or len(relay) > LONGEST:  # an empty one is how a retained message is deleted
            return
        unknown = self._unknown(relay)
        try:
            wanted = parse(payload)
        except NotUnderstood as error:
            self._answer(relay, error.id, Verdict.REFUSED, unknown or str(error))
            return
        if unknown:
            self._answer(relay, wanted.id, Verdict.REFUSED, unknown)
        else:
            self._carry_out(self._command(relay, wanted), fresh=fresh)

    def _unknown(self, relay: str) -> str:
        """Return why nobody can switch it, or nothing."""
        relays = self._controller.relays()
        known = ", ".join(relays) or "none"
        return "" if relay in relays else f"no [[relay]] block is called so; there are: {known[:500]}"

    def _command(self, relay: str, wanted: Wanted) -> Command:
        more: dict[str, Any] = {} if wanted.id is None else {"id": wanted.id, "foreign": True}
        more |= {"for_": wanted.for_, "issued_at": wanted.issued_at, "expires_at": wanted.expires_at}
        return self._controller.command(relay, wanted.on, Origin.MQTT, **more)

    def _carry_out(self, command: Command, *, fresh: bool) -> None:
        at_work = self._at_work.setdefault(command.relay, [])
        most = MOST_AT_WORK if command.on else MOST_WITH_OFF
        if not fresh:
            outcome = self._controller.refuse(command, STALE)
            self._answer(command.relay, command.id, outcome.verdict, outcome.reason)
        elif len(at_work) >= most:
            reason = f"{len(at_work)} commands of this relay are at work: wait for the results of some"
            self._answer(command.relay, command.id, Verdict.REFUSED, reason)
        else:
            task = self._controller.submit(command)
            at_work.append(task)
            task.add_done_callback(partial(self._ended, command))

    def _ended(self, command: Command, task: asyncio.Task[Outcome]) -> None:
        self._at_work[command.relay].remove(task)
        if not task.cancelled():
            verdict, reason = task.result()
            self._answer(command.relay, command.id, verdict, reason)

    def _answer(self, relay: str, number: str | None, verdict: Verdict, reason: str) -> None:
        body = {"id": number, "outcome": verdict, "reason": reason}
        with suppress(Unavailable):  # whoever asked sees no answer, and later the state
            self._broker.publish(f"{self._base}{relay}/result", orjson.dumps(body))
