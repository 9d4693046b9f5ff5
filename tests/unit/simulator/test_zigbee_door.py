"""Zigbee devices can be disturbed, behave then as Zigbee2MQTT shows such devices, and the truth is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from simulator.house import DESK, HEAT_PUMP, TELEVISION
from simulator.zigbee_door import ZigbeeDoor
from tests.servers.base import wait_until
from tests.servers.zigbee import SimulatedZigbee

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from simulator.message import Message
    from tests.servers.mosquitto import Mosquitto


class Scene:
    """A bench with the door behind its bridge, as the simulator runs them."""

    def __init__(self, bench: Any, speed: float = 1.0) -> None:
        self.bench = bench
        self.house = bench.house
        self.door = ZigbeeDoor(bench.house, bench.bridge.devices, speed)
        self.truths: dict[str, dict[str, Any]] = {}
        self.news: list[Message] = []
        self._take(self.door.hello())
        self.run(2)

    def run(self, seconds: int) -> list[Any]:
        """Let time pass, and give the payloads of the desk."""
        before = len(self.news)
        for _ in range(seconds):
            self.news += self.bench.run(1)
            self._take(self.door.due())
        return [orjson.loads(m.payload) for m in self.news[before:] if m.topic == f"zigbee2mqtt/{DESK}"]

    def send(self, topic: str, payload: str) -> list[Message]:
        """Publish a message, give what the bridge says to it, and keep what the door says."""
        answers = list(self.bench.bridge.receive(topic, payload.encode()))
        self._take(self.door.receive(topic, payload.encode()))
        return answers

    def disturb(self, disturbance: str, payload: str = "", name: str = DESK) -> None:
        """Publish a disturbance; the truth must follow."""
        self.truths.pop(name, None)
        self.send(f"simulator/{name}/{disturbance}", payload)
        assert name in self.truths

    def command(self, payload: str, verb: str = "set") -> list[Any]:
        """Command the desk, and give the bodies that come back."""
        answers = self.send(f"zigbee2mqtt/{DESK}/{verb}", payload)
        return [{"topic": answer.topic, **orjson.loads(answer.payload)} for answer in answers]

    def truth(self, *names: str, device: str = DESK) -> tuple[Any, ...]:
        """Give some of the truth that was last told."""
        return tuple(self.truths[device][name] for name in names)

    def _take(self, messages: Any) -> None:
        for message in messages:
            assert (message.qos, message.retain) == (1, True)
            name = message.topic.removeprefix("simulator/").removesuffix("/truth")
            self.truths[name] = orjson.loads(message.payload)


@pytest.fixture
def scene(bench: Callable[..., Any]) -> Scene:
    return Scene(bench())


def test_all_relays_tell_the_truth_and_again_when_they_move(scene: Scene) -> None:
    """At first, after a command, and when the power moves; not otherwise. Meters without a relay tell nothing."""
    assert scene.truths.keys() == {device.name for device in scene.bench.bridge.devices if device.relay}
    assert HEAT_PUMP not in scene.truths
    assert scene.truth("ieee_address") == (scene.bench.device(DESK).ieee_address,)
    scene.command("OFF")
    assert scene.truth("output", "power", "edges") == (False, 0, 1)
    scene.truths.clear()
    scene.run(60)
    assert DESK not in scene.truths
    scene.command("ON")
    scene.run(1)
    output, power, edges = scene.truth("output", "power", "edges")
    assert (output, edges) == (True, 2)
    assert power > 50


def test_the_load(scene: Scene) -> None:
    """Forced, and given back."""
    scene.disturb("load", '{"watts":1500}')
    scene.run(1)
    assert scene.truth("power", "watts") == (1500, 1500)
    scene.disturb("load", '{"watts":null}')
    scene.run(1)
    assert scene.truth("watts") == (None,)
    assert scene.house.outlets[DESK].sample.power < 200


def test_a_deaf_device_is_believed_until_it_is_read(scene: Scene) -> None:
    """Zigbee2MQTT publishes what the device took; its own state, read, is the old one, and it reports no other."""
    scene.disturb("deaf", '{"on":true}')
    assert scene.command("OFF")[0]["state"] == "OFF"
    assert scene.truth("output", "edges") == (True, 0)
    scene.run(20)
    assert scene.command('{"state":""}', "get")[0]["state"] == "ON"
    assert scene.command('{"state":"ON","on_time":5}') == []
    assert scene.truth("timer") == (0,)
    scene.disturb("deaf", '{"on":false}')
    scene.command("OFF")
    assert scene.truth("output") == (False,)


def test_a_mute_device_is_out_of_reach(scene: Scene) -> None:
    """It reports nothing, a command is an error in the log and nothing else; after ten minutes it is offline."""
    scene.disturb("mute", '{"on":true}')
    assert scene.run(400) == []
    for verb, payload in (("set", "OFF"), ("set", '{"state":"ON","on_time":5}'), ("get", '{"state":""}')):
        (answer,) = scene.command(payload, verb)
        assert (answer["topic"], answer["level"]) == ("zigbee2mqtt/bridge/logging", "error")
    assert scene.truth("output", "edges") == (True, 0)
    scene.run(300)
    gone = [message for message in scene.news if message.topic == f"zigbee2mqtt/{DESK}/availability"]
    assert [(orjson.loads(message.payload), message.retain) for message in gone] == [({"state": "offline"}, True)]
    scene.disturb("mute", '{"on":false}')
    (body, *_) = scene.run(3)
    assert body["state"] == "ON"
    assert orjson.loads(scene.news[-1].payload) != {"state": "offline"}
    hello = {message.topic: message.payload for message in scene.bench.bridge.hello()}
    assert hello[f"zigbee2mqtt/{DESK}/availability"] == b'{"state":"online"}'


def test_a_welded_contact_is_said_to_be_open_and_draws(scene: Scene) -> None:
    """The device reports OFF and goes on reporting power."""
    scene.disturb("load", '{"watts":900}')
    scene.disturb("weld", '{"on":true}')
    scene.run(15)
    assert scene.command("OFF")[0]["state"] == "OFF"
    assert scene.truth("output", "power", "edges", "welded") == (False, 900, 1, True)
    last = scene.run(400)[-1]
    assert (last["state"], last["power"]) == ("OFF", 900)
    scene.disturb("weld", '{"on":false}')
    assert scene.truth("power") == (0,)


def test_the_button_is_reported_by_the_device(scene: Scene) -> None:
    """As the next report, not as an answer."""
    scene.disturb("press")
    assert scene.truth("output", "edges") == (False, 1)
    assert scene.run(1)[0]["state"] == "OFF"


def test_a_timer_counts_real_seconds(bench: Callable[..., Any]) -> None:
    """Sent again it begins anew, without an edge."""
    scene = Scene(bench(speed=10), speed=10)
    for _ in range(3):
        scene.command('{"state":"ON","on_time":3}')
        assert scene.truth("timer", "edges") == (3, 0)
        scene.run(20)
    scene.run(12)
    assert scene.truth("output", "timer", "edges") == (False, 0, 1)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("simulator/nobody/press", ""),
        (f"simulator/{DESK}/explode", ""),
        (f"simulator/{DESK}/load", '{"watts":"many"}'),
        (f"simulator/{DESK}/load", "{"),
        (f"simulator/{DESK}/truth", "{}"),
        ("simulator", ""),
        (f"other/{DESK}/press", ""),
    ],
)
def test_what_cannot_be_read_disturbs_nothing(scene: Scene, topic: str, payload: str) -> None:
    """And ends nothing."""
    scene.send(topic, payload)
    scene.run(1)
    assert scene.truth("output", "edges", "watts") == (True, 0, None)


def test_the_whole_over_a_broker(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """What a test does through `SimulatedZigbee` is carried out when it returns; a restart forgets it."""
    broker = mosquitto()
    with SimulatedZigbee(tmp_path, broker.port) as zigbee:
        wait_until(lambda: DESK in list(zigbee))  # they tell one after the other
        zigbee.load(DESK, 1500)
        wait_until(lambda: zigbee.truth(DESK)["power"] == 1500)
        assert zigbee.weld(DESK, True)["welded"]
        assert zigbee.press(DESK)["power"] == 1500
        zigbee.mute(TELEVISION, True)
        zigbee.command(TELEVISION, "OFF")
        zigbee.command(DESK, '{"state":"ON","on_time":100}')
        wait_until(lambda: zigbee.truth(DESK)["timer"] > 90)
        assert zigbee.truth(TELEVISION)["output"]
        zigbee.kill()
        zigbee.start()
        assert zigbee.truth(DESK)["edges"] == 0
        assert zigbee.device(DESK) == f"zigbee-{zigbee.truth(DESK)['ieee_address']}"
    assert zigbee.returncode == 0
    assert "Traceback" not in zigbee.log.read_text()
