"""Gen2: what is sent, and that only the device's own `output` counts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_energy.devices.shelly_rpc import RpcError
from edge_energy.errors import NotSwitched, Unavailable
from edge_energy.relays.drivers.shelly_gen2 import ShellyGen2
from edge_energy.relays.drivers.way import State
from tests.unit.relays.drivers.fakes import FakeCalls

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["output", "errors", "id"]) | st.text(), inner),
)


@pytest.mark.parametrize(
    ("on", "for_", "output", "expected"),
    [
        (True, None, 0, {"id": 0, "on": True}),
        (False, None, 1, {"id": 1, "on": False}),
        (True, 60.0, 0, {"id": 0, "on": True, "toggle_after": 60.0}),
        (False, 119.97, 2, {"id": 2, "on": False, "toggle_after": 120.0}),
    ],
)
async def test_a_timer_is_sent_only_where_one_is_wanted(
    *, on: bool, for_: float | None, output: int, expected: dict[str, Any]
) -> None:
    """Without `toggle_after` the device ends the timer that runs."""
    calls = FakeCalls()
    await ShellyGen2(calls, output).tell(on, for_)
    assert calls.asked == [("Switch.Set", expected)]


async def test_the_state_is_what_the_device_says_it_is() -> None:
    """With its errors, which tell the operator why."""
    calls = FakeCalls(GetStatus={"output": False, "errors": ["overpower", 5, "overtemp"]})
    assert await ShellyGen2(calls, 1).look() == State(False, "overpower, overtemp")
    assert calls.asked == [("Switch.GetStatus", {"id": 1})]


@pytest.mark.parametrize("code", [-103, -105, -104, 404])
async def test_a_refusal_is_in_the_devices_words(code: int) -> None:
    """Also where it says that it has no such output."""
    calls = FakeCalls(Set=RpcError(code, "Argument 'id', value 3 not found!"))
    with pytest.raises(NotSwitched, match=rf"192\.168\.1\.5.*{code}.*value 3 not found"):
        await ShellyGen2(calls, 3).tell(True, None)


@given(JSON)
async def test_whatever_comes_is_a_state_or_no_answer(status: Any) -> None:
    """No device can make anything else of it, and its words are bounded."""
    try:
        state = await ShellyGen2(FakeCalls(GetStatus=status), 0).look()
    except Unavailable as error:
        assert "does not say" in str(error)  # noqa: PT017 - either way is right
    else:
        assert type(state.output) is bool
        assert len(state.trouble) < 300
