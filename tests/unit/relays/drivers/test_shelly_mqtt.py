"""RPC by way of a broker: the answer is the one of this device to this question."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from edge_energy.devices.shelly_rpc import RpcError
from edge_energy.errors import Unavailable
from edge_energy.relays.drivers import shelly_mqtt as module
from edge_energy.relays.drivers.shelly_mqtt import MqttCalls
from tests.unit.relays.drivers.fakes import DEVICE, OWN_ID, FakeBroker, Message

ANSWERS = f"{FakeBroker.rpc_source}/rpc"


def calls(broker: FakeBroker) -> MqttCalls:
    return MqttCalls(broker, "house/plug", DEVICE)


def answer(request: dict[str, Any], src: str = OWN_ID, **rest: Any) -> Message:
    return ANSWERS, orjson.dumps({"id": request["id"], "src": src, "dst": request["src"], **rest})


async def test_it_is_asked_below_its_prefix_and_answers_us() -> None:
    """The prefix is what its owner chose; `src` says where to answer."""
    broker = FakeBroker(lambda _topic, request: [answer(request, result={"was_on": True})])
    assert await calls(broker).call("Switch.Set", {"id": 0, "on": True}) == {"was_on": True}
    ((topic, request),) = broker.published
    assert topic == "house/plug/rpc"
    assert request | {"id": 0} == {
        "id": 0,
        "src": FakeBroker.rpc_source,
        "method": "Switch.Set",
        "params": {"id": 0, "on": True},
    }


async def test_only_the_answer_of_this_device_to_this_question_counts() -> None:
    """Others, and late ones, come on the same topic."""

    def react(_topic: str, request: dict[str, Any]) -> list[Message]:
        return [
            (ANSWERS, b"no JSON"),
            answer({**request, "id": request["id"] + 1}, result="of another question"),
            answer({**request, "id": str(request["id"])}, result="of a text"),
            answer(request, src="shellyplus1pm-c049ef8cf4e0", result="of another device"),
            answer(request, method="NotifyStatus", params={}),
            answer(request, result="right"),
        ]

    assert await calls(FakeBroker(react)).call("Switch.GetStatus") == "right"


async def test_refusals_are_told_apart() -> None:
    """429 is no answer: another way may be better."""
    broker = FakeBroker(lambda _topic, request: [answer(request, error={"code": -103, "message": "Missing 'id'"})])
    with pytest.raises(RpcError, match=r"-103.*Missing"):
        await calls(broker).call("Switch.Set")
    broker.react = lambda _topic, request: [answer(request, error={"code": 429, "message": "Too many requests"})]
    with pytest.raises(Unavailable, match="429"):
        await calls(broker).call("Switch.Set")


async def test_silence_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing goes on waiting."""
    monkeypatch.setattr(module, "TIMEOUT", 0.01)
    broker = FakeBroker()
    with pytest.raises(Unavailable):
        await calls(broker).call("Switch.Set")
    assert not broker.waiting
