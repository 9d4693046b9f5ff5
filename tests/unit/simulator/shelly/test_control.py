"""The control door of a running fleet, as tests use it: relays are disturbed one by one."""

from __future__ import annotations

import http.client
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.servers.base import ServerError, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.shelly import SimulatedDevice, SimulatedShelly


def get(device: SimulatedDevice, path: str) -> Any:
    """Ask a device."""
    connection = http.client.HTTPConnection(device.host, device.port, timeout=10)
    connection.request("GET", path)
    answer = orjson.loads(connection.getresponse().read())
    connection.close()
    return answer


def test_ten_devices_of_one_kind_are_ten_devices(shelly: Callable[..., SimulatedShelly]) -> None:
    """Each with its own address, circuit and relay."""
    devices = list(shelly(*["pro1pm"] * 10))
    assert [device.name for device in devices] == ["pro1pm", *(f"pro1pm-{n}" for n in range(2, 11))]
    assert len({device.id for device in devices}) == len({device.port for device in devices}) == 10
    devices[4].load(700)
    devices[3].press()
    wait_until(lambda: devices[4].state()["power"] == 700)
    assert [device.state()["edges"] for device in devices] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert all(abs(device.state()["power"]) != 700 for device in devices if device is not devices[4])


def test_deaf_welded_and_pressed(shelly: Callable[..., SimulatedShelly]) -> None:
    """What the door does is seen by whoever asks the device; the truth has edges and the timer."""
    fleet = shelly("plus1pm", "gen1", "pro3em")
    device, gen1 = fleet["plus1pm"], fleet["gen1"]
    device.load(1200)
    wait_until(lambda: device.state()["power"] == 1200)
    device.deaf(True)
    assert get(device, "/rpc/Switch.Set?id=0&on=false") == {"was_on": True}
    assert get(device, "/rpc/Switch.GetStatus?id=0")["output"] is True
    device.deaf(False)
    device.weld(True)
    get(device, "/rpc/Switch.Set?id=0&on=false&toggle_after=100")
    status = get(device, "/rpc/Switch.GetStatus?id=0")
    assert (status["output"], status["apower"]) == (False, 1200)
    truth = device.state()
    assert (truth["output"], truth["edges"]) == (False, 1)
    assert 95 < truth["timer"] <= 100
    assert gen1.press()["output"] is False
    assert get(gen1, "/relay/0")["source"] == "button"
    with pytest.raises(ServerError, match="no relay"):
        fleet["pro3em"].press()


@pytest.mark.parametrize(("option", "edges"), [("--timer-clicks", 2), ("--no-restart", 0)])
def test_products_that_cannot_be_leased(shelly: Callable[..., SimulatedShelly], option: str, edges: int) -> None:
    """They come so from the shop, of both generations."""
    fleet = shelly("pro1pm", "gen1", options=[option])
    paths = {"pro1pm": "/rpc/Switch.Set?id=0&on=true&toggle_after=", "gen1": "/relay/0?turn=on&timer="}
    for name, path in paths.items():
        get(fleet[name], f"{path}30")
        get(fleet[name], f"{path}60")
    for device in fleet:
        wait_until(partial(_closed_after, device, edges))
        assert (device.state()["timer"] <= 30) is (option == "--no-restart")


def _closed_after(device: SimulatedDevice, edges: int) -> bool:
    state = device.state()
    return bool(state["output"] and state["edges"] == edges)
