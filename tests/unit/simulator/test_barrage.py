"""Messages for a load test are numbered without a gap and go round the devices."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson

from simulator.barrage import Barrage

if TYPE_CHECKING:
    from collections.abc import Callable


def test_every_message_is_numbered(bench: Callable[..., Any]) -> None:
    """Numbers 1, 2, 3… over all devices, each of which has its turn; payloads are complete."""
    a_bench = bench(extra=8, cache_state=False)
    barrage = Barrage(a_bench.bridge, rate=100)
    messages = [*barrage.messages(30), *barrage.messages(10)]
    assert [orjson.loads(m.payload)["seq"] for m in messages] == list(range(1, 41))
    assert set(Counter(m.topic for m in messages).values()) == {2}
    assert barrage.seq == 40
    plug = next(orjson.loads(m.payload) for m in messages if "prise" in m.topic)
    assert {"power", "voltage", "current", "energy", "state", "last_seen", "seq"} <= plug.keys()
