"""A Gen1 relay: Watt-minutes, counters that do not survive a boot, timers, Basic authentication."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from simulator.shelly import gen1_answers as answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.shelly.gen1 import Gen1Device


def turn(device: Gen1Device, query: dict[str, str]) -> dict[str, Any]:
    """Ask for /relay/0."""
    device.turn(query)
    return answers.relay(device)


def test_the_total_is_in_watt_minutes_and_begins_at_0_after_a_boot(bench: Callable[..., Any]) -> None:
    """600 W for ten minutes are 6,000 W·min; the last three minutes are kept."""
    device = bench("gen1")
    device.run(640, power=600)
    meter = answers.status(device.gen1)["meters"][0]
    assert meter["total"] == pytest.approx(6400, abs=2)
    assert meter["counters"] == pytest.approx([600, 600, 600], abs=2)
    assert meter["power"] == 600
    device.reboot()
    assert answers.status(device.gen1)["meters"][0]["total"] == 0


def test_switching_with_a_timer(bench: Callable[..., Any]) -> None:
    """`timer` seconds later the relay goes back."""
    device = bench("gen1")
    assert turn(device.gen1, {"turn": "off"})["ison"] is False
    answer = turn(device.gen1, {"turn": "on", "timer": "5"})
    assert (answer["ison"], answer["has_timer"], answer["timer_duration"], answer["source"]) == (
        True,
        True,
        5,
        "http",
    )
    device.run(4)
    assert answers.relay(device.gen1)["timer_remaining"] == 1
    device.run(1)
    relay = answers.relay(device.gen1)
    assert (relay["ison"], relay["has_timer"], relay["source"]) == (False, False, "timer")


@pytest.mark.parametrize("query", [{}, {"turn": "sideways"}, {"turn": "on", "timer": "soon"}])
def test_nonsense_does_not_switch(bench: Callable[..., Any], query: dict[str, str]) -> None:
    """The answer is the state."""
    assert turn(bench("gen1").gen1, query)["ison"] is True


def test_basic_authentication(bench: Callable[..., Any]) -> None:
    """The right password and nothing else."""
    device = bench("gen1", password="right").gen1
    header = "Basic " + base64.b64encode(b"admin:right").decode()
    assert device.admits(header)
    assert not any(map(device.admits, (None, "", "Basic", header[:-1], header.replace("Basic", "Digest"))))
    assert bench("gen1").gen1.admits(None)


def test_without_a_date(bench: Callable[..., Any]) -> None:
    """Empty time and unixtime 0."""
    status = answers.status(bench("gen1", ntp_delay=60).gen1)
    assert (status["time"], status["unixtime"], status["meters"][0]["timestamp"]) == ("", 0, 0)


def test_topics(bench: Callable[..., Any]) -> None:
    """Everything at first and every half minute, relay and power at once, small changes not."""
    device = bench("gen1")
    device.run(1, power=100)
    assert {"relay/0", "relay/0/power", "relay/0/energy"} <= device.gen1.take_topics().keys()
    device.run(3, power=102)
    assert device.gen1.take_topics() == {}
    device.run(1, power=300)
    assert device.gen1.take_topics() == {"relay/0/power": "300.00"}
    device.gen1.command("off")
    assert device.gen1.take_topics() == {"relay/0": "off", "relay/0/power": "0.00"}
    device.run(30)
    assert len(device.gen1.take_topics()) > 3


def test_too_much_power(bench: Callable[..., Any]) -> None:
    """The relay opens and says why."""
    device = bench("gen1")
    device.run(3, power=4000)
    assert answers.relay(device.gen1)["overpower"] is True
    assert device.gen1.topics()["relay/0"] == "overpower"
    turn(device.gen1, {"turn": "on"})
    assert device.gen1.topics()["relay/0"] == "on"
