"""A Pro 3EM shows three phases, counts import and export apart, and tells both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def test_fields_and_totals(bench: Callable[..., Any]) -> None:
    """Each phase has its six values; there is no neutral clamp; the totals are the sums."""
    device = bench("pro3em")
    device.run(5, power=-800)
    status = device.call("EM.GetStatus", id=0)
    for phase in "abc":
        for name in ("current", "voltage", "act_power", "aprt_power", "pf", "freq"):
            assert f"{phase}_{name}" in status
    assert status["n_current"] is None
    assert status["a_act_power"] == status["total_act_power"] == -800
    assert status["a_pf"] == pytest.approx(0.9)
    assert status["a_current"] > 0


def test_energy_is_counted_each_way(bench: Callable[..., Any]) -> None:
    """Import and export never mix, unlike in a relay's meter."""
    device = bench("pro3em")
    device.run(3600, power=500, step=10)
    device.run(3600, power=-200, step=10)
    data = device.call("EMData.GetStatus", id=0)
    assert (data["a_total_act_energy"], data["a_total_act_ret_energy"]) == (pytest.approx(500), pytest.approx(200))
    assert (data["total_act"], data["total_act_ret"]) == (pytest.approx(500), pytest.approx(200))
    device.gen2.meter.reset_counters()
    assert device.call("EMData.GetStatus", id=0)["total_act"] == 0


def test_pushes(bench: Callable[..., Any]) -> None:
    """The whole of em:0 when one phase changes enough, emdata:0 each minute."""
    device = bench("pro3em")
    device.run(2, power=1000)
    keys = [set(params) - {"ts"} for _, params in device.run(30, power=1010)]
    assert keys == []
    ((_, params),) = device.run(5, power=2000)
    assert params["em:0"]["a_act_power"] == 2000
    assert "b_voltage" in params["em:0"]
    keys = [set(params) - {"ts"} for _, params in device.run(60)]
    assert keys == [{"emdata:0"}]
