"""Webhooks: their limits, when they call, and what."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.shelly.component import HookEvent
from simulator.shelly.rpc import RpcError
from simulator.shelly.webhook import Webhooks

SCOPE: dict[str, Any] = {"status": {}, "config": {}, "info": {"mac": "A"}}


def hooks() -> Webhooks:
    return Webhooks({"switch": 0})


def change(power: float) -> HookEvent:
    return HookEvent("switch.active_power_change", 0, {"apower": power})


def create(webhooks: Webhooks, **more: Any) -> int:
    hook = {"cid": 0, "enable": True, "event": "switch.active_power_change", "urls": ["http://pi/?p=${ev.apower}"]}
    number: int = webhooks.create({**hook, **more})["id"]
    return number


def test_an_event_calls_the_hooks_that_are_bound_to_it() -> None:
    """Not those of another event, and not one that is off."""
    webhooks = hooks()
    create(webhooks)
    create(webhooks, event="switch.on")
    create(webhooks, enable=False)
    assert webhooks.calls(change(5.5), SCOPE, 0) == ["http://pi/?p=5.5"]
    assert webhooks.calls(HookEvent("switch.on", 0, {}), SCOPE, 0) == ["http://pi/?p=${ev.apower}"]


def test_a_condition_decides() -> None:
    """One that cannot be evaluated is false."""
    webhooks = hooks()
    create(webhooks, condition="ev.apower > 20")
    create(webhooks, condition="ev.nothing > 20")
    assert webhooks.calls(change(20), SCOPE, 0) == []
    assert webhooks.calls(change(21), SCOPE, 0) == ["http://pi/?p=21"]


def test_a_period_keeps_calls_apart() -> None:
    """No second call within it; 0 is none; negative is once, until the condition was false."""
    webhooks = hooks()
    create(webhooks, repeat_period=10, condition="ev.apower > 20")
    assert [len(webhooks.calls(change(30), SCOPE, now)) for now in (0, 5, 9.9, 10, 11)] == [1, 0, 0, 1, 0]
    once = hooks()
    create(once, repeat_period=-1, condition="ev.apower > 20")
    assert [len(once.calls(change(power), SCOPE, 0)) for power in (30, 40, 10, 30, 40)] == [1, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"event": "switch.exploded"}, -105),
        ({"event": "em.active_power_change"}, -105),
        ({"urls": []}, -103),
        ({"urls": ["http://pi/"] * 6}, -103),
        ({"urls": ["http://pi/" + "x" * 300]}, -103),
        ({"urls": "http://pi/"}, -103),
        ({"repeat_period": "often"}, -103),
    ],
)
def test_what_a_device_refuses(params: dict[str, Any], code: int) -> None:
    """Unknown events, more than five URLs, more than 300 characters."""
    with pytest.raises(RpcError) as refused:
        create(hooks(), **params)
    assert refused.value.code == code


def test_twenty_hooks_and_no_more() -> None:
    """And each change counts the revision up."""
    webhooks = hooks()
    numbers = [create(webhooks) for _ in range(20)]
    with pytest.raises(RpcError):
        create(webhooks)
    webhooks.update({"id": numbers[0], "enable": False})
    webhooks.delete({"id": numbers[1]})
    assert webhooks.revision == 22
    assert len(webhooks.listed()["hooks"]) == 19
    with pytest.raises(RpcError, match="not found"):
        webhooks.delete({"id": 99})
    with pytest.raises(RpcError, match="'id'"):
        webhooks.update({})
    webhooks.delete_all()
    assert webhooks.listed()["hooks"] == []
