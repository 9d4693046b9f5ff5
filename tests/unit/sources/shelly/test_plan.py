"""The plans that lead a device from what it has to what it needs: complete, repeatable, and polite to others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.sources.shelly import hooks, plan
from tests.unit.sources.shelly.fake_device import SWITCH, FakeDevice

TOKEN = "ee_0123abcd_" + "s" * 43
OTHER_TOKEN = "ee_fedcba98_" + "o" * 43
URL = f"ws://192.168.1.5:8000/shelly/ws/{TOKEN}"
HOME_ASSISTANT = "ws://192.168.1.9:8123/api/shelly/ws"
BASE = "http://192.168.1.5:8000/webhook/shelly-ec62608ab9a4"
OFF = {"enable": False, "server": None, "ssl_ca": "ca.pem"}
STATUS: dict[str, Any] = {"switch:0": SWITCH, "sys": {"uptime": 1}}
EVENTS = {"switch.on", "switch.off", "switch.active_power_change", "switch.active_power_measurement"}
BROKER = plan.Broker("192.168.1.5:1883")
MQTT = {
    "enable": False,
    "server": None,
    "user": None,
    "ssl_ca": None,
    "topic_prefix": "shellypro1pm-ec62608ab9a4",
    "rpc_ntf": True,
    "status_ntf": False,
}


def wanted(token: str | None = None, status: dict[str, Any] = STATUS, base: str = BASE) -> list[plan.Hook]:
    return hooks.hooks(base, status, EVENTS, token).hooks


servers = st.sampled_from(
    [None, "", URL, URL.replace("ws:", "wss:"), HOME_ASSISTANT, URL.replace(TOKEN, OTHER_TOKEN)]
)
socket_configs = st.fixed_dictionaries(
    {
        "enable": st.booleans() | st.none(),
        "server": servers,
        "ssl_ca": st.sampled_from([None, "*", "ca.pem", "user_ca.pem"]),
    }
)


@given(socket_configs, st.sampled_from([URL, URL.replace("ws:", "wss:")]))
def test_the_websocket_is_planned_once(config: dict[str, Any], url: str) -> None:
    """Applying a plan leads to an empty plan, and to the wanted server."""
    device = FakeDevice(ws=config)
    device.apply(plan.websocket(config, url, replace=True))
    assert device.ws["enable"] is True
    assert device.ws["server"] == url
    assert plan.websocket(device.ws, url) == []


def test_a_new_device_gets_our_address() -> None:
    (change,) = plan.websocket(OFF, URL)
    assert change.method == "Ws.SetConfig"
    assert change.params == {"config": {"enable": True, "server": URL}}
    assert (change.before, change.after) == ("off", "ws://192.168.1.5:8000/shelly/ws/…")


def test_somebody_elses_websocket_is_a_conflict() -> None:
    """The device has one only: whoever has it now would lose it without a word."""
    config = {"enable": True, "server": HOME_ASSISTANT, "ssl_ca": "*"}
    with pytest.raises(plan.Conflict, match=r"192\.168\.1\.9:8123.*--replace"):
        plan.websocket(config, URL)
    (change,) = plan.websocket(config, URL, replace=True)
    assert change.before == HOME_ASSISTANT


def test_another_appliance_of_ours_is_somebody_else() -> None:
    config = {"enable": True, "server": f"ws://192.168.1.77:8000/shelly/ws/{OTHER_TOKEN}", "ssl_ca": "*"}
    with pytest.raises(plan.Conflict):
        plan.websocket(config, URL)


@pytest.mark.parametrize(
    "server",
    [f"ws://192.168.1.5:8000/shelly/ws/{OTHER_TOKEN}", f"ws://192.168.1.200:8000/shelly/ws/{TOKEN}"],
    ids=["a token that ended", "our address before"],
)
def test_our_own_websocket_is_no_conflict(server: str) -> None:
    (change,) = plan.websocket({"enable": True, "server": server, "ssl_ca": "*"}, URL)
    assert change.params["config"]["server"] == URL


def test_a_websocket_that_is_off_disturbs_nobody() -> None:
    """But what is overwritten is told."""
    (change,) = plan.websocket({"enable": False, "server": HOME_ASSISTANT, "ssl_ca": "*"}, URL)
    assert change.before == f"off, {HOME_ASSISTANT}"


def test_the_operators_own_certificate_stays() -> None:
    secure = URL.replace("ws:", "wss:")
    (change,) = plan.websocket({**OFF, "ssl_ca": "user_ca.pem"}, secure)
    assert "ssl_ca" not in change.params["config"]
    (change,) = plan.websocket(OFF, secure)
    assert change.params["config"]["ssl_ca"] == "*"


foreign_hooks = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.none() | st.sampled_from(["", "door", "edge-energy-backup", "my edge-energy"]),
            "event": st.sampled_from(sorted(EVENTS)),
            "cid": st.just(0),
            "enable": st.booleans(),
            "urls": st.just(["http://192.168.1.9/hook"]),
        }
    ),
    max_size=10,
)
old_hooks = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from([*(hook.name for hook in wanted()), "edge-energy", "edge-energy old 3"]),
            "event": st.sampled_from(sorted(EVENTS)),
            "cid": st.integers(0, 3),
            "enable": st.booleans(),
            "urls": st.lists(st.sampled_from([BASE, "http://192.168.1.200:8000/webhook/x"]), max_size=3),
            "ssl_ca": st.sampled_from(["ca.pem", "*", "user_ca.pem"]),
        }
    ),
    max_size=6,
)


@given(foreign_hooks, old_hooks, st.none() | st.just(TOKEN), st.sampled_from([BASE, BASE.replace("http:", "https:")]))
def test_webhooks_are_planned_once(
    foreign: list[dict[str, Any]], old: list[dict[str, Any]], token: str | None, base: str
) -> None:
    """Applying a plan leads to an empty plan; each hook of ours is there once, those of others are as they were."""
    listed = [{"id": number, **hook} for number, hook in enumerate([*foreign, *old])]
    device, hooked = FakeDevice(hooks=listed), wanted(token, base=base)
    device.apply(plan.webhooks(device.hooks, hooked))
    assert plan.webhooks(device.hooks, hooked) == []
    mine = [hook for hook in device.hooks if plan.ours(hook)]
    assert sorted((h["event"], h["cid"], h["urls"]) for h in mine) == sorted(
        (h.event, h.cid, [h.url]) for h in hooked
    )
    assert [hook for hook in device.hooks if not plan.ours(hook)] == listed[: len(foreign)]


def test_a_condition_of_the_operator_stays() -> None:
    device = FakeDevice()
    device.apply(plan.webhooks([], wanted()))
    device.hooks[0]["condition"] = "ev.apower > 20"
    assert plan.webhooks(device.hooks, wanted()) == []


def test_no_webhook_is_made_where_there_is_no_room() -> None:
    full = [{"id": number, "name": "door", "urls": []} for number in range(17)]
    with pytest.raises(plan.Conflict, match="takes 20"):
        plan.webhooks(full, wanted())
    assert len(plan.webhooks(full[1:], wanted())) == 4


def test_webhooks_tell_what_the_event_knows() -> None:
    """Only the events of the power have `ev.apower`, and only those of the relay know its state."""
    urls = {hook.event: hook.url for hook in wanted()}
    rest = '&voltage=${status["switch:0"].voltage}&current=${status["switch:0"].current}'
    energy = '&energy=${status["switch:0"].aenergy.total}&ret_aenergy=${status["switch:0"].ret_aenergy.total}'
    power = f"{BASE}?power=${{ev.apower}}{energy}{rest}"
    assert urls["switch.active_power_change"] == urls["switch.active_power_measurement"] == power
    assert urls["switch.on"] == f'{BASE}?output=true&power=${{status["switch:0"].apower}}{energy}{rest}'
    assert urls["switch.off"] == urls["switch.on"].replace("true", "false")


def test_further_channels_have_numbers_and_measure_only_what_they_can() -> None:
    status = {"switch:1": {"output": False}, "switch:2": {"apower": 1.0, "voltage": None}}
    urls = [hook.url.removeprefix(BASE) for hook in wanted(status=status)]
    assert urls[:2] == ["?output_1=true", "?output_1=false"]
    assert urls[2] == '?output_2=true&power_2=${status["switch:2"].apower}'
    assert urls[4:] == ["?power_2=${ev.apower}"] * 2


def test_a_device_without_a_counter_of_returned_energy_is_not_asked_for_it() -> None:
    """An expression that fails spoils the whole webhook."""
    switch = {name: value for name, value in STATUS["switch:0"].items() if name != "ret_aenergy"}
    urls = [hook.url for hook in wanted(status={"switch:0": switch})]
    assert all("&energy=" in url and "ret_aenergy" not in url for url in urls)


@given(st.integers(1, 120), st.none() | st.just(TOKEN), st.integers(0, 19))
def test_no_url_is_longer_than_a_device_takes(length: int, token: str | None, cid: int) -> None:
    """Then the least important quantities are left out and named; the token never is."""
    base = f"https://{'h' * length}:8000/webhook/shelly-ec62608ab9a4"
    made = hooks.hooks(base, {f"switch:{cid}": STATUS["switch:0"]}, EVENTS, token)
    for hook in made.hooks:
        assert len(hook.url) <= hooks.LONGEST_URL
        assert (f"token={TOKEN}" in hook.url) == (token is not None)
        assert any(name in hook.url for name in ("power", "output"))
        assert ("&energy" in hook.url) == ("&ret_aenergy" in hook.url)
    assert ("current" in " ".join(made.left_out)) == any("current" not in hook.url for hook in made.hooks)


def test_a_usual_url_has_room_for_a_token_and_the_counter() -> None:
    """The longest IPv4 address, a port of five digits, a token."""
    base = "http://192.168.100.100:18000/webhook/shelly-ec62608ab9a4"
    for hook in hooks.hooks(base, STATUS, EVENTS, TOKEN).hooks:
        assert "energy=" in hook.url
        assert "power=" in hook.url


def test_the_events_of_old_and_new_firmware_are_read() -> None:
    assert hooks.supported({"types": {"switch.on": {}, "switch.off": {"attrs": []}}}) == {"switch.on", "switch.off"}
    assert hooks.supported({"hook_types": ["switch.on", 5]}) == {"switch.on"}
    assert hooks.supported({}) == set()


mqtt_configs = st.fixed_dictionaries(
    {
        "enable": st.booleans(),
        "server": st.sampled_from([None, "192.168.1.5:1883", "192.168.1.9:1883"]),
        "user": st.none() | st.sampled_from(["meter", "edge"]),
        "ssl_ca": st.sampled_from([None, "*", "user_ca.pem"]),
        "rpc_ntf": st.booleans() | st.none(),
        "status_ntf": st.booleans() | st.none(),
        "topic_prefix": st.just("house/plug"),
    }
)
brokers = st.builds(
    plan.Broker, st.just(BROKER.server), st.booleans(), st.none() | st.just("edge"), st.none() | st.just("secret")
)


@given(mqtt_configs, brokers, st.booleans())
def test_mqtt_is_planned_once(config: dict[str, Any], broker: plan.Broker, connected: bool) -> None:  # noqa: FBT001 - made by hypothesis
    """Applying a plan leads, once the device is connected, to an empty plan; the topic prefix stays."""
    device = FakeDevice(mqtt=config)
    device.apply(plan.mqtt(config, broker, connected=connected, replace=True))
    assert device.mqtt["topic_prefix"] == config["topic_prefix"]
    assert (device.mqtt["enable"], device.mqtt["server"]) == (True, broker.server)
    assert (device.mqtt["ssl_ca"] is not None) == broker.tls
    assert plan.mqtt(device.mqtt, broker, connected=True) == []


def test_mqtt_is_switched_on_with_notifications() -> None:
    (change,) = plan.mqtt(MQTT, BROKER, connected=False)
    assert change.method == "Mqtt.SetConfig"
    assert change.params == {"config": {"enable": True, "server": BROKER.server, "status_ntf": True}}
    assert (change.before, change.after) == ("off", "192.168.1.5:1883, rpc_ntf and status_ntf")


def test_somebody_elses_broker_is_a_conflict() -> None:
    config = {**MQTT, "enable": True, "server": "homeassistant:1883"}
    with pytest.raises(plan.Conflict, match=r"homeassistant:1883.*--replace"):
        plan.mqtt(config, BROKER, connected=True)
    assert plan.mqtt(config, BROKER, connected=True, replace=True)


def test_a_login_of_its_own_stays_unless_another_is_asked_for() -> None:
    config = {**MQTT, "enable": True, "server": BROKER.server, "user": "meter", "status_ntf": True}
    for connected in (True, False):
        assert plan.mqtt(config, BROKER, connected=connected) == []
    (change,) = plan.mqtt(config, plan.Broker(BROKER.server, user="edge", password="hush"), connected=True)
    assert change.params == {"config": {"user": "edge", "pass": "hush"}}
    assert change.after == "192.168.1.5:1883 as edge, rpc_ntf and status_ntf, with a new password"


def test_a_login_that_does_not_work_is_sent_again() -> None:
    """Nobody can read a device's password: only that it is not connected says that it may be wrong."""
    own = plan.Broker(BROKER.server, user="edge", password="hush")
    config = {**MQTT, "enable": True, "server": BROKER.server, "user": "edge", "status_ntf": True}
    assert plan.mqtt(config, own, connected=True) == []
    (change,) = plan.mqtt(config, own, connected=False)
    assert change.params == {"config": {"pass": "hush"}}
    (change,) = plan.mqtt({**config, "user": None}, own, connected=True)
    assert change.params == {"config": {"user": "edge", "pass": "hush"}}


texts = st.text(max_size=40) | st.sampled_from([URL, HOME_ASSISTANT, "ws://[", "//", "http://a@b/c?d=e&token=f"])


@given(texts)
def test_any_address_can_be_shown(text: str) -> None:
    assert plan.without_secrets(text)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (URL, "ws://192.168.1.5:8000/shelly/ws/…"),
        ("ws://user:hush@host:1/api?auth=hush", "ws://host:1/api?auth=…"),
        ("mqtt.example.org:1883", "mqtt.example.org:1883"),
        (f"{BASE}?power=${{ev.apower}}&output=true&token=hush", f"{BASE}?power=${{ev.apower}}&output=true&token=…"),
        (None, "none"),
    ],
)
def test_what_is_shown_has_no_secrets(url: object, shown: str) -> None:
    assert plan.without_secrets(url) == shown


@given(socket_configs, mqtt_configs, old_hooks)
def test_no_change_tells_a_secret(socket: dict[str, Any], mqtt: dict[str, Any], old: list[dict[str, Any]]) -> None:
    """`what`, `before` and `after` are printed and answered; tokens and passwords are in `params` only."""
    listed = [{"id": number, **hook, "urls": [f"{BASE}?token={OTHER_TOKEN}"]} for number, hook in enumerate(old)]
    broker = plan.Broker(BROKER.server, user="edge", password="hush")
    changes = plan.websocket(socket, URL, replace=True) + plan.webhooks(listed, wanted(TOKEN))
    changes += plan.mqtt(mqtt, broker, connected=False, replace=True)
    for change in changes:
        shown = f"{change.what} {change.before} {change.after}"
        assert not any(secret in shown for secret in ("hush", TOKEN[12:], OTHER_TOKEN[12:]))
