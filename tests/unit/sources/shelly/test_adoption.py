"""Adoption: what is changed in a device, what is refused before, and which reading proves that it worked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from edge_energy.clock import uptime
from edge_energy.config import Http, Mqtt, Settings, Shelly
from edge_energy.devices.shelly_rpc import RpcError
from edge_energy.errors import EdgeEnergyError, Unavailable, UnreadablePayload
from edge_energy.live import Live
from edge_energy.reading import Reading
from edge_energy.sources.shelly import patient
from edge_energy.sources.shelly.addresses import BadAddress, Place
from edge_energy.sources.shelly.adoption import Adoption, CannotAdopt, HalfAdopted
from edge_energy.sources.shelly.plan import Conflict
from edge_energy.sources.shelly.preparation import Missing
from edge_energy.sources.shelly.session import Throttled, WrongPassword
from edge_energy.ways import Ways
from tests.unit.sources.shelly.fake_device import DEVICE, FakeDevice

ADDRESS = "127.0.0.1:8123"
SETTINGS = Settings(http=Http(), mqtt=(Mqtt(),))
WAYS = {"websocket": "outbound websocket", "webhook": "webhook", "mqtt": "mqtt 127.0.0.1:1883"}


class FakeTokens:
    """Tokens by number."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    async def create(self, name: str) -> str:
        """Make one."""
        text = f"ee_{len(self.names):08x}_" + "s" * 43
        self.names[text] = name
        return text

    def valid(self, text: str) -> bool:
        """Look one up."""
        return text in self.names

    async def revoke(self, text: str) -> None:
        """End one."""
        del self.names[text]


class House:
    """A daemon's parts, and one device, which is heard by its way as soon as a change counts."""

    def __init__(self, settings: Settings = SETTINGS, **device: Any) -> None:
        self.live = Live()
        self.ways = Ways()
        self.tokens = FakeTokens()
        self.device = FakeDevice(**device)
        self.connected: list[tuple[Place, str | None]] = []
        self.adoption = Adoption(settings, self.live, self.ways, self.tokens, self._connect)

    def _connect(self, place: Place, password: str | None) -> FakeDevice:
        self.connected.append((place, password))
        return self.device

    def hears(self, way: str) -> None:
        """Take a reading that comes a second from now, when a restart is over."""
        self.ways.news(Reading(DEVICE, None, {"power": 1.0}), way, uptime() + 1_000_000_000)

    async def adopt(self, via: str = "websocket", **wish: Any) -> dict[str, Any]:
        """Adopt the device."""
        return await self.adoption.adopt({"address": ADDRESS, "via": via, "wait": 0.3, **wish})


@pytest.mark.parametrize("via", WAYS)
async def test_a_device_is_set_up_once(via: str) -> None:
    """The second time nothing is changed, no token is made, and the device is not restarted."""
    house = House()
    house.device.after = lambda: house.hears(WAYS[via])
    first = await house.adopt(via)
    assert first["device"] == DEVICE
    assert (first["name"], first["model"]) == ("Boiler", "Pro1PM SPSW-201PE16EU")
    assert first["changes"]
    assert first["verified_seconds"] is not None
    assert first["problems"] == []
    assert first["rebooted"] == (via != "webhook")
    changed, tokens = list(house.device.changed), dict(house.tokens.names)

    second = await house.adopt(via)
    assert second["changes"] == second["problems"] == []
    assert second["verified_seconds"] == 0.0
    assert not second["rebooted"]
    assert (house.device.changed, house.tokens.names) == (changed, tokens)
    assert house.device.reboots == first["rebooted"]


async def test_the_device_gets_a_token_of_its_own() -> None:
    """Whoever answers on that socket has the device in hand: its URL carries a secret, which is not shown."""
    house = House()
    house.device.after = lambda: house.hears("outbound websocket")
    report = await house.adopt()
    ((token, name),) = house.tokens.names.items()
    assert name == DEVICE
    assert house.device.ws["server"] == f"ws://127.0.0.1:8000/shelly/ws/{token}"
    assert report["changes"] == [
        {"what": "outbound WebSocket", "before": "off", "after": "ws://127.0.0.1:8000/shelly/ws/…"}
    ]
    assert token not in str(report)


async def test_a_token_that_ended_is_replaced_and_a_valid_one_moves_along() -> None:
    house = House()
    house.device.after = lambda: house.hears("outbound websocket")
    await house.adopt()
    (token,) = house.tokens.names
    await house.adopt(server="pi.local:9000")
    assert house.device.ws["server"] == f"ws://pi.local:9000/shelly/ws/{token}"
    house.tokens.names = {"ee_ffffffff_other": "somebody"}
    await house.adopt(server="pi.local:9000")
    assert not house.device.ws["server"].endswith(token)
    assert house.tokens.valid(house.device.ws["server"].rpartition("/")[2])


@pytest.mark.parametrize("via", WAYS)
async def test_a_dry_run_changes_nothing(via: str) -> None:
    house = House()
    report = await house.adopt(via, dry_run=True)
    assert report["changes"]
    assert report["verified_seconds"] is None
    assert not report["rebooted"]
    assert report["problems"] == []
    assert (house.device.changed, house.device.reboots) == ([], 0)
    assert not house.tokens.names
    assert not house.live.devices


async def test_a_dry_run_shows_what_will_be_done() -> None:
    house = House()
    house.device.after = lambda: house.hears("outbound websocket")
    assert (await house.adopt(dry_run=True))["changes"] == (await house.adopt())["changes"]


@pytest.mark.parametrize("via", ["websocket", "mqtt"])
async def test_a_conflict_leaves_nothing_behind(via: str) -> None:
    other = {"enable": True, "server": "192.168.1.9:8123"}
    house = House(ws=other, mqtt=other)
    with pytest.raises(Conflict, match="--replace"):
        await house.adopt(via)
    assert not house.tokens.names
    assert not house.device.changed
    house.device.after = lambda: house.hears(WAYS[via])
    assert (await house.adopt(via, replace=True))["verified_seconds"] is not None


async def test_a_token_that_the_device_did_not_take_ends() -> None:
    house = House()
    house.device.answers["Ws.SetConfig"] = Unavailable("it went away")
    with pytest.raises(Unavailable):
        await house.adopt()
    assert not house.tokens.names


async def test_a_device_that_stops_answering_in_the_middle_can_be_adopted_again() -> None:
    """The error says how far it came."""
    house = House(Settings(http=Http(webhook_auth=True)))
    house.device.after = lambda: house.device.answers.update({"Webhook.Create": Unavailable("it went away")})
    with pytest.raises(HalfAdopted, match="it went away; 1 of 4 changes"):
        await house.adopt("webhook")
    assert not house.tokens.names
    house.device.answers.clear()
    house.device.after = lambda: house.hears("webhook")
    assert (await house.adopt("webhook"))["verified_seconds"] is not None
    assert len(house.device.hooks) == 4


async def test_a_restart_that_fails_keeps_the_token() -> None:
    """The device has taken its address already, and will use it when it is restarted."""
    house = House()
    house.device.answers["Shelly.Reboot"] = Unavailable("it went away")
    with pytest.raises(HalfAdopted):
        await house.adopt()
    assert house.tokens.valid(house.device.ws["server"].rpartition("/")[2])


async def test_a_device_with_too_many_requests_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Firmware 2 answers 429 to whoever asks fast; giving up half-way would be worse."""
    monkeypatch.setattr(patient, "PAUSES", (0.01, 0.01))
    house = House()
    calls = iter([Throttled("shelly"), Throttled("shelly", 0.01)])
    usual = house.device.call

    async def call(method: str, params: dict[str, Any] | None = None) -> Any:
        if method == "Ws.SetConfig" and (error := next(calls, None)) is not None:
            raise error
        return await usual(method, params)

    monkeypatch.setattr(house.device, "call", call)
    house.device.after = lambda: house.hears("outbound websocket")
    assert (await house.adopt())["verified_seconds"] is not None
    house.device.answers["Shelly.GetStatus"] = Throttled("shelly")
    with pytest.raises(Throttled):
        await house.adopt()


async def test_no_reading_is_a_problem_that_says_what_to_look_at() -> None:
    for via, hint in (("websocket", "firewall"), ("webhook", "switch something on"), ("mqtt", "broker's user")):
        report = await House().adopt(via)
        assert report["verified_seconds"] is None
        (problem,) = report["problems"]
        assert hint in problem


async def test_only_a_reading_after_the_change_counts() -> None:
    """What came by the same way before the restart may have come from the place before."""
    house = House(ws={"enable": True, "server": "ws://192.168.1.9/other"})
    house.ways.news(Reading(DEVICE, None, {"power": 1.0}), "outbound websocket", uptime())
    assert (await house.adopt(replace=True))["verified_seconds"] is None


@pytest.mark.parametrize("way", ["websocket", "rpc", "webhook", "mqtt 127.0.0.1:1883"])
async def test_only_a_reading_by_the_same_way_counts(way: str) -> None:
    house = House()
    house.device.after = lambda: house.hears(way)
    assert (await house.adopt())["verified_seconds"] is None


async def test_a_restart_that_is_due_is_made_up_for() -> None:
    """The daemon ended between the change and the restart."""
    house = House()
    await house.adopt()
    house.device.status["sys"] = {"restart_required": True}
    house.device.after = lambda: house.hears("outbound websocket")
    report = await house.adopt()
    assert (report["changes"], report["rebooted"]) == ([], True)
    assert report["verified_seconds"] is not None


@pytest.mark.parametrize(
    ("initial", "output", "told"), [("off", True, 1), ("on", True, 0), ("match_input", False, 1)]
)
async def test_a_restart_that_switches_is_announced(initial: str, output: bool, told: int) -> None:  # noqa: FBT001 - a state
    """A relay takes its initial state at each restart: somebody's load may go off."""
    house = House()
    house.device.initial_state, house.device.status["switch:0"]["output"] = initial, output
    assert len((await house.adopt(dry_run=True))["problems"]) == told
    assert (await house.adopt("webhook", dry_run=True))["problems"] == []


async def test_webhooks_carry_a_token_where_one_is_asked_for() -> None:
    house = House(Settings(http=Http(webhook_auth=True)))
    house.device.after = lambda: house.hears("webhook")
    report = await house.adopt("webhook")
    ((token, name),) = house.tokens.names.items()
    assert name == DEVICE
    assert len(house.device.hooks) == 4
    assert all(hook["urls"][0].endswith(f"&token={token}") for hook in house.device.hooks)
    assert token not in str(report)
    assert (await house.adopt("webhook"))["changes"] == []
    assert len(house.tokens.names) == 1


async def test_webhooks_need_no_token_where_everybody_may_send() -> None:
    house = House()
    await house.adopt("webhook")
    assert not house.tokens.names
    assert not any("token" in hook["urls"][0] for hook in house.device.hooks)


async def test_a_device_without_a_relay_has_no_webhooks() -> None:
    house = House()
    house.device.status = {"em:0": {"total_act_power": 5.0}}
    with pytest.raises(Missing, match="--via websocket"):
        await house.adopt("webhook")


async def test_the_broker_is_named_as_the_device_sees_it() -> None:
    for host, server in (("127.0.0.1", "127.0.0.1:1883"), ("localhost", "127.0.0.1:1883"), ("mq.lan", "mq.lan:1883")):
        house = House(Settings(mqtt=(Mqtt(host=host),)))
        await house.adopt("mqtt")
        assert house.device.mqtt["server"] == server
        assert house.device.mqtt["user"] is None


async def test_the_daemon_s_own_login_stays_its_own() -> None:
    """Who opens a device, or reads its page, could read the whole house with it."""
    house = House(Settings(mqtt=(Mqtt(username="edge", password=SecretStr("hush")),)))
    with pytest.raises(Missing, match="--mqtt-user"):
        await house.adopt("mqtt")
    report = await house.adopt("mqtt", mqtt_user="plug", mqtt_password="other")
    assert house.device.mqtt["user"] == "plug"
    assert report["changes"][0]["after"].endswith("with a new password")
    assert "other" not in str(report)


async def test_a_topic_to_which_nobody_listens_is_refused() -> None:
    house = House(mqtt={"topic_prefix": "house/plug"})
    with pytest.raises(Missing, match=r"'house/plug'.*\[\[mqtt\]\] shelly"):
        await house.adopt("mqtt")
    listening = House(Settings(mqtt=(Mqtt(shelly=("house/+",)),)), mqtt={"topic_prefix": "house/plug"})
    await listening.adopt("mqtt")
    assert listening.device.mqtt["topic_prefix"] == "house/plug"


@pytest.mark.parametrize(
    ("settings", "via", "hint"),
    [
        (Settings(), "websocket", r"\[http\]"),
        (Settings(), "webhook", r"\[http\]"),
        (Settings(), "mqtt", r"\[\[mqtt\]\]"),
        (Settings(mqtt=(Mqtt(shelly=()),)), "mqtt", r"\[\[mqtt\]\] shelly"),
    ],
)
async def test_what_the_daemon_lacks_is_named(settings: Settings, via: str, hint: str) -> None:
    house = House(settings)
    with pytest.raises(Missing, match=hint):
        await house.adopt(via)
    assert not house.device.changed


async def test_a_device_of_the_first_generation_is_for_the_configuration() -> None:
    house = House()
    house.device.info = {"type": "SHSW-PM", "mac": "A1B2C3D4E5F6", "auth": True, "fw": "1"}
    with pytest.raises(CannotAdopt) as refused:
        await house.adopt()
    assert '[[shelly]]\n    host = "127.0.0.1"\n    port = 8123\n    username = "admin"' in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    "info", [{}, {"id": "printer", "gen": 2}, {"id": "shellypro1pm-ec62608ab9a4", "gen": "2"}, []]
)
async def test_whoever_is_no_shelly_is_left_alone(info: Any) -> None:
    house = House()
    house.device.info = info
    with pytest.raises(EdgeEnergyError):
        await house.adopt()
    assert not house.device.asked


async def test_a_password_is_asked_for_before_anything_else() -> None:
    house = House(info={"auth_en": True})
    with pytest.raises(CannotAdopt, match="SHELLY_PASSWORD"):
        await house.adopt()
    assert not house.device.asked
    await house.adopt(password="hush", dry_run=True)
    assert house.connected[-1] == (Place("127.0.0.1", 8123), "hush")


async def test_a_wrong_password_says_where_it_comes_from() -> None:
    house = House(info={"auth_en": True})
    house.device.answers["Shelly.GetStatus"] = WrongPassword("shelly", given=True)
    with pytest.raises(CannotAdopt, match=r"refuses the password.*--password") as refused:
        await house.adopt(password="hush")
    assert "hush" not in str(refused.value)


async def test_the_configured_password_is_used() -> None:
    shelly = Shelly(host="127.0.0.1", port=8123, password=SecretStr("known"))
    house = House(Settings(http=Http(), shelly=(shelly,)), info={"auth_en": True})
    await house.adopt(dry_run=True)
    assert house.connected == [(Place("127.0.0.1", 8123), "known")]
    other = House(Settings(http=Http(), shelly=(shelly.model_copy(update={"port": 81}),)), info={"auth_en": True})
    with pytest.raises(CannotAdopt):
        await other.adopt(dry_run=True)


@pytest.mark.parametrize(
    "method", ["Shelly.GetStatus", "Ws.GetConfig", "Switch.GetConfig", "Webhook.List", "Webhook.ListSupported"]
)
@pytest.mark.parametrize("answer", [None, [], "text", 5, RpcError(404, "No handler")])
async def test_nonsense_of_the_device_is_an_error_in_words(method: str, answer: Any) -> None:
    house = House()
    house.device.answers[method] = answer
    with pytest.raises(EdgeEnergyError):
        await house.adopt("webhook" if method.startswith("Webhook") else "websocket")
    assert not house.device.changed
    assert not house.tokens.names


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"address": 5},
        {"address": "192.168.1.7", "via": "pigeon"},
        {"address": "192.168.1.7", "dry_run": "perhaps"},
        {"address": "192.168.1.7", "passwort": "hush"},
        {"address": "192.168.1.7", "password": ["hush"]},
    ],
)
async def test_a_wrong_wish_is_refused_without_its_secrets(body: dict[str, Any]) -> None:
    with pytest.raises(UnreadablePayload) as refused:
        await House().adoption.adopt(body)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "0.0.0.0", "http://192.168.1.7", "192.168.1.7:0", "[::ffff:8.8.8.8]", ""]
)
async def test_the_daemon_speaks_with_the_local_network_only(address: str) -> None:
    house = House()
    with pytest.raises(BadAddress):
        await house.adoption.adopt({"address": address})
    assert not house.connected


async def test_one_device_is_adopted_at_a_time() -> None:
    house = House()
    first = asyncio.create_task(house.adopt())
    await asyncio.sleep(0)
    with pytest.raises(CannotAdopt, match="another device"):
        await house.adopt()
    await first
    await house.adopt()
