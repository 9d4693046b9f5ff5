"""Commands and requests do what they do with Zigbee2MQTT, and refusals are logged as there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from simulator.house import DESK, TELEVISION

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("bureau/set", '{"state":"OFF"}'),
        ("bureau/set", '{"state":"off"}'),
        ("bureau/set", "OFF"),
        ("bureau/set", '{"state":"TOGGLE"}'),
        ("bureau/set/state", "off"),
        ("bureau/set/state", '"OFF"'),
    ],
)
def test_every_way_to_switch_off(bench: Callable[..., Any], topic: str, payload: str) -> None:
    """The relay opens, the answer comes at once, and the power goes."""
    a_bench = bench()
    (answer,) = a_bench.send(topic, payload)
    assert answer.topic == "zigbee2mqtt/bureau"
    assert orjson.loads(answer.payload)["state"] == "OFF"
    assert a_bench.house.outlets[DESK].sample.power == 0


def test_after_off_the_cache_shows_the_old_power_until_the_next_report(
    bench: Callable[..., Any], decoded: Callable[..., Any]
) -> None:
    """Trap of the merged cache: state OFF beside a power that is no more; the report follows within its interval."""
    a_bench = bench()
    a_bench.run(30)
    answer = decoded(a_bench.send(f"{DESK}/set", "OFF"))[0]
    assert answer["state"] == "OFF"
    assert answer["power"] > 50
    later = decoded(a_bench.run(11), DESK)
    assert later[-1]["power"] == 0
    assert later[-1]["current"] == 0


def test_a_device_can_be_addressed_by_its_address_and_its_accents(bench: Callable[..., Any]) -> None:
    """Both the IEEE address and a friendly name with a slash and accents reach the device."""
    a_bench = bench()
    a_bench.send(f"{a_bench.device(DESK).ieee_address}/set", "OFF")
    a_bench.send("salon/télévision/set", '{"state":"OFF"}')
    assert not a_bench.house.outlets[DESK].output
    assert not a_bench.house.outlets[TELEVISION].output


def test_a_timed_on_is_reported_by_the_device_and_counts_real_seconds(
    bench: Callable[..., Any], decoded: Callable[..., Any]
) -> None:
    """No optimistic answer; ON and later OFF come from the device, at speed 10 after ten times the house time."""
    a_bench = bench(speed=10)
    a_bench.send("bureau/set", "OFF")
    a_bench.run(2)
    assert a_bench.send("bureau/set", '{"state":"ON","on_time":3}') == []
    assert decoded(a_bench.run(1), DESK)[0]["state"] == "ON"
    a_bench.run(29)
    assert a_bench.house.outlets[DESK].output
    assert decoded(a_bench.run(2), DESK)[-1]["state"] == "OFF"


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("nobody/set", "OFF"),
        ("bureau/set", "garbage"),
        ("bureau/set", ""),
        ("bureau/set", "null"),
        ("bureau/set", "[1]"),
        ("bureau/set", '{"state":true}'),
        ("bureau/set", '{"state":"MAYBE"}'),
        ("bureau/set", '{"brightness":5}'),
        ("bureau/set", '{"on_time":5}'),
        ("bureau/set", '{"state":"ON","on_time":"5"}'),
        ("bureau/set", '{"state":"ON","on_time":true}'),
        ("bureau/set", '{"state":"ON","on_time":-1}'),
        ("bureau/set", '{"state":"ON","on_time":7000}'),
        ("Pompe à chaleur/set", "OFF"),
        ("chambre/climat/set", "OFF"),
    ],
)
def test_what_cannot_be_done_is_logged(bench: Callable[..., Any], topic: str, payload: str) -> None:
    """A refused command changes nothing and says why on bridge/logging."""
    a_bench = bench()
    (answer,) = a_bench.send(topic, payload)
    assert answer.topic == "zigbee2mqtt/bridge/logging"
    assert orjson.loads(answer.payload)["level"] == "error"
    assert all(outlet.output for outlet in a_bench.house.outlets.values())


def test_get_reads_the_device(bench: Callable[..., Any], decoded: Callable[..., Any]) -> None:
    """A get publishes what was asked for; of what the device does not have there is no answer."""
    a_bench = bench(cache_state=False)
    (body,) = decoded(a_bench.send("bureau/get", '{"state":""}'))
    assert body["state"] == "ON"
    assert "power" not in body
    assert a_bench.send("bureau/get", '{"colour":""}') == []


def test_health_check_echoes_the_transaction(bench: Callable[..., Any], decoded: Callable[..., Any]) -> None:
    """A request is answered on bridge/response with its transaction; what is not a command is left alone."""
    a_bench = bench()
    answers = a_bench.send("bridge/request/health_check", '{"transaction":"7a"}')
    assert answers[0].topic == "zigbee2mqtt/bridge/response/health_check"
    assert decoded(answers)[0] == {"data": {"healthy": True}, "status": "ok", "transaction": "7a"}
    assert "transaction" not in decoded(a_bench.send("bridge/request/health_check", ""))[0]
    assert list(a_bench.send("bridge/state", "x")) == []
