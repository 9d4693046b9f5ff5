"""A relay with a meter shows, counts and tells what a real one does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.simulator.shelly.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Callable


def pushes(news: list[Any]) -> list[dict[str, Any]]:
    """Give the pushed parts of switch:0."""
    return [params["switch:0"] for _, params in news if "switch:0" in params]


def test_status_has_the_fields_of_its_model(bench: Callable[..., Bench]) -> None:
    """A Pro 1PM has frequency, power factor and returned energy; a Plus 1PM has not."""
    common = {"id", "source", "output", "apower", "voltage", "current", "aenergy", "temperature"}
    assert bench("plus1pm").switch().keys() == common
    assert bench("pro1pm").switch().keys() == common | {"freq", "pf", "ret_aenergy"}


def test_a_big_change_of_power_is_pushed_and_a_small_one_is_not(bench: Callable[..., Bench]) -> None:
    """Only what changed is in the frame; 5 % or 3 W decide."""
    device = bench("pro1pm")
    device.run(5, power=1000)
    assert pushes(device.run(10, power=1040)) == []
    (push,) = pushes(device.run(10, power=1060))
    assert push["apower"] == 1060
    assert "output" not in push
    assert "aenergy" not in push
    (small,) = pushes(device.run(2, power=10))
    assert small["apower"] == 10
    assert pushes(device.run(10, power=12.5)) == []


def test_pushes_of_measurements_are_a_second_apart(bench: Callable[..., Bench]) -> None:
    """However fast the load changes."""
    device = bench("pro1pm")
    news = [push for n in range(100) for push in pushes(device.run(0.1, power=100 * (1 + n % 2), step=0.1))]
    assert 9 <= len(news) <= 11


def test_energy_is_pushed_each_full_minute(bench: Callable[..., Bench]) -> None:
    """`aenergy` with its minutes in mWh, newest first; `minute_ts` is the beginning of the new minute."""
    device = bench("plus1pm")
    device.run(1, power=600)
    energies = [push["aenergy"] for push in pushes(device.run(159)) if "aenergy" in push]
    assert len(energies) == 3
    assert energies[-1]["by_minute"] == pytest.approx([10_000, 10_000, 6500], abs=200)
    assert energies[-1]["minute_ts"] % 60 == 0


def test_without_a_date_there_are_no_minutes(bench: Callable[..., Bench]) -> None:
    """Until the clock is set, `ts` is the uptime and the status has neither time nor by_minute."""
    device = bench("pro1pm", ntp_delay=90)
    news = device.run(60, power=500)
    assert all(params["ts"] <= 60 for _, params in news)
    assert "by_minute" not in device.switch()["aenergy"]
    sys = device.call("Sys.GetStatus")
    assert (sys["time"], sys["unixtime"], sys["uptime"]) == (None, None, 60)
    device.run(40)
    assert device.switch()["aenergy"]["by_minute"]
    assert device.call("Sys.GetStatus")["unixtime"] > 1.7e9
    assert all(params["ts"] > 1.7e9 for _, params in device.run(60))


def test_returned_energy_is_contained_in_aenergy(bench: Callable[..., Bench]) -> None:
    """The trap: import is aenergy minus ret_aenergy."""
    device = bench("pro1pm")
    device.run(3600, power=-500, step=10)
    device.run(3600, power=200, step=10)
    status, truth = device.switch(), device.gen2.meter.counters()
    assert truth == {"energy": pytest.approx(1200), "energy_returned": pytest.approx(600)}
    assert status["aenergy"]["total"] == pytest.approx(1800)
    assert status["ret_aenergy"]["total"] == pytest.approx(600)


@given(st.lists(st.tuples(st.floats(-3000, 3000), st.booleans(), st.integers(1, 90)), max_size=15))
def test_counters_never_fall(script: list[tuple[float, bool, int]]) -> None:
    """Whatever the load and the relay do, until they are reset; then they begin at 0."""
    device = Bench("pro1pm")
    before = device.switch()["aenergy"]["total"]
    for power, on, seconds in script:
        device.call("Switch.Set", id=0, on=on)
        device.run(seconds, power=power)
        total = device.switch()["aenergy"]["total"]
        assert total >= before
        before = total
    device.reboot()
    assert device.switch()["aenergy"]["total"] == before
    device.call("Switch.ResetCounters", id=0)
    assert device.switch()["aenergy"]["total"] == 0


def test_switching_is_pushed_at_once(bench: Callable[..., Bench]) -> None:
    """Output, source and the power that is gone, before any time passes."""
    device = bench("pro1pm")
    device.run(5, power=1000)
    assert device.call("Switch.Set", id=0, on=False) == {"was_on": True}
    (push,) = pushes(device.gen2.take_news())
    assert (push["output"], push["source"], push["apower"], push["current"]) == (False, "HTTP_in", 0, 0)
    assert device.call("Switch.Set", id=0, on=False) == {"was_on": False}


@pytest.mark.parametrize("step", [0.1, 1.0])
def test_toggle_after_ends_by_itself_and_never_early(bench: Callable[..., Bench], step: float) -> None:
    """The timer shows while it runs, and is null in the push that ends it."""
    device = bench("pro1pm")
    device.run(1)
    device.call("Switch.Set", id=0, on=True, toggle_after=5)
    assert device.switch()["timer_duration"] == 5
    device.gen2.take_news()
    assert pushes(device.run(4.9 if step < 1 else 4, step=step)) == []
    (push,) = pushes(device.run(1, step=step))
    assert (push["output"], push["source"]) == (False, "timer")
    assert push["timer_started_at"] is push["timer_duration"] is None
    assert "timer_duration" not in device.switch()


def test_a_later_command_ends_a_timer(bench: Callable[..., Bench]) -> None:
    """Also one that changes nothing else."""
    device = bench("pro1pm")
    device.call("Switch.Set", id=0, on=True, toggle_after=5)
    device.call("Switch.Set", id=0, on=True)
    device.run(10)
    assert device.switch()["output"]


def test_automatic_off(bench: Callable[..., Bench]) -> None:
    """`auto_off` gives each switching on a timer."""
    device = bench("plus1pm")
    device.call("Switch.SetConfig", id=0, config={"auto_off": True, "auto_off_delay": 3})
    device.call("Switch.Set", id=0, on=True)
    device.run(2)
    assert device.switch()["output"]
    device.run(2)
    assert not device.switch()["output"]


def test_too_much_power_opens_the_relay(bench: Callable[..., Bench]) -> None:
    """With an error that lasts until it is switched on again."""
    device = bench("pro1pm")
    device.run(3, power=5000)
    status = device.switch()
    assert (status["output"], status["errors"]) == (False, ["overpower"])
    device.load.demand = device.load.demand._replace(power=100)
    device.call("Switch.Set", id=0, on=True)
    assert "errors" not in device.switch()


@pytest.mark.parametrize(("initial", "output"), [("restore_last", False), ("on", True), ("off", False)])
def test_the_state_after_a_boot(bench: Callable[..., Bench], initial: str, output: bool) -> None:  # noqa: FBT001
    """As configured; no timer survives."""
    device = bench("pro1pm")
    device.call("Switch.SetConfig", id=0, config={"initial_state": initial})
    device.call("Switch.Set", id=0, on=False, toggle_after=3)
    device.reboot()
    device.run(5)
    assert device.switch()["output"] is output
    assert device.switch()["source"] == "init"


def test_webhook_events(bench: Callable[..., Bench]) -> None:
    """Relay, change of power and the periodic measurement call what is bound to them."""
    device = bench("pro1pm")
    for event in ("switch.on", "switch.off", "switch.active_power_change", "switch.active_power_measurement"):
        device.call("Webhook.Create", cid=0, enable=True, event=event, urls=[f"http://pi/{event}?p=${{ev.apower}}"])
    device.run(2, power=100)
    assert device.gen2.take_calls() == ["http://pi/switch.active_power_change?p=100"]
    device.call("Switch.Set", id=0, on=False)
    calls = device.gen2.take_calls()
    assert calls[0] == "http://pi/switch.off?p=${ev.apower}"
    device.run(70)
    assert "http://pi/switch.active_power_measurement?p=0" in device.gen2.take_calls()
