"""Tuya-style messages of both protocols, what of them is recorded in which unit, and what was taken before."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_energy.config import Tuya, TuyaCode
from edge_energy.devices import tuya
from edge_energy.devices.tuya import Codes, Message, Property, UnknownMessage
from edge_energy.devices.tuya_seen import LASTING, MOST_DEVICES, MOST_RECENT, PREFIX, Seen
from edge_energy.errors import UnreadablePayload
from edge_energy.reading import Reading
from tests.fuzz_corpus.hostile import PAYLOADS, any_payloads, assert_sound
from tests.unit.samples import NOON, SECOND
from tests.unit.sources.mqtt.recorder import Disk

MILLISECOND = 10**6


def rule(quantity: str = "power", **more: Any) -> TuyaCode:
    return TuyaCode(code="x", quantity=quantity, **more)


def parse(payload: Any) -> Message:
    return tuya.parse(orjson.dumps(payload))


def message(*properties: Any, kind: str = "devicePropertyMessage", **data: Any) -> dict[str, Any]:
    return {"bizCode": kind, "bizData": {"devId": "plug", "properties": list(properties), **data}, "ts": 1}


def test_a_message_of_protocol_1000() -> None:
    given = {
        "bizCode": "devicePropertyMessage",
        "bizData": {
            "devId": "6cplug",
            "productId": "keyjup78v54myhan",
            "properties": [
                {"code": "instant_power", "dpId": 1, "time": 1732631573782, "value": 2500},
                {"code": "temp_interior", "dpId": 2, "time": 1732631573.5, "value": "21.5", "more": {}},
                {"code": "switch_1", "value": True},
            ],
        },
        "ts": 1732631573782,
    }
    properties = [
        Property("instant_power", 1732631573782 * MILLISECOND, 2500),
        Property("temp_interior", 17326315735 * 100 * MILLISECOND, "21.5"),
        Property("switch_1", None, True),
    ]
    assert parse(given) == Message("6cplug", "keyjup78v54myhan", None, properties)


def test_a_message_of_protocol_4() -> None:
    given = {
        "dataId": "AAXI",
        "devId": "6cplug",
        "productKey": "keyjup78v54myhan",
        "status": [{"code": "switch_1", "value": False, "t": 1628229842692, "1": "false"}, {"code": "a", "t": "5"}],
    }
    properties = [Property("switch_1", 1628229842692 * MILLISECOND, False), Property("a", 5 * SECOND, None)]
    assert parse(given) == Message("6cplug", "keyjup78v54myhan", None, properties)


@pytest.mark.parametrize(
    ("given", "online"),
    [
        ({"bizCode": "online", "devId": "plug", "productKey": "p", "ts": 1, "bizData": {"time": 1}}, True),
        ({"bizCode": "offline", "devId": "plug", "productKey": "p"}, False),
        ({"bizCode": "deviceOnline", "bizData": {"devId": "plug", "productId": "p", "time": 1}, "ts": 1}, True),
        ({"bizCode": "deviceOffline", "bizData": {"devId": "plug", "productId": "p"}}, False),
    ],
)
def test_messages_of_protocols_20_and_1001_are_about_availability(given: Any, online: bool) -> None:  # noqa: FBT001
    assert parse(given) == Message("plug", "p", online, [])


@pytest.mark.parametrize("kind", ["bindUser", "", "DEVICEONLINE", "x" * 10_000, "${x}"])
def test_another_kind_is_unknown(kind: str) -> None:
    with pytest.raises(UnknownMessage):
        parse(message(kind=kind))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"devId": "plug"},
        {"devId": "plug", "status": {}},
        {"devId": "plug", "properties": []},
        {"status": []},
        message(devId="a b"),
        message(devId=""),
        message(devId=5),
        message(devId=None),
        message(devId="x" * 65),
        message(5),
        message([]),
        message({}),
        message({"code": 5}),
        message({"code": ""}),
        message({"code": "x" * 65}),
        message(*[{"code": "x"}] * 257),
        message() | {"bizCode": 5},
        message() | {"bizCode": {}},
        {"bizCode": "devicePropertyMessage", "bizData": []},
        {"bizCode": "devicePropertyMessage", "bizData": None},
        {"bizCode": "online"},
        [],
        5,
    ],
)
def test_what_is_malformed_is_unreadable(given: Any) -> None:
    with pytest.raises(UnreadablePayload):
        parse(given)


@pytest.mark.parametrize("time", ["soon", True, [], {}, None, ""])
def test_a_time_that_is_none_is_left_out(time: Any) -> None:
    assert parse(message({"code": "x", "time": time, "value": 1})).properties == [Property("x", None, 1)]


def test_two_codes_are_recorded_of_every_device() -> None:
    codes = Codes([]).of(Message("plug", None, None, []))
    assert set(codes) == {"instant_power", "temp_interior"}
    assert tuya.recorded_values(codes["instant_power"], 2500) == {"power": 2500}
    assert tuya.recorded_values(codes["temp_interior"], 21) == {"temperature": 21}


def test_tables_add_codes_of_a_product_and_of_a_device() -> None:
    product = Tuya(product="p", codes=(TuyaCode(code="a", quantity="power"), TuyaCode(code="b", quantity="voltage")))
    device = Tuya(product=None, device="plug", codes=(TuyaCode(code="b", quantity="current"),))
    codes = Codes([device, product])
    both = codes.of(Message("plug", "p", None, []))
    assert (both["a"].quantity, both["b"].quantity, both["temp_interior"].quantity) == (
        "power",
        "current",
        "temperature",
    )
    assert set(codes.of(Message("other", "p", None, []))) == {"a", "b", "instant_power", "temp_interior"}
    assert codes.of(Message("other", "p", None, []))["b"].quantity == "voltage"
    assert set(codes.of(Message("plug", "q", None, []))) == {"b", "instant_power", "temp_interior"}
    assert set(codes.of(Message("other", None, None, []))) == {"instant_power", "temp_interior"}


@pytest.mark.parametrize(
    ("rule", "value", "found"),
    [
        (rule("power", scale=1), 425, {"power": 42.5}),
        (rule("power", scale=1), "425", {"power": 42.5}),
        (rule("power"), -12.5, {"power": -12.5}),
        (rule("voltage", scale=1), 2409, {"voltage": 240.9}),
        (rule("current", unit="mA"), 280, {"current": 0.28}),
        (rule("energy", scale=3, unit="kWh", increment=True), 12, {"energy_increment": 12}),
        (rule("energy_returned", scale=2, unit="kWh", increment=True), 1, {"energy_returned_increment": 10}),
        (rule("energy", scale=2, unit="kWh"), 1235, {"energy": 12350}),
        (rule("temperature", unit="°F", scale=1), 770, {"temperature": 25}),
        (rule("output"), True, {"output": True}),
        (rule("output_1"), "false", {"output_1": False}),
        (rule("output"), 1, {"output": True}),
        (rule("brightness"), 1000, {"brightness": 1000}),
        (rule("phase_a"), "CWkAARgAACo=", {"voltage_a": 240.9, "current_a": 0.28, "power_a": 42}),
        (rule("phase_c"), b64encode(bytes(8)).decode(), {"voltage_c": 0, "current_c": 0, "power_c": 0}),
    ],
)
def test_values_are_scaled_and_converted(rule: TuyaCode, value: Any, found: dict[str, Any]) -> None:
    values = tuya.recorded_values(rule, value)
    assert values == pytest.approx(found)
    assert_sound(values)
    assert tuya.is_increment(rule) == any(name.endswith("_increment") for name in found)


@pytest.mark.parametrize(
    ("rule", "value", "reason"),
    [
        (rule("voltage"), 2211, "voltage is outside -1000 to 1000 V"),  # a specification that says scale 0
        (rule("energy", increment=True), -1, "outside"),
        (rule("humidity"), 101, "outside"),
        (rule("brightness"), "9e9999", "outside"),
        (rule("power"), None, "not a number"),
        (rule("power"), True, "not a number"),
        (rule("power"), "", "not a number"),
        (rule("power"), "nan", "not a number"),
        (rule("power"), "12,5", "not a number"),
        (rule("power"), [1], "not a number"),
        (rule("power"), {}, "not a number"),
        (rule("output"), "maybe", "neither"),
        (rule("output"), None, "neither"),
        (rule("output"), [], "neither"),
        (rule("output"), 2, "neither"),
        (rule("phase_a"), "CWkAARgAACo", "base64"),
        (rule("phase_a"), "CWkAARgAACoA", "base64"),
        (rule("phase_a"), "é", "base64"),
        (rule("phase_a"), 5, "base64"),
        (rule("phase_a"), None, "base64"),
        (rule("phase_b"), b64encode(b"\xff" * 8).decode(), "voltage_b is outside"),
    ],
)
def test_a_value_that_can_be_no_measurement_is_refused_with_the_reason(
    rule: TuyaCode, value: Any, reason: str
) -> None:
    with pytest.raises(UnreadablePayload, match=reason):
        tuya.recorded_values(rule, value)


def test_other_codes_are_live_unless_they_are_named_like_a_quantity() -> None:
    """Whose scale nobody knows, and which others rely on."""
    for code, value, found in (
        ("cur_power", 425, {"cur_power": 425}),
        ("countdown_1", "60", {"countdown_1": 60}),
        ("switch_1", True, {"switch_1": 1}),
        ("mode", "eco", {}),
        ("x", [1], {}),
        ("x", None, {}),
        ("a b", 1, {}),
        ("power", 4250, {}),
        ("voltage_a", 2409, {}),
        ("output", True, {}),
    ):
        assert tuya.live_values(Property(code, None, value)) == found


def test_values_of_one_time_are_one_reading() -> None:
    taken: list[tuple[int | None, Any]] = [
        (None, {"power": 1.0}),
        (NOON, {"power": 2.0}),
        (NOON - 5, {"power": 3.0}),
        (NOON, {"temperature": 4.0}),
        (None, {"energy_increment": 5.0}),
        (None, {"energy_increment": 6.0}),
    ]
    assert tuya.readings("plug", taken) == [
        Reading("plug", NOON - 5, {"power": 3.0}),
        Reading("plug", NOON, {"power": 2.0, "temperature": 4.0}),
        Reading("plug", None, {"power": 1.0, "energy_increment": 5.0}),
        Reading("plug", None, {"energy_increment": 6.0}),
    ]


# -- anything at all ------------------------------------------------------------------------------------------

RULES = [
    rule("power", scale=9),
    rule("output"),
    rule("phase_b"),
    rule("energy", unit="MWh", increment=True),
    rule("temperature", unit="°F"),
    rule("other", unit="kW"),
]
_SCALAR = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=16)
    | st.binary(max_size=9).map(b64encode).map(bytes.decode)
)
_VALUE = _SCALAR | st.lists(_SCALAR, max_size=2) | st.dictionaries(st.text(max_size=3), _SCALAR, max_size=2)
_PROPERTY = st.fixed_dictionaries(
    {"code": st.text(max_size=4) | _VALUE}, optional={"time": _VALUE, "t": _VALUE, "value": _VALUE}
)
_MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "bizCode": st.sampled_from(["devicePropertyMessage", "online", "deviceOffline"]) | _VALUE,
        "bizData": st.fixed_dictionaries(
            {"devId": st.just("plug") | _VALUE, "properties": st.lists(_PROPERTY, max_size=3) | _VALUE}
        )
        | _VALUE,
        "devId": st.just("plug") | _VALUE,
        "productKey": _VALUE,
        "status": st.lists(_PROPERTY | _VALUE, max_size=3) | _VALUE,
    },
)


def assert_sound_or_refused(payload: bytes) -> None:
    try:
        found = tuya.parse(payload)
    except (UnreadablePayload, UnknownMessage):
        return
    Codes([]).of(found)
    for prop in found.properties:
        assert prop.time is None or type(prop.time) is int
        if live := tuya.live_values(prop):
            assert_sound(live)
        for each in RULES:
            try:
                assert_sound(tuya.recorded_values(each, prop.value))
            except UnreadablePayload:
                continue


@settings(deadline=None)
@given(any_payloads | _MESSAGE.map(lambda decoded: orjson.dumps(_plain(decoded))))
def test_any_message_is_sound_or_refused(payload: bytes) -> None:
    """Nothing in a message raises anything but UnreadablePayload and UnknownMessage, or makes unsound values."""
    assert_sound_or_refused(payload)


def _plain(value: Any) -> Any:
    """Return a value that orjson encodes: numbers within 64 bits, texts without surrogates."""
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, int) and abs(value) >= 2**63:
        return float(value)
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


@pytest.mark.parametrize("name", PAYLOADS)
def test_hostile_payloads(name: str) -> None:
    assert_sound_or_refused(PAYLOADS[name])


@given(st.integers(-(10**6), 10**6), st.integers(0, 9))
def test_recorded_is_what_was_sent(value: int, scale: int) -> None:
    assert tuya.recorded_values(rule("other", scale=scale), value) == {"other": value / 10**scale}


@given(st.integers(0, 9999), st.integers(0, 5 * 10**6), st.integers(0, 10**6))
def test_a_phase_is_what_was_packed(voltage: int, current: int, power: int) -> None:
    packed = voltage.to_bytes(2, "big") + current.to_bytes(3, "big") + power.to_bytes(3, "big")
    found = tuya.recorded_values(rule("phase_b"), b64encode(packed).decode())
    assert found == {"voltage_b": voltage / 10, "current_b": current / 1000, "power_b": power}


# -- what was taken before ------------------------------------------------------------------------------------


async def test_what_was_taken_is_known() -> None:
    seen, disk = Seen({}), Disk()
    assert not seen.known("plug", "add_ele", NOON)
    seen.take("plug", "add_ele", NOON, lasting=True)
    seen.take("plug", "instant_power", NOON, lasting=False)
    seen.note("plug", "switch_1", NOON)
    for code in ("add_ele", "instant_power", "switch_1"):
        assert seen.known("plug", code, NOON)
        assert not seen.known("plug", code, NOON + 1)
        assert not seen.known("other", code, NOON)
    assert seen.state() == {f"{PREFIX}plug": {"add_ele": [NOON]}}
    seen.recorded(disk.record([], 0, seen.state()))
    disk.commit()
    assert seen.state() == {}
    assert seen.known("plug", "add_ele", NOON)


async def test_increments_are_known_after_a_restart() -> None:
    seen = Seen({f"{PREFIX}plug": {"add_ele": [NOON, NOON + 1]}})
    assert seen.known("plug", "add_ele", NOON)
    seen.take("plug", "add_ele", NOON + 2, lasting=True)
    assert seen.state() == {f"{PREFIX}plug": {"add_ele": [NOON, NOON + 1, NOON + 2]}}


@pytest.mark.parametrize("at_once", [True, False])
async def test_what_was_not_written_is_forgotten(*, at_once: bool) -> None:
    """So that it can be sent again; what was written before stays."""
    seen, disk = Seen({}), Disk()
    seen.take("plug", "add_ele", NOON, lasting=True)
    seen.recorded(disk.record([], 0))
    disk.commit()
    seen.take("plug", "add_ele", NOON + 1, lasting=True)
    seen.recorded(None if at_once else disk.record([], 0))
    disk.fail()
    assert seen.known("plug", "add_ele", NOON)
    assert not seen.known("plug", "add_ele", NOON + 1)
    seen.take("plug", "add_ele", NOON + 2, lasting=True)
    assert seen.state() == {f"{PREFIX}plug": {"add_ele": [NOON, NOON + 2]}}


async def test_what_lasts_is_bounded() -> None:
    seen, disk = Seen({}), Disk()
    for number in range(100):
        seen.take("plug", "add_ele", NOON + number, lasting=True)
        state = seen.state()
        seen.recorded(disk.record([], 0, state))
        disk.commit()
    assert state == {f"{PREFIX}plug": {"add_ele": [NOON + number for number in range(100 - LASTING, 100)]}}


def test_memory_is_bounded() -> None:
    """The newest properties of the devices heard last are known."""
    seen = Seen({})
    for number in range(MOST_RECENT + 1):
        seen.note("plug", f"code-{number}", NOON)
    assert not seen.known("plug", "code-0", NOON)
    assert seen.known("plug", "code-1", NOON)
    for number in range(MOST_DEVICES):
        seen.note(f"device-{number}", "x", NOON)
        seen.note("device-0", "x", NOON)
    assert not seen.known("plug", "code-1", NOON)
    assert seen.known("device-0", "x", NOON)
    seen.recorded(None)
