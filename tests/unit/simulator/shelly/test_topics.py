"""Over MQTT a device says what its configuration allows and does what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from simulator.shelly.topics import Gen1Topics, Gen2Topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from simulator.message import Message


def gen2(device: Any, **config: Any) -> Gen2Topics:
    device.gen2.mqtt.configure(config)
    device.reboot()
    return Gen2Topics(device.gen2, device.methods)


def by_topic(messages: Iterable[Message]) -> dict[str, bytes]:
    return {message.topic: message.payload for message in messages}


def test_hello(bench: Callable[..., Any]) -> None:
    """Online, retained, with a last will that says the opposite; then the full status."""
    device = bench("pro1pm")
    topics = gen2(device, topic_prefix="garage/post")
    said = list(topics.hello())
    assert (said[0].topic, said[0].payload, said[0].retain) == ("garage/post/online", b"true", True)
    assert (topics.last_will.topic, topics.last_will.payload) == ("garage/post/online", b"false")
    frame = orjson.loads(said[1].payload)
    assert (said[1].topic, frame["method"]) == ("garage/post/events/rpc", "NotifyFullStatus")
    assert (frame["src"], frame["dst"]) == (device.gen2.identity.id, "garage/post/events")
    assert "switch:0" in frame["params"]


@pytest.mark.parametrize(("rpc_ntf", "status_ntf"), [(True, False), (True, True), (False, True), (False, False)])
def test_news(bench: Callable[..., Any], rpc_ntf: bool, status_ntf: bool) -> None:  # noqa: FBT001
    """As frames, as whole statuses, both or neither."""
    device = bench("pro1pm")
    topics = gen2(device, topic_prefix="p", rpc_ntf=rpc_ntf, status_ntf=status_ntf)
    device.run(1)
    said = by_topic(topics.news(device.run(3, power=1000)))
    assert ("p/events/rpc" in said) is rpc_ntf
    assert ("p/status/switch:0" in said) is status_ntf
    if status_ntf:
        assert orjson.loads(said["p/status/switch:0"])["aenergy"]


@pytest.mark.parametrize(
    ("payload", "output"),
    [("off", False), ("on", True), ("toggle", False), ("OFF", True), ("on,0", True), ("off,soon", True)],
)
def test_commands(bench: Callable[..., Any], payload: str, output: bool) -> None:  # noqa: FBT001
    """What is no command is answered on the error topic and does nothing."""
    device = bench("pro1pm")
    topics = gen2(device, topic_prefix="p")
    said = by_topic(topics.receive("p/command/switch:0", payload.encode()))
    assert device.switch()["output"] is output
    assert ("p/error/switch:0" in said) == (payload in {"OFF", "on,0", "off,soon"})


def test_a_command_with_seconds(bench: Callable[..., Any]) -> None:
    """`off,3` comes back by itself."""
    device = bench("pro1pm")
    list(gen2(device, topic_prefix="p").receive("p/command/switch:0", b"off,3"))
    assert device.switch()["timer_duration"] == 3
    device.run(4)
    assert device.switch()["output"]


def test_status_update(bench: Callable[..., Any]) -> None:
    """One status, or all of them."""
    device = bench("pro1pm")
    topics = gen2(device, topic_prefix="p")
    assert list(by_topic(topics.receive("p/command/switch:0", b"status_update"))) == ["p/status/switch:0"]
    assert len(list(topics.receive("p/command", b"status_update"))) == len(device.gen2.components)


def test_requests_are_answered_to_their_source(bench: Callable[..., Any]) -> None:
    """Without authentication, as in real devices; nonsense and requests without a source are not."""
    device = bench("pro1pm")
    device.gen2.digest.set_password("secret")
    topics = gen2(device, topic_prefix="p")
    ask = b'{"id":7,"src":"me/there","method":"Switch.Set","params":{"id":0,"on":false}}'
    (answer,) = topics.receive("p/rpc", ask)
    assert answer.topic == "me/there/rpc"
    assert orjson.loads(answer.payload)["result"] == {"was_on": True}
    (error,) = topics.receive("p/rpc", b'{"id":8,"src":"me","method":"X"}')
    assert orjson.loads(error.payload)["error"]["code"] == 404
    for payload in (b"", b"\xff", b"[]", b'{"id":9,"method":"Shelly.GetStatus"}'):
        assert list(topics.receive("p/rpc", payload)) == []


def test_gen1(bench: Callable[..., Any]) -> None:
    """Announcement, all values, commands to one and to all."""
    device = bench("gen1")
    topics = Gen1Topics(device.gen1)
    base = f"shellies/{device.gen1.identity.id}"
    said = by_topic(topics.hello())
    assert said[f"{base}/online"] == b"true"
    assert orjson.loads(said["shellies/announce"])["id"] == device.gen1.identity.id
    assert said[f"{base}/relay/0"] == b"on"
    assert by_topic(topics.receive(f"{base}/relay/0/command", b"off"))[f"{base}/relay/0"] == b"off"
    assert f"{base}/relay/0/energy" in by_topic(topics.receive("shellies/command", b"update"))
    assert f"{base}/announce" in by_topic(topics.receive(f"{base}/command", b"announce"))
    assert list(topics.receive(f"{base}/relay/0/command", b"\xff\xfe")) == []
