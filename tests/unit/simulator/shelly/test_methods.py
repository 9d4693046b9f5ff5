"""What a Gen2 device answers, and what it answers to nonsense."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.shelly import rpc
from simulator.shelly.counts import Counts
from simulator.shelly.limiter import Limiter
from simulator.shelly.node import Node
from simulator.shelly.rpc import RpcError
from tests.unit.simulator.shelly.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Callable

PRODUCTS = ["pro1pm", "plus1pm", "pro3em"]
METHODS = [method for product in PRODUCTS for method in Bench(product).call("Shelly.ListMethods")["methods"]]
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(
    ["id", "on", "toggle_after", "cid", "event", "urls", "enable", "condition", "repeat_period"]
) | st.sampled_from(["delay_ms", "user", "realm", "ha1", "include", "offset", "dynamic_only", "config"])
settings = st.dictionaries(
    st.sampled_from(
        ["enable", "server", "power_limit", "auto_off", "auto_off_delay", "device", "name", "topic_prefix"]
    )
    | st.sampled_from(["initial_state", "ap", "sta", "ssl_ca", "cfg_rev", "pass", "id"]),
    anything,
)


@pytest.mark.parametrize("product", PRODUCTS)
def test_everything_is_json(bench: Callable[..., Bench], product: str) -> None:
    """Status, configuration and information have the components of the product."""
    device = bench(product)
    status, config = device.call("Shelly.GetStatus"), device.call("Shelly.GetConfig")
    orjson.dumps([status, config, device.call("Shelly.GetDeviceInfo"), device.call("Shelly.GetComponents")])
    assert status.keys() == config.keys() >= {"sys", "wifi", "cloud", "ble", "mqtt", "ws"}
    assert ("switch:0" in status) == (product != "pro3em") == ("em:0" not in status)


@pytest.mark.parametrize(
    ("method", "params", "code", "message"),
    [
        ("Switch.Explode", {}, 404, "No handler for Switch.Explode"),
        ("EM.GetStatus", {"id": 0}, 404, "No handler for EM.GetStatus"),
        ("Switch.GetStatus", {}, -103, "Missing required 'id'"),
        ("Switch.GetStatus", {"id": 7}, -105, "value 7 not found"),
        ("Switch.Set", {"id": 0}, -103, "Missing required 'on'"),
        ("Switch.Set", {"id": 0, "on": "yes"}, -103, "'on'"),
        ("Switch.Set", {"id": 0, "on": True, "toggle_after": "x"}, -103, "'toggle_after'"),
        ("Ws.SetConfig", {}, -103, "Missing required 'config'"),
        ("Shelly.SetAuth", {"user": "root", "realm": "x", "ha1": None}, -103, "'user'"),
    ],
)
def test_errors(bench: Callable[..., Bench], method: str, params: dict[str, Any], code: int, message: str) -> None:
    """Codes and texts as in real devices."""
    with pytest.raises(RpcError, match=message) as error:
        bench("pro1pm").call(method, **params)
    assert error.value.code == code


hostile = st.dictionaries(names, anything, max_size=4) | settings.map(lambda config: {"id": 0, "config": config})


@given(st.sampled_from(METHODS), hostile, st.integers(0, 1))
def test_hostile_parameters_are_refused_or_harmless(method: str, params: dict[str, Any], number: int) -> None:
    """Nothing but an RpcError comes out of a method, and the device goes on, over a boot, too."""
    hook = {"cid": 0, "enable": True, "event": "switch.active_power_change", "urls": ["http://pi/"]}
    for product in PRODUCTS:
        device = Bench(product)
        with contextlib.suppress(RpcError):
            device.call("Webhook.Create", **hook)
        with contextlib.suppress(RpcError):
            device.call(method, **(params | {"id": number} if number else params))
        with contextlib.suppress(RpcError):
            device.call("Webhook.Create", **(hook | params))
        device.run(2, power=1000)
        device.reboot()
        device.run(2, power=10)


@given(st.binary(max_size=60) | anything.map(lambda value: orjson.dumps({"id": value, "method": "X", "params": 1})))
def test_hostile_frames_get_no_answer_or_an_error(payload: bytes) -> None:
    """What is no request is left alone."""
    device = Bench("pro1pm")
    node = Node(device.gen2, Limiter(0), Counts(), lambda: 0.0)
    answer = node.answer_frame(payload, "WS_in")
    assert answer is None or "error" in answer


def test_names_are_found_whatever_their_case(bench: Callable[..., Bench]) -> None:
    """Clients write WiFi, Wifi, MQTT and BLE as they like."""
    device = bench("pro1pm")
    assert device.call("WiFi.GetStatus") == device.call("Wifi.GetStatus")
    assert device.call("MQTT.GetConfig")["topic_prefix"] == device.gen2.identity.id


def test_the_outbound_server_counts_after_a_reboot(bench: Callable[..., Bench]) -> None:
    """restart_required, in the answer and in the status, until it has happened."""
    device = bench("pro1pm")
    change = {"enable": True, "server": "ws://127.0.0.1:8000/shelly/ws/secret", "ssl_ca": "*"}
    assert device.call("Ws.SetConfig", config=change) == {"restart_required": True}
    assert device.call("Ws.GetConfig")["server"] == change["server"]
    assert device.gen2.ws.active["server"] is None
    assert device.call("Sys.GetStatus")["restart_required"] is True
    method, params = device.gen2.take_news()[0]
    assert (method, params["events"][0]["event"]) == ("NotifyEvent", "config_changed")
    device.reboot()
    assert device.gen2.ws.active["server"] == change["server"]
    assert device.call("Sys.GetStatus")["restart_required"] is False


def test_a_reboot_is_announced_and_due_later(bench: Callable[..., Bench]) -> None:
    """The owner of the device carries it out when its time has come."""
    device = bench("pro1pm")
    device.call("Shelly.Reboot", delay_ms=3000)
    assert device.gen2.reboot_at == pytest.approx(device.now.monotonic + 3)


def test_the_mqtt_password_is_never_shown(bench: Callable[..., Bench]) -> None:
    """Neither in the configuration nor in the status."""
    device = bench("pro1pm")
    device.call("Mqtt.SetConfig", config={"enable": True, "user": "u", "pass": "hidden"})
    assert device.gen2.mqtt.secrets["pass"] == "hidden"
    assert "hidden" not in orjson.dumps([device.call("Shelly.GetConfig"), device.call("Shelly.GetStatus")]).decode()


def test_authentication_can_be_set_and_taken_away(bench: Callable[..., Bench]) -> None:
    """By the hash alone; the password never reaches the device."""
    device = bench("pro1pm")
    counts = Counts()
    node = Node(device.gen2, Limiter(0), counts, lambda: 0.0)
    realm = device.gen2.identity.id
    ask = orjson.dumps({"id": 1, "src": "me", "method": "Shelly.GetStatus"})
    device.call("Shelly.SetAuth", user="admin", realm=realm, ha1="0" * 64)
    answer = node.answer_frame(ask, "WS_in")
    assert answer is not None
    assert answer["error"]["code"] == 401
    assert counts.unauthorized == 1
    trusted = node.answer_frame(ask, "WS_out", trusted=True)
    assert trusted is not None
    assert "result" in trusted
    info = node.answer_frame(orjson.dumps({"id": 1, "method": "Shelly.GetDeviceInfo"}), "WS_in")
    assert info is not None
    assert (info["result"]["auth_en"], info["result"]["auth_domain"]) == (True, realm)
    device.call("Shelly.SetAuth", user="admin", realm=realm, ha1=None)
    assert device.call("Shelly.GetDeviceInfo")["auth_en"] is False


def test_too_many_requests(bench: Callable[..., Bench]) -> None:
    """429 in the frame, counted."""
    counts = Counts()
    node = Node(bench("pro1pm").gen2, Limiter(1), counts, lambda: 0.0)
    ask = orjson.dumps({"id": 1, "method": "Shelly.GetDeviceInfo"})
    answers = [node.answer_frame(ask, "WS_in") or {} for _ in range(4)]
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, None, 429, 429]
    assert (counts.requests, counts.throttled) == (4, 2)


def test_answers_carry_the_names_of_both_sides() -> None:
    """`dst` only where the request had a `src`."""
    request = rpc.parse(b'{"id":"a","src":"me","method":"X","params":null}')
    assert request is not None
    assert rpc.answer(request, "dev", {}) == {"id": "a", "src": "dev", "dst": "me", "result": {}}
    assert "dst" not in rpc.answer(request._replace(src=None), "dev", {})


def test_firmware_2_has_a_further_field(bench: Callable[..., Bench]) -> None:
    """And its own version."""
    assert "enhanced_security" in bench("pro1pm", firmware=2).call("Shelly.GetDeviceInfo")
    assert "enhanced_security" not in bench("pro1pm").call("Shelly.GetDeviceInfo")
