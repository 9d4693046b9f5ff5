"""What the daemon says of a broker, and where that broker is; what a real one answers is in the acceptance tests."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import contextmanager
from socket import gaierror
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from edge_energy.doctor import brokers
from edge_energy.doctor.finding import Verdict
from edge_energy.doctor.mqtt import Refused, visit
from tests.unit.doctor.tree import case, machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_energy.config import Mqtt
    from edge_energy.doctor.case import Case


def known(root: Path, text: str = "", **more: Any) -> tuple[Case, Mqtt]:
    found = case(machine(root), f"[[mqtt]]\n{text}\n", **more)
    assert found.settings is not None
    return found, found.settings.mqtt[0]


@pytest.mark.parametrize(
    ("counts", "granted", "verdict", "words"),
    [
        ((5, 900), 1, Verdict.OK, ""),
        ((900, 5), 1, Verdict.WARNING, "QoS 1"),
        ((0, 0), 1, Verdict.OK, ""),
        ((0, 9), "refused", Verdict.FAILURE, "ACL"),
    ],
)
def test_qos_of_what_arrives(
    tmp_path: Path, counts: tuple[int, int], granted: int | str, verdict: Verdict, words: str
) -> None:
    source = {
        "name": "mqtt 127.0.0.1:1883",
        "received_qos": {"0": counts[0], "1": counts[1]},
        "granted_qos": {"zigbee2mqtt/+": granted},
        "sessions_lost": 0,
    }
    found = brokers.received(*known(tmp_path, status={"sources": [{"name": "other"}, source]}))
    assert found.verdict is verdict
    assert words in found.remedy


def test_a_broker_in_public_without_encryption(tmp_path: Path) -> None:
    """By its address alone: nothing is sent there."""
    for number, (text, verdict) in enumerate(
        [
            ('host = "8.8.8.8"', Verdict.FAILURE),
            ('host = "8.8.8.8"\ntls = true', Verdict.OK),
            ('host = "192.168.1.10"', Verdict.OK),
            ('host = "127.0.0.1"', Verdict.OK),
        ]
    ):
        assert brokers.in_public(known(tmp_path / str(number), text)[1]).verdict is verdict, text


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (Refused("Not authorized", answered=True), "username and password"),
        (Refused("Server unavailable", answered=True), "systemctl restart mosquitto"),
        (ConnectionRefusedError("refused"), "systemctl restart mosquitto"),
        (ssl.SSLError("wrong version number"), "[[mqtt]] tls"),
        (gaierror(-2, "not known"), "[[mqtt]] host"),
    ],
)
def test_each_way_not_to_reach_a_broker_has_its_remedy(tmp_path: Path, error: OSError | Refused, remedy: str) -> None:
    found = brokers.unreachable(known(tmp_path)[1], error)
    assert found.verdict is Verdict.FAILURE
    assert remedy in found.remedy


def test_one_elsewhere_is_not_restarted_here(tmp_path: Path) -> None:
    broker = known(tmp_path, 'host = "192.168.1.10"')[1]
    assert "systemctl" not in brokers.unreachable(broker, ConnectionRefusedError()).remedy


def test_a_broker_that_says_nothing_is_left_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both versions of the protocol are tried, and then it is told."""
    monkeypatch.setattr("edge_energy.doctor.mqtt.PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        here, broker = known(tmp_path, f"port = {silent.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="says nothing"), visit(broker):
            pass
        assert 0.4 <= time.monotonic() - began < 2
        found = brokers.round_trip(here, broker)
    assert (found.verdict, "says nothing" in found.cause) == (Verdict.FAILURE, True)


@pytest.mark.parametrize("fails", ["subscribing", "coming back"])
def test_no_session_is_left_when_a_visit_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    """A broker of MQTT 3.1.1 would keep it, and all that comes for it, for ever."""
    visits: list[tuple[str, bool]] = []

    @contextmanager
    def visiting(_broker: Mqtt, *, client_id: str, clean: bool = True) -> Iterator[Mock]:
        visits.append((client_id, clean))
        if fails == "coming back" and len(visits) == 2:
            raise Refused("gone", answered=False)
        yield Mock(subscribe=Mock(side_effect=TimeoutError("silent") if fails == "subscribing" else None))

    monkeypatch.setattr(brokers, "visit", visiting)
    assert brokers.session(*known(tmp_path)).verdict is Verdict.NOT_APPLICABLE
    assert len({name for name, _ in visits}) == 1
    assert [clean for _, clean in visits] == [False] * (len(visits) - 1) + [True]


def test_a_password_that_may_not_be_read(tmp_path: Path) -> None:
    found, broker = known(tmp_path, 'username = "edge"', secrets=False)
    assert brokers.round_trip(found, broker).verdict is Verdict.NOT_PERMITTED
    assert brokers.session(found, broker).verdict is Verdict.NOT_PERMITTED
