"""Gen1 by HTTP: the page of an output is its command and its state."""

from __future__ import annotations

from typing import Any

import pytest

from edge_energy.errors import Unavailable
from edge_energy.relays.drivers.shelly_gen1 import ShellyGen1
from edge_energy.relays.drivers.way import State
from tests.unit.relays.drivers.fakes import FakePages


@pytest.mark.parametrize(
    ("on", "for_", "query"),
    [
        (True, None, {"turn": "on"}),
        (False, None, {"turn": "off"}),
        (True, 60.0, {"turn": "on", "timer": "60"}),
        (True, 39.99, {"turn": "on", "timer": "39"}),  # never longer than asked for
        (False, 0.2, {"turn": "off", "timer": "1"}),  # 0 would be no timer at all
    ],
)
async def test_the_timer_has_whole_seconds(*, on: bool, for_: float | None, query: dict[str, str]) -> None:
    pages = FakePages()
    await ShellyGen1(pages, 1).tell(on, for_)
    assert pages.asked == [("/relay/1", query)]


@pytest.mark.parametrize(
    ("page", "state"),
    [
        ({"ison": True}, State(True)),
        ({"ison": False}, State(False)),
        ({"ison": False, "overpower": True}, State(False, "overpower")),
        ({"ison": False, "overpower": 0.0}, State(False)),
    ],
)
async def test_the_state_is_the_pages(page: dict[str, Any], state: State) -> None:
    pages = FakePages(**page)
    assert await ShellyGen1(pages, 0).look() == state
    assert pages.asked == [("/relay/0", None)]


@pytest.mark.parametrize("ison", [None, 1, "on", ["true"], {}])
async def test_a_page_that_does_not_say_it_is_no_answer(ison: Any) -> None:
    with pytest.raises(Unavailable, match=r"192\.168\.1\.6/relay/0 does not say"):
        await ShellyGen1(FakePages(ison=ison), 0).look()
