"""What Home Assistant accepts, and that every device and relay is in it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.reading import QUANTITIES
from edge_energy.relays.homeassistant import KINDS, Device, Topics, discovery, slug

PLUG = "shelly-ec62608ab9a4"
TOPICS = Topics("house-1", "homeassistant")
# What Home Assistant's documentation of sensors allows, for the classes that are used here.
UNITS: dict[str, set[str | None]] = {
    "power": {"mW", "W", "kW"},
    "apparent_power": {"VA"},
    "voltage": {"mV", "V", "kV"},
    "current": {"mA", "A"},
    "energy": {"Wh", "kWh", "MWh"},
    "frequency": {"Hz", "kHz"},
    "power_factor": {"%", None},
    "temperature": {"°C", "°F"},
    "humidity": {"%"},
    "battery": {"%"},
}
COUNTERS = {"energy"}
"""Classes that must count up: a measurement of energy is refused."""


def told(*quantities: str, relays: dict[str, str] | None = None, device: str = PLUG) -> dict[str, Any]:
    return discovery(TOPICS, Device(device, "Boiler", "Pro 1PM"), quantities, relays or {})


def test_a_device_with_a_relay() -> None:
    """One message on one topic: who it is, where its values are, what they are, how it is switched."""
    found = told("power", "output", relays={"output": PLUG})
    assert TOPICS.discovery(PLUG) == f"homeassistant/device/edge-energy-house-1-{PLUG}/config"
    assert found["device"] == {
        "identifiers": [f"edge-energy-house-1-{PLUG}"],
        "name": "Boiler",
        "model": "Pro 1PM",
    }
    assert found["origin"]["name"] == "edge-energy"
    assert found["state_topic"] == f"edge-energy/house-1/device/{PLUG}"
    assert found["components"]["power"] == {
        "platform": "sensor",
        "name": "Power",
        "unique_id": f"edge-energy-house-1-{PLUG}-power",
        "value_template": "{{ value_json.power | default('') }}",
        "device_class": "power",
        "unit_of_measurement": "W",
        "state_class": "measurement",
    }
    online = {"topic": "edge-energy/house-1/status", "value_template": "{{ value_json.status }}"}
    assert found["components"]["switch_output"] == {
        "platform": "switch",
        "name": None,
        "unique_id": f"edge-energy-house-1-{PLUG}-switch_output",
        "command_topic": f"edge-energy/house-1/relay/{PLUG}/set",
        "state_topic": f"edge-energy/house-1/relay/{PLUG}/state",
        "availability": [online],
        "availability_mode": "latest",
    }
    assert found["availability"][0] == online
    assert found["availability_mode"] == "all"


def test_counters_count() -> None:
    """The energy dashboard takes nothing else."""
    components = told("energy", "energy_returned", "energy_a", "energy_1")["components"]
    assert {found["state_class"] for found in components.values()} == {"total_increasing"}
    assert {found["unit_of_measurement"] for found in components.values()} == {"Wh"}


def test_all_quantities_are_known() -> None:
    """In our own units; increments are summed before anybody hears of them."""
    assert {name for name in QUANTITIES if not name.endswith("_increment")} <= KINDS.keys()
    for name, quantity in QUANTITIES.items():
        if (kind := KINDS.get(name)) and kind.unit:
            assert kind.unit == quantity.unit


def test_units_and_classes_fit() -> None:
    for kind in KINDS.values():
        assert kind.unit in UNITS[kind.device_class]
        assert (kind.state_class == "total_increasing") == (kind.device_class in COUNTERS)


@pytest.mark.parametrize(
    ("quantity", "name", "device_class"),
    [
        ("power_a", "Power A", "power"),
        ("power_factor_b", "Power factor B", "power_factor"),
        ("voltage_2", "Voltage 2", "voltage"),
        ("current_l1", "Current L1", "current"),
        ("linkquality", "Linkquality", None),
        ("eco2", "Eco2", None),
    ],
)
def test_names_and_classes(quantity: str, name: str, device_class: str | None) -> None:
    component = told(quantity)["components"][quantity]
    assert (component["name"], component.get("device_class")) == (name, device_class)


def test_what_is_no_relay_is_only_seen() -> None:
    """And is no switch any more, if it was one; the other way round as well."""
    components = told("output", "output_1", relays={"output_1": f"{PLUG}_1"})["components"]
    assert components["output"]["platform"] == "binary_sensor"
    assert components["switch_output"] == {"platform": "switch"}
    assert components["output_1"] == {"platform": "binary_sensor"}
    assert components["switch_output_1"]["name"] == "Output 1"
    assert components["switch_output_1"]["command_topic"] == f"edge-energy/house-1/relay/{PLUG}_1/set"


def test_a_relay_is_there_before_its_device_has_said_anything() -> None:
    assert "switch_output" in told(relays={"output": PLUG})["components"]


def test_a_name_that_would_be_a_template_is_left_out() -> None:
    """Somebody who chooses the names of values must not program Home Assistant."""
    assert told("x }}{{ states('lock.door')", "a b", "é", "1", "")["components"] == {}


@given(st.text(), st.text(), st.sets(st.text()), st.text())
def test_whatever_devices_are_called(appliance: str, device: str, quantities: set[str], name: str) -> None:
    """Topics and ids are such that Home Assistant takes them, and nobody else's."""
    topics = Topics(appliance, "homeassistant")
    found = discovery(topics, Device(device, name), quantities, {})
    assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", topics.discovery(device))
    assert not set("+#\0") & set(topics.device(device).removeprefix(topics.base))
    assert all(re.fullmatch("[A-Za-z0-9_]+", key) for key in found["components"])
    ids = [component["unique_id"] for component in found["components"].values() if len(component) > 1]
    assert len(ids) == len({*ids})


@given(st.text(), st.text())
def test_devices_are_not_mistaken(one: str, other: str) -> None:
    assert (slug(one) == slug(other)) == (one == other)
