"""The relay of both generations: timers that are sent again, deafness, a welded contact, the button, edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from simulator.shelly import gen1_answers as answers
from simulator.shelly.timed_relay import Quirks
from simulator.shelly.truth import truth

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.simulator.shelly.bench import Bench

PRODUCTS = ["pro1pm", "gen1"]


class Hand:
    """One device of either generation, switched over its own protocol."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.device = bench.device
        self.meter: Any = bench.device.meter
        self.bench.run(1, power=1000)

    def set(self, on: bool, seconds: float | None = None) -> bool:  # noqa: FBT001
        """Send a command, and give the state that the answer claims: before it (Gen2), after it (Gen1)."""
        if self.device is self.bench.gen2:
            after = {"toggle_after": seconds} if seconds else {}
            return bool(self.bench.call("Switch.Set", id=0, on=on, **after)["was_on"])
        claims = self.bench.gen1.turn({"turn": "on" if on else "off"} | ({"timer": str(seconds)} if seconds else {}))
        return bool((answers.relay(self.bench.gen1) | claims)["ison"])

    def says(self) -> bool:
        """Ask for the state."""
        if self.device is self.bench.gen2:
            return bool(self.bench.switch()["output"])
        return bool(answers.relay(self.bench.gen1)["ison"])

    def truth(self, *names: str) -> tuple[Any, ...]:
        """Give some of the truth."""
        state = truth(self.device)
        return tuple(state[name] for name in names)


@pytest.fixture(params=PRODUCTS)
def hand(request: pytest.FixtureRequest, bench: Callable[..., Bench]) -> Hand:
    return Hand(bench(request.param))


def test_a_timer_that_is_sent_again_begins_anew_without_a_click(hand: Hand) -> None:
    """However often; it ends the last one's time later, with one edge."""
    for _ in range(5):
        hand.set(True, 10)
        assert hand.truth("timer", "edges") == (10, 0)
        hand.bench.run(8)
        assert hand.truth("timer") == (2,)
    hand.bench.run(3)
    assert hand.truth("output", "edges", "timer", "power") == (False, 1, 0, 0)


def test_a_device_that_clicks_when_a_timer_is_sent_again(hand: Hand) -> None:
    """It opens for a moment and closes at the next tick, which a client can see; the first timer does not click."""
    hand.meter.relay.quirks = Quirks(timer_clicks=True)
    hand.set(True, 10)
    assert hand.truth("output", "edges") == (True, 0)
    hand.bench.run(5)
    hand.set(True, 10)
    assert not hand.says()
    hand.bench.run(1)
    assert hand.says()
    hand.bench.run(1)
    assert hand.truth("edges", "timer", "power") == (2, 8, 1000)
    hand.set(True)  # without a timer: no click
    assert hand.truth("output", "edges", "timer") == (True, 2, 0)


def test_off_during_a_click_stays_off(hand: Hand) -> None:
    """The click must not undo what came after it."""
    hand.meter.relay.quirks = Quirks(timer_clicks=True)
    hand.set(True, 10)
    hand.set(True, 10)
    hand.set(False)
    hand.bench.run(20)
    assert hand.truth("output", "edges") == (False, 1)


def test_a_device_that_does_not_start_its_timer_anew(hand: Hand) -> None:
    """The first timer ends when it was going to; another state or no timer is taken as by any device."""
    hand.meter.relay.quirks = Quirks(no_restart=True)
    hand.set(True, 10)
    hand.bench.run(8)
    hand.set(True, 10)
    assert hand.truth("timer") == (2,)
    hand.bench.run(3)
    assert hand.truth("output", "edges") == (False, 1)
    hand.set(True, 10)
    hand.set(True)
    assert hand.truth("timer") == (0,)


def test_a_deaf_device_says_yes_and_does_nothing(hand: Hand) -> None:
    """The answer is as if all was well, the status is not; its timer goes on, its button works."""
    hand.set(True, 10)
    hand.meter.relay.deaf = True
    honest = hand.device is hand.bench.gen2  # `was_on` tells of the time before
    assert hand.set(False) is honest
    assert hand.says()
    hand.set(True, 60)
    assert hand.truth("output", "edges", "timer") == (True, 0, 10)
    hand.bench.run(11)
    assert hand.truth("output", "edges") == (False, 1)
    hand.meter.press()
    assert hand.truth("output", "edges") == (True, 2)


def test_a_deaf_device_does_not_hear_mqtt(bench: Callable[..., Bench]) -> None:
    """Gen1's other way."""
    hand = Hand(bench("gen1"))
    hand.meter.relay.deaf = True
    hand.bench.gen1.command("off")
    assert hand.truth("output") == (True,)


def test_a_welded_contact(hand: Hand) -> None:
    """The device says that it is open, and measures what still flows."""
    hand.meter.outlet.weld(on=True)
    hand.set(False)
    hand.bench.run(5)
    assert not hand.says()
    assert hand.truth("output", "edges", "power") == (False, 1, 1000)
    if hand.device is hand.bench.gen2:
        assert hand.bench.switch()["apower"] == 1000


def test_the_button(hand: Hand) -> None:
    """It toggles, ends a timer, and is named as the source."""
    hand.set(True, 5)
    hand.meter.press()
    assert hand.truth("output", "edges", "timer") == (False, 1, 0)
    assert hand.meter.relay.source == "button"
    hand.bench.run(10)
    assert hand.truth("output", "edges") == (False, 1)


def test_a_click_and_the_button_are_pushed(bench: Callable[..., Bench]) -> None:
    """Both edges of a click go out, and call what is bound to them."""
    hand = Hand(bench("pro1pm"))
    for event in ("switch.on", "switch.off"):
        hand.bench.call("Webhook.Create", cid=0, enable=True, event=event, urls=[f"http://pi/{event}"])
    hand.meter.relay.quirks = Quirks(timer_clicks=True)
    hand.set(True, 10)
    hand.bench.gen2.take_news()
    hand.set(True, 10)
    news = hand.bench.gen2.take_news() + hand.bench.run(1, step=0.1)
    outputs = [params["switch:0"]["output"] for _, params in news if "output" in params.get("switch:0", {})]
    assert outputs == [False, True]
    assert hand.bench.gen2.take_calls() == ["http://pi/switch.off", "http://pi/switch.on"]
    hand.meter.press()
    hand.bench.gen2.report()
    (push,) = [params["switch:0"] for _, params in hand.bench.gen2.take_news()]
    assert (push["output"], push["source"], push["timer_started_at"]) == (False, "button", None)
