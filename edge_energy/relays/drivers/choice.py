"""One relay, switched and confirmed by whichever way reaches its device at that moment."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from edge_energy.errors import NotSwitched, SwitchedElsewhere, Unavailable
from edge_energy.relays.drivers.shelly_gen1 import ShellyGen1
from edge_energy.relays.drivers.shelly_gen1_mqtt import ShellyGen1Mqtt
from edge_energy.relays.drivers.shelly_gen2 import ShellyGen2
from edge_energy.relays.drivers.shelly_mqtt import MqttCalls
from edge_energy.relays.drivers.way import State
from edge_energy.relays.drivers.zigbee2mqtt import Zigbee2Mqtt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from edge_energy.config import Relay as Settings
    from edge_energy.relays.drivers.shelly_gen1 import Pages
    from edge_energy.relays.drivers.shelly_gen2 import Calls
    from edge_energy.relays.drivers.way import Broker, Way

LONGEST = 9.0  # seconds for all ways together
FIRST = 2.0  # seconds that a way has at most while there is another one: its line may be dead
CONNECTING = 2.0  # seconds that a device may be away between two connections; all are made anew after a start
AGAIN = 0.05
LOOKS = (0.0, 0.2, 0.6)  # seconds before each look at a relay that is not yet as it was told to be
LATE = 1.0  # seconds in which a device that hung carries out what it had received meanwhile
GEN1 = "shellies/"


class Reach(Protocol):
    """The Shelly devices that we have a connection with now."""

    def calls(self, device: str) -> Iterable[Calls]:
        """Return the connections to "shelly-…" of Gen2 and later, best first."""
        ...

    def pages(self, device: str) -> Iterable[Pages]:
        """Return where the pages of a "shelly-…" of Gen1 are."""
        ...


class Choice:
    """An `interfaces.Relay`. Which ways there are is asked at every call; where one fails, the next is tried."""

    def __init__(self, settings: Settings, reach: Reach, brokers: Sequence[Broker]) -> None:
        self._settings = settings
        self._reach = reach
        self._brokers = brokers
        self._timer: bool | None = None
        self._late: set[bool] = set()
        """What was told and given up unanswered, so that the device may carry it out yet."""

    @property
    def timer(self) -> bool | None:
        """Whether a way to the device has a timer: now, or last while there is none; None where there never was.

        A Zigbee device goes back to off only, so that where `on` is the safe state it has no timer that helps.
        """
        if self._zigbee:
            return self._settings.timer and self._settings.safe_state != "on"
        if ways := list(self._ways()):
            self._timer = any(way.timer for way in ways)
        return self._timer

    async def switch(self, on: bool, for_: float | None = None) -> None:  # noqa: FBT001 - see `interfaces.Relay`
        """Tell the device, and look until its relay is as it was told to be."""

        async def by(way: Way) -> None:
            await self._tell(way, on, for_)
            if late := (not on) in self._late:
                # By another connection the one before may come behind this one: so once more, when it has.
                await asyncio.sleep(LATE)
                await self._tell(way, on, for_)
            await _confirm(way, on)
            if late:
                self._late.clear()

        await self._first(by, timed=for_ is not None)

    async def renew(self, on: bool, for_: float) -> None:  # noqa: FBT001 - as above
        """Tell the device again if its relay still is as it was told to be."""

        async def by(way: Way) -> None:
            state = await way.look()
            if state.output is not on:
                raise SwitchedElsewhere(f"{way.peer} was switched {_word(state)} by somebody else, or by itself")
            await self._tell(way, on, for_)
            await _confirm(way, on)

        await self._first(by, timed=True)

    async def _tell(self, way: Way, on: bool, for_: float | None) -> None:  # noqa: FBT001 - as above
        try:
            await way.tell(on, for_)
        except (asyncio.CancelledError, Unavailable):  # also at the end of its share of the time
            self._late.add(on)
            raise

    async def _first(self, by: Callable[[Way], Awaitable[None]], *, timed: bool) -> None:
        """Do it by the first way that answers. Raises `Unavailable` with what each way said, and `NotSwitched`."""
        said, end = dict[str, None](), time.monotonic() + LONGEST
        ways = [way for way in await self._connected() if way.timer or not timed]
        for number, way in enumerate(ways):
            share = max(0.0, end - time.monotonic())
            if number < len(ways) - 1:
                share = min(share / (len(ways) - number), FIRST)
            try:
                async with asyncio.timeout(share):
                    return await by(way)
            except TimeoutError:
                said[f"{way.peer} does not answer within {share:.1f} s"] = None
            except Unavailable as error:
                said[str(error)] = None
        raise Unavailable("; ".join(said) or self._unreachable(timed=timed))

    # -- which ways there are -------------------------------------------------------------------------------------

    async def _connected(self) -> list[Way]:
        """Return the ways that there are, soon; none where the device stays away."""
        until = time.monotonic() + CONNECTING
        while True:
            ways = list(self._ways())
            if ways or time.monotonic() >= until:
                return ways
            await asyncio.sleep(AGAIN)

    @property
    def _zigbee(self) -> bool:
        return self._settings.device.startswith("zigbee-")

    def _ways(self) -> Iterator[Way]:
        """Yield the ways to the device, best first."""
        device, channel = self._settings.device, self._settings.channel
        if self._zigbee:
            for broker in self._brokers:
                if (name := broker.zigbee_name(device)) is not None:
                    yield Zigbee2Mqtt(broker, name, channel, timer=self.timer is True)
        elif channel in ("", *"1234567"):
            yield from self._shelly(device, int(channel or 0))

    def _shelly(self, device: str, output: int) -> Iterator[Way]:
        yield from (ShellyGen2(calls, output) for calls in self._reach.calls(device))
        yield from (ShellyGen1(pages, output) for pages in self._reach.pages(device))
        for broker in self._brokers:
            prefix = broker.shelly_prefix(device)
            if prefix is not None and prefix.startswith(GEN1):
                yield ShellyGen1Mqtt(broker, prefix, output)
            elif prefix is not None:
                yield ShellyGen2(MqttCalls(broker, prefix, device), output)

    def _unreachable(self, *, timed: bool) -> str:
        """Say what the operator can do where there is no way."""
        device, channel = self._settings.device, self._settings.channel
        if self._zigbee:
            return f"{device} is not connected: no Zigbee2MQTT has named it; see `edge-energy devices`"
        if timed and next(self._ways(), None) is not None:
            return f"{device} can be told by MQTT only now, which does not reach its timer: a [[shelly]] block does"
        if device.startswith("shelly-"):
            number = "" if channel in ("", *"1234567") else f', and its outputs have numbers, not "{channel}"'
            return (
                f"{device} is not connected: no [[shelly]] block reaches it, it has not dialled in, "
                f"and no broker has heard of it{number}"
            )
        return f"{device} cannot be switched: only Shelly devices and those of Zigbee2MQTT can"


async def _confirm(way: Way, on: bool) -> None:  # noqa: FBT001 - as above
    """Return when the device says that its relay is closed (`on`) or open. Raises `NotSwitched`."""
    state = State(not on)
    for pause in LOOKS:
        await asyncio.sleep(pause)
        state = await way.look()
        if state.output is on:
            return
    raise NotSwitched(f"{way.peer} took the command, but its relay is {_word(state)}")


def _word(state: State) -> str:
    word = "on" if state.output else "off"
    return f"{word} ({state.trouble})" if state.trouble else word
