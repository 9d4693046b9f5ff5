"""Kafka and Pub/Sub that are not there, and a Kafka that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edge_energy.doctor import cloud
from edge_energy.doctor.case import UNKNOWN
from edge_energy.doctor.finding import Verdict
from tests.servers.base import free_port
from tests.unit.doctor.tree import case, machine

if TYPE_CHECKING:
    from pathlib import Path

    from edge_energy.doctor.finding import Finding

PUBSUB = '[pubsub]\nproject = "my-project-1"\n'


def look(root: Path, text: str, **known: Any) -> Finding:
    (check,) = cloud.checks(case(machine(root), text, **known))
    return check.look()


def test_what_is_not_configured_is_not_asked(tmp_path: Path) -> None:
    assert not list(cloud.checks(case(machine(tmp_path))))


def test_a_cluster_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon would wait for half a minute; whoever looks does not."""
    pytest.importorskip("confluent_kafka")
    monkeypatch.setattr(cloud, "PATIENCE", 1.0)
    found = look(tmp_path, f'[kafka]\nbrokers = "127.0.0.1:{free_port()}"\n')
    assert (found.verdict, "cannot reach" in found.cause) == (Verdict.FAILURE, True)
    assert "[kafka]" in found.remedy


def test_a_service_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("google.pubsub_v1")
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{free_port()}")
    found = look(tmp_path, PUBSUB)
    assert (found.verdict, "cannot reach" in found.cause) == (Verdict.FAILURE, True)


def test_secrets_that_may_not_be_read(tmp_path: Path) -> None:
    pytest.importorskip("confluent_kafka")
    pytest.importorskip("google.pubsub_v1")
    hidden = f'[kafka]\nbrokers = "k:9092"\nusername = "edge"\npassword = "{UNKNOWN}"\n'
    for text in (hidden, PUBSUB):
        assert look(tmp_path, text, secrets=False).verdict is Verdict.NOT_PERMITTED


def test_lacking_topics_are_named_with_the_command_that_makes_them() -> None:
    found = cloud._topics(["incidents"], "k:9092")
    assert (found.verdict, found.remedy) == (Verdict.FAILURE, "edge-energy forward create-topics")
    assert "incidents" in found.cause
