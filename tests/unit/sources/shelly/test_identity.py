"""A device has one id, whichever way it is seen; whatever answers, nothing but a Shelly gets one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_energy.sources.shelly import identity
from tests.unit.sources.shelly.scripted import DEVICE, INFO, OWN_ID

GEN1_INFO = {"type": "SHSW-PM", "mac": "EC62608AB9A4", "auth": True, "fw": "20230913-112003/v1.14.0"}
SETTINGS = {"device": {"type": "SHSW-PM", "mac": "EC62608AB9A4", "hostname": "shelly1pm-8AB9A4"}, "name": "pump"}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=100),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
infos = st.dictionaries(st.sampled_from([*INFO, *GEN1_INFO, "device"]), anything)


def test_gen2() -> None:
    found = identity.of_gen2(INFO)
    assert found == (DEVICE, OWN_ID, "charging post", "Pro1PM SPSW-201PE16EU", 2, "1.7.5", OWN_ID)


def test_a_device_without_a_name_has_its_id() -> None:
    found = identity.of_gen2({**INFO, "name": None})
    assert found is not None
    assert found.name == OWN_ID


def test_gen1_is_known_by_its_host_name_as_by_mqtt() -> None:
    """Six digits of it: HTTP and MQTT would otherwise be two devices."""
    assert identity.is_gen1(GEN1_INFO)
    assert not identity.is_gen1(INFO)
    found = identity.of_gen1(GEN1_INFO, SETTINGS)
    assert found is not None
    assert (found.device, found.name, found.generation) == ("shelly-8ab9a4", "pump", 1)


@given(infos, infos)
def test_whatever_answers_is_a_shelly_or_none(info: dict[str, object], settings: dict[str, object]) -> None:
    identity.is_gen1(info)
    for found in (identity.of_gen2(info), identity.of_gen1(info, settings)):
        assert found is None or (found.device.startswith("shelly-") and len(found.name) <= 64)
