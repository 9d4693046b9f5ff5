"""What a request to /webhook says: a sound reading of exactly what was sent, or which parameter is wrong and why."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_energy.config import Sender
from edge_energy.devices import webhook
from edge_energy.devices.webhook import BadValue
from edge_energy.errors import UnreadablePayload
from edge_energy.reading import INCREMENTS, QUANTITIES
from tests.fuzz_corpus.hostile import PAYLOADS, any_payloads, assert_sound
from tests.unit.samples import NOON, SECOND

if TYPE_CHECKING:
    from edge_energy.reading import Reading, Values

MEASURED = sorted(QUANTITIES.keys() - INCREMENTS.keys())


def reading(pairs: list[tuple[str, object]], sender: Sender | None = None) -> Reading:
    return webhook.reading("boiler", webhook.parameters(pairs), sender)


def of_query(query: str, **sender: Any) -> Values:
    """Return the values of a query, of a device with these settings."""
    known = Sender(device="boiler", **sender) if sender else None
    return reading(webhook.form_pairs(query), known).values


def of_json(payload: Any) -> Values:
    return reading(webhook.json_pairs(payload if isinstance(payload, bytes) else orjson.dumps(payload))).values


def refused(query: str, **sender: Any) -> tuple[str | None, str]:
    """Return which parameter is wrong, and why."""
    with pytest.raises(BadValue) as error:
        of_query(query, **sender)
    return error.value.parameter, error.value.reason


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (
            "power=120.5&voltage=230.1&current=0.52&energy=10.2",
            {"power": 120.5, "voltage": 230.1, "current": 0.52, "energy": 10.2},
        ),
        ("power=-5&power_a=1&current_n=0.1&power_12=3", {"power": -5, "power_a": 1, "current_n": 0.1, "power_12": 3}),
        ("power=%2B1e3&voltage=.5&frequency=50.", {"power": 1000, "voltage": 0.5, "frequency": 50}),
        ("power=+7", {"power": 7}),  # a + that is not escaped is a space
        (
            "output=true&output_1=OFF&output_2=1&output_3=0",
            {"output": True, "output_1": False, "output_2": True, "output_3": False},
        ),
        ("apower=1.5&uptime=99", {"apower": 1.5, "uptime": 99}),
        ("power=1&power=1.0", {"power": 1}),
        ("power=1&name=kitchen&state=undefined&note=", {"power": 1}),
        ("power=1&2nd=5&a-b=5&a%20b=5&%00=5&" + "x" * 65 + "=5", {"power": 1}),
        ("power=1&device=x&token=y&time=5&energy_increment=5&energy_returned_increment=5", {"power": 1}),
    ],
)
def test_a_query_says_its_values(query: str, values: dict[str, Any]) -> None:
    assert of_query(query) == values
    assert_sound(of_query(query))


@pytest.mark.parametrize(
    ("payload", "values"),
    [
        ({"power": 120.5, "voltage": 230, "output": True}, {"power": 120.5, "voltage": 230, "output": True}),
        (
            {"power": "120.5", "output": "on", "output_1": 0, "output_2": 1.0},
            {"power": 120.5, "output": True, "output_1": False, "output_2": True},
        ),
        ({"power": 1, "wifi": {"rssi": -60, "ssid": "home"}, "errors": []}, {"power": 1, "wifi_rssi": -60}),
        ({"power": 1, "mode": None, "night": True}, {"power": 1, "night": 1}),
    ],
)
def test_json_says_its_values(payload: Any, values: dict[str, Any]) -> None:
    assert of_json(payload) == values
    assert_sound(of_json(payload))


@pytest.mark.parametrize("name", [*MEASURED, "power_a", "voltage_1"])
@pytest.mark.parametrize(
    "text", ["", "abc", "null", "undefined", "1_000", "0x10", "12 W", "true", "١٢", "1.2.3", "9" * 65]
)
def test_a_quantity_must_be_a_number(name: str, text: str) -> None:
    parameter, reason = refused(urlencode({name: text}))
    assert parameter == name
    assert ("empty" if not text else "not a number") in reason


@pytest.mark.parametrize("value", [None, True, [], [1], "x"])
def test_a_quantity_in_json_must_be_a_number(value: Any) -> None:
    with pytest.raises(BadValue) as error:
        of_json({"voltage": 1, "power": value})
    assert error.value.parameter == "power"
    assert "not a number" in error.value.reason


@pytest.mark.parametrize(
    "name", ["power", "anything", "device", "timestamp", "time", "token", "output", "energy_increment"]
)
@pytest.mark.parametrize("text", ["${ev.apower}", "x${", "nan", "NaN", "-inf", "+Infinity", " nan "])
def test_what_a_failed_expression_leaves_behind_is_refused_under_any_name(name: str, text: str) -> None:
    parameter, reason = refused(urlencode({"voltage": 230, name: text}))
    assert parameter == name
    assert ("not replaced" if "$" in text else "not a finite number") in reason


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("name", ["power", "anything"])
def test_json_that_is_none_but_for_its_numbers_is_answered_with_the_parameter(name: str, text: str) -> None:
    """Python's own encoder writes NaN."""
    with pytest.raises(BadValue) as error:
        of_json(f'{{"voltage":230,"{name}":{text}}}'.encode())
    assert error.value.parameter == name


@pytest.mark.parametrize(
    "body", [b'{"power":NaN', b"[NaN]", b"NaN", b'{"NaN":' + b"[" * 10_000, b"", b"[]", b"1", b"\xff"]
)
def test_what_is_no_json_object_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadablePayload):
        webhook.json_pairs(body)


@pytest.mark.parametrize("name", MEASURED)
def test_every_quantity_has_a_range(name: str) -> None:
    quantity = QUANTITIES[name]
    for value in (quantity.low, quantity.high):
        assert of_query(f"{name}={value}") == {name: value}
        assert of_query(f"{name}_1={value}") == {f"{name}_1": value}
    for beyond in (quantity.low * 1.01 - 1, quantity.high * 1.01 + 1):
        parameter, reason = refused(f"{name}_b={beyond}")
        assert parameter == f"{name}_b"
        assert f"{quantity.low:.12g} to {quantity.high:.12g}" in reason
        assert quantity.unit in reason


def test_a_decimal_comma_is_explained() -> None:
    assert refused("power=12,5") == ("power", '"12,5" has a comma: expected a point, like 12.5')


def test_a_number_too_large_for_a_float_is_refused() -> None:
    assert refused("power=1e9999") == ("power", "is not a finite number")
    assert refused("other=1e9999") == ("other", "is not a finite number")


@pytest.mark.parametrize("value", ["2", "yes", "", "null", "on off"])
def test_an_output_is_on_or_off(value: str) -> None:
    assert refused(urlencode({"output": value}))[0] == "output"


def test_a_request_without_a_value_is_refused() -> None:
    for query in ("", "name=kitchen", "device=x&token=y&timestamp=1790000000", "energy_increment=5"):
        assert refused(query) == (None, "no value: expected at least one, like power=120.5")


def test_a_parameter_given_twice_must_say_the_same() -> None:
    """Also once in the query and once in the body."""
    assert refused("power=1&power=2")[0] == "power"
    assert refused("device=a&device=b&power=1")[0] == "device"
    assert reading([*webhook.form_pairs("power=5"), *webhook.json_pairs(b'{"power":5.0}')]).values == {"power": 5}
    with pytest.raises(BadValue):
        webhook.parameters([*webhook.form_pairs("power=5"), *webhook.json_pairs(b'{"power":6}')])


def test_a_token_is_in_no_answer() -> None:
    """Who sees the answer need not be who sent the token."""
    assert refused("power=1&token=ee_secret&token=other") == ("token", "given twice")


def test_a_range_is_told_in_digits() -> None:
    assert refused("power=1000001")[1] == "1000001 W is outside -1000000 to 1000000"
    assert refused("energy=12345678901.5")[1] == "12345678901.5 Wh is outside 0 to 10000000000"


def test_a_request_has_64_parameters_at_most() -> None:
    names = [f"n{number}" for number in range(65)]
    assert len(of_query("&".join(f"{name}=1" for name in names[:64]))) == 64
    assert refused("&".join(f"{name}=1" for name in names)) == (None, "more than 64 parameters")
    with pytest.raises(BadValue):
        of_json(dict.fromkeys(names, 1))


@pytest.mark.parametrize(
    ("sender", "values"),
    [
        ({}, {"energy": 12.35, "energy_returned": 1, "energy_1": 2}),
        ({"energy_unit": "kWh"}, {"energy": 12350, "energy_returned": 1000, "energy_1": 2000}),
        ({"energy_unit": "Wmin"}, {"energy": 0.205833, "energy_returned": 0.016667, "energy_1": 0.033333}),
    ],
)
def test_energy_has_the_unit_of_its_sender(sender: dict[str, Any], values: dict[str, Any]) -> None:
    assert of_query("energy=12.35&energy_returned=1&energy_1=2", **sender) == values


def test_increments_stand_under_names_of_their_own() -> None:
    """So that they are summed."""
    found = of_query("energy=0.5&energy_returned=1&power=2", energy_unit="kWh", energy_kind="increment")
    assert found == {"energy_increment": 500, "energy_returned_increment": 1000, "power": 2}
    assert refused("energy=-1", energy_kind="increment")[0] == "energy"
    assert refused("energy_1=1", energy_kind="increment") == (
        "energy_1",
        "increments are summed of energy and energy_returned only",
    )


@pytest.mark.parametrize(
    ("text", "time"),
    [
        (str(NOON // SECOND), NOON),
        (str(NOON // 10**6), NOON),
        (f"{NOON // SECOND}.25", NOON + SECOND // 4),
        ("2026-09-21T14:13:20Z", NOON),
        ("2026-09-21T16:13:20+02:00", NOON),
        ("2026-09-21T16:13:20 02:00", NOON),  # a + that was not escaped
        ("2026-09-21 16:13:20.500 0200", NOON + SECOND // 2),
        ("2026-09-21T14:13:20.123", NOON + 123 * 10**6),
        ("5", 5 * SECOND),  # an uptime: parsed, and not believed by whoever records
    ],
)
def test_a_timestamp_is_iso_8601_or_an_epoch(text: str, time: int) -> None:
    assert reading([("power", "1"), ("timestamp", text)]).time == time


@pytest.mark.parametrize("value", ["", "yesterday", "null", "2026-13-01", "12:00", "-5", None, True, [], "9" * 21])
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(BadValue) as error:
        reading([("power", 1), ("timestamp", value)])
    assert error.value.parameter == "timestamp"


def test_without_a_timestamp_there_is_none() -> None:
    assert reading([("power", 1)]).time is None


@pytest.mark.parametrize("name", ["boiler", "zigbee-0x00158d0001", "a.b_c:d", "x" * 64])
def test_a_device_keeps_its_id(name: str) -> None:
    assert webhook.known_device(name) == name


def test_a_shelly_has_our_id_whatever_it_calls_itself() -> None:
    for name in ("shellypro1pm-ec62608ab9a4", "EC62608AB9A4", "shelly-ec62608ab9a4"):
        assert webhook.known_device(name) == "shelly-ec62608ab9a4"


@pytest.mark.parametrize(
    "name", ["", "a b", "a/b", "..", "-a", "x" * 65, "é", "a\n", "\x00", None, 5, True, [], "\ud800"]
)
def test_what_is_no_id_is_refused(name: Any) -> None:
    with pytest.raises(BadValue) as error:
        webhook.known_device(name)
    assert error.value.parameter == "device"


@pytest.mark.parametrize(
    ("address", "device"),
    [
        ("192.168.1.31", "http-192.168.1.31"),
        ("::ffff:192.168.1.31", "http-192.168.1.31"),
        ("2001:0DB8::0001", "http-2001-db8--1"),
        ("fe80::1%eth0", "http-fe80--1"),
    ],
)
def test_an_address_makes_a_stable_id(address: str, device: str) -> None:
    """An interface's name may change, and a socket for both kinds shows IPv4 as IPv6."""
    made = webhook.address_device(webhook.plain_address(address))
    assert webhook.known_device(made) == made == device


@pytest.mark.parametrize("address", ["", "/run/x.sock", "unix:"])
def test_without_an_address_the_device_must_be_named(address: str) -> None:
    with pytest.raises(BadValue):
        webhook.plain_address(address)


# -- anything at all ------------------------------------------------------------------------------------------

SENDERS = [None, Sender(device="boiler", energy_unit="kWh", energy_kind="increment")]
_NAMES = st.sampled_from([*QUANTITIES, "output", "power_a", "timestamp", "device", "x"]) | st.text(max_size=8)
_TEXTS = (
    st.text(max_size=12)
    | st.sampled_from(["nan", "1e999", "${x}", "12,5", "on", "2026-01-01"])
    | st.floats().map(str)
)


def assert_sound_or_refused(pairs: list[tuple[str, object]]) -> None:
    for sender in SENDERS:
        try:
            found = reading(pairs, sender)
        except BadValue:
            continue
        assert_sound(found.values)
        assert found.time is None or type(found.time) is int


@settings(deadline=None)
@given(st.text() | st.lists(st.tuples(_NAMES, _TEXTS), max_size=8).map(urlencode))
def test_any_query_is_sound_or_refused(query: str) -> None:
    """Nothing in a query or a form raises anything but BadValue, or makes an unsound reading."""
    try:
        pairs = webhook.form_pairs(query)
    except BadValue:
        return
    assert_sound_or_refused(pairs)


@settings(deadline=None)
@given(any_payloads)
def test_any_body_is_sound_or_refused(body: bytes) -> None:
    """Nothing in a body raises anything but BadValue and UnreadablePayload, or makes an unsound reading."""
    try:
        pairs = webhook.json_pairs(body)
    except UnreadablePayload:
        return
    assert_sound_or_refused(pairs)


@pytest.mark.parametrize("name", PAYLOADS)
def test_hostile_payloads(name: str) -> None:
    try:
        pairs = webhook.json_pairs(PAYLOADS[name])
    except UnreadablePayload:
        return
    assert_sound_or_refused(pairs)


@given(
    st.dictionaries(
        st.sampled_from(["power", "voltage_a", "current_1"])
        | st.text(string.ascii_lowercase, min_size=1, max_size=8).map("x{}".format),
        st.floats(-1000, 1000),
        min_size=1,
        max_size=8,
    )
)
def test_recorded_is_what_was_sent(sent: dict[str, float]) -> None:
    """As a query and as JSON."""
    assert of_query(urlencode(sent)) == sent
    assert of_json(sent) == sent


def test_what_a_shelly_returned_is_taken_off_the_counter_that_includes_it() -> None:
    """Adoption's webhooks send both of its counters; neither may be recorded as what was bought if it was not."""
    assert of_query("energy=100.5&ret_aenergy=0.5") == {"energy": 100, "energy_returned": 0.5}
    assert of_query("ret_aenergy_1=3&energy_1=10&energy=5") == {"energy": 5, "energy_1": 7, "energy_returned_1": 3}
    assert of_query("ret_aenergy=3") == {"energy_returned": 3}
    assert of_query("energy=5&ret_aenergy=3", energy_unit="kWh") == {"energy": 2000, "energy_returned": 3000}
    assert refused("energy=1&ret_aenergy=2") == ("ret_aenergy", "is more than energy, which includes it")
    assert refused("energy=1&ret_aenergy=${status}")[0] == "ret_aenergy"
    assert refused("energy=1&ret_aenergy=-1")[0] == "ret_aenergy"
