"""Unreadable messages are counted, and some of them kept, without filling anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from edge_energy.sources.mqtt import unreadable as unreadable_module
from edge_energy.sources.mqtt.unreadable import KEEP_EVERY, Unreadable
from tests.unit.sources.mqtt.recorder import Disk

if TYPE_CHECKING:
    import pytest


async def test_all_are_counted_and_the_first_of_each_minute_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Per topic: a number and the latest reason, one message a minute kept aside, one line in the log."""
    now = 1_000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    disk = Disk()
    unreadable = Unreadable("broker", disk)
    with capture_logs() as logged:
        for number in range(3):
            unreadable.take("house/plug", f"reason {number}", b"first %d" % number)
            unreadable.take("house/plug", f"again {number}", b"second")
            now += KEEP_EVERY - 1
        unreadable.take("house/other", "no object", b"[]")
    assert disk.aside == [
        ("broker house/plug", "reason 0", b"first 0"),
        ("broker house/plug", "reason 2", b"first 2"),
        ("broker house/other", "no object", b"[]"),
    ]
    assert [(line["topic"], line["log_level"]) for line in logged] == [
        ("house/plug", "warning"),
        ("house/other", "warning"),
    ]
    assert {topic: (known.count, known.reason) for topic, known in unreadable.topics.items()} == {
        "house/plug": (6, "again 2"),
        "house/other": (1, "no object"),
    }
    assert unreadable.count == 7


async def test_invented_topics_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many topics they are counted only."""
    monkeypatch.setattr(unreadable_module, "MOST_TOPICS", 2)
    disk = Disk()
    unreadable = Unreadable("broker", disk)
    for number in range(4):
        unreadable.take(f"house/{number}", "reason", b"garbage")
    assert (unreadable.count, len(unreadable.topics), len(disk.aside)) == (4, 2, 2)
